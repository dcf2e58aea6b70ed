// Bytes: predictions and targets once from memory, gradients once to memory. Split: a grid over both sides one after
// the other, src/cuda/elements.rs. Bound: memory.
#include "unlearning_mse.cuh"

LK_KERNEL(unlearning_mse, lk_unlearning_mse_args) { lk::unlearning_mse(a); }
