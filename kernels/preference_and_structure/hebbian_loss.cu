// Operations: 2 batch patterns n of subtraction and fused multiply-add for each pass. Bytes: states batch / 64 times
// patterns and patterns n / 64 times from the caches, results once. Split: tiles of 64 x 64. Bound: arithmetic.
#include "hebbian_loss.cuh"

LK_KERNEL(hebbian_loss, lk_hebbian_loss_args, 256) { lk::hebbian_losses(a); }
LK_KERNEL(hebbian_loss_gradient, lk_hebbian_loss_args, 256) { lk::hebbian_gradient(a); }
