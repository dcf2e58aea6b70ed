// Floor of the gradient: per pair and dimension 2 operations for the distance and 2 for the weighted
// difference, and two exponentials a pair; bound by arithmetic. Split: blocks of 64 rows, and of dimensions
// where rows are few. Sums: gram/gram.cu.
#include "kernel_joint_entropy.cuh"

LK_KERNEL(kernel_joint_entropy_value, lk_kernel_joint_entropy_value_args) { lk::kernel_joint_entropy_value(a); }

LK_KERNEL(kernel_joint_entropy_gradient, lk_gram_gradient_args) { lk::gram_gradient<lk::BothWays>(a); }
