// Bytes: both images twice from memory, four maps of slopes to memory and back for the gradient, each wanted
// gradient once. Split: blocks of 64 columns by 8 rows. Bound: arithmetic and shared memory for windows from
// about 7 on.
#include "ssim_loss.cuh"

LK_KERNEL(ssim_loss_prepare, lk_ssim_loss_args) { lk::windows_prepare(a); }
LK_KERNEL(ssim_loss_positions, lk_ssim_loss_args) { lk::windows_positions<lk::SsimLoss>(a); }
LK_KERNEL(ssim_loss_finish, lk_ssim_loss_args) { lk::ssim_finish(a); }
LK_KERNEL(ssim_loss_gradient, lk_ssim_loss_args) { lk::ssim_gradient(a); }
