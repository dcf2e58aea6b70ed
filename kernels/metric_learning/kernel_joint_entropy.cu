// Floor of the gradient: per pair and dimension 2 operations for the distance and 2 for the weighted
// difference, and two exponentials a pair; bound by arithmetic. Split: blocks of 64 rows, and where they
// are few of columns, whose parts are added up in their order, and of dimensions. Sums: gram/gram.cu.
#include "kernel_joint_entropy.cuh"

LK_KERNEL(kernel_joint_entropy_value, lk_kernel_joint_entropy_value_args) { lk::kernel_joint_entropy_value(a); }

LK_KERNEL(kernel_joint_entropy_gradient, lk_gram_gradient_args, 256) { lk::gram_gradient<lk::BothWays>(a); }
