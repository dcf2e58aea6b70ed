// Operations: 2 batch patterns n multiply-adds. Bytes: states and patterns once per 128 of the other from the caches,
// overlaps a few times, the next states once. Split: tiles of 128 x 128, and parts of the depth. Bound: tensor cores, of
// which the fields need two products for f16, and three for bf16 and f32.
#include "hopfield_update.cuh"

LK_KERNEL(hopfield_settle, lk_hopfield_step_args, 256) { lk::hopfield_settle(a); }
LK_KERNEL(hopfield_update_f32, lk_hopfield_step_args, 256, 1) { lk::hopfield_update<LK_DTYPE_F32>(a); }
LK_KERNEL(hopfield_update_f16, lk_hopfield_step_args, 256, 1) { lk::hopfield_update<LK_DTYPE_F16>(a); }
LK_KERNEL(hopfield_update_bf16, lk_hopfield_step_args, 256, 1) { lk::hopfield_update<LK_DTYPE_BF16>(a); }
LK_KERNEL(hopfield_add_parts, lk_hopfield_step_args, 256) { lk::hopfield_add_parts(a); }
