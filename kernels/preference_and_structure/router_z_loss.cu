// Bytes: the inputs once from memory and once from cache, each wanted gradient once to memory. Split: a group of
// threads per row, see skeletons/row_sets.cuh. Bound: memory.
#include "router_z_loss.cuh"

LK_KERNEL(router_z_loss, lk_router_z_loss_args) { lk::row_sets_kernel<lk::RouterZLoss>(a); }
