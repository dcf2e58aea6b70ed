// Bytes: both rows once from memory, the student's gradient once to memory; the second sweep finds the rows in L2.
// Split: skeletons/row_sets.cuh. Bound: memory; two exponentials and a logarithm an element, three of them again.
#include "binary_kl_distillation.cuh"

LK_KERNEL(binary_kl_distillation, lk_binary_kl_distillation_args) { lk::row_sets_kernel<lk::BinaryKlDistillation>(a); }
