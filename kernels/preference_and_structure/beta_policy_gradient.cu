// Operations: some 250 in f64 per element and pass. Bytes: three inputs once for each pass, two gradients once. Split: part
// of a warp, a warp or a block for each row. Bound: f64 arithmetic.
#include "beta_policy_gradient.cuh"

LK_KERNEL(beta_policy_rewards, lk_beta_policy_gradient_args, 256) { lk::beta_policy_rewards(a); }
LK_KERNEL(beta_policy_gradient, lk_beta_policy_gradient_args) { lk::row_sets_kernel<lk::BetaPolicy>(a); }
