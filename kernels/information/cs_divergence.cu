// Floor of the gradient: per pair and dimension 2 operations for the distance and 2 for the weighted
// difference, once with the set itself and once with the other; bound by arithmetic. Split: blocks of 64 rows,
// and where they are few of columns, whose parts are added up in their order, and of dimensions. Sums: gram/gram.cu.
#include "cs_divergence.cuh"

LK_KERNEL(cs_divergence_loss, lk_cs_divergence_loss_args) {
  if (threadIdx.x == 0) lk::cs_divergence_loss(a);
}

LK_KERNEL(cs_divergence_gradient, lk_gram_gradient_args, 256) { lk::gram_gradient<lk::Softmax>(a); }
