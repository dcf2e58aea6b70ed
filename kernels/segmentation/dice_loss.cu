// Bytes: prediction and truth twice from memory, the gradient once to memory; between the passes over the
// classes of a pixel they come from cache. Split: chunks of pixels to blocks, then a warp a class over the
// chunks' sums, all in fixed order. Bound: memory.
#include "dice_loss.cuh"

LK_KERNEL(dice_loss_sums, lk_dice_loss_args, 256, 3) { lk::maps_sums<lk::DiceLoss>(a); }
LK_KERNEL(dice_loss_totals, lk_dice_loss_args) { lk::maps_totals<lk::DiceLoss>(a); }
LK_KERNEL(dice_loss_factors, lk_dice_loss_args) { lk::dice_factors(a); }
LK_KERNEL(dice_loss_gradient, lk_dice_loss_args, 256, 3) { lk::maps_gradient<lk::DiceLoss>(a); }
