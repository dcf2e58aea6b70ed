// Operations: batch points n multiply-adds for the overlaps and as many for the gradient; points are patterns (supervised)
// or examples. Bytes: states and points once per 128 of the other from the caches, overlaps a few times. Split: tiles of
// 128 x 128, and parts of the depth; a block for each state's energy. Bound: tensor cores, of which the gradient needs two
// products for f16, and three for bf16 and f32.
#include "hebbian_energy.cuh"

LK_KERNEL(hebbian_energy_means, lk_hebbian_energy_step_args, 256) { lk::hebbian_energy_means(a); }
LK_KERNEL(hebbian_energy_states, lk_hebbian_energy_step_args, 256) { lk::hebbian_energy_states(a); }
LK_KERNEL(hebbian_energy, lk_hebbian_energy_step_args, 256) { lk::hebbian_energy(a); }
LK_KERNEL(hebbian_energy_gradient_f32, lk_hebbian_energy_step_args, 256, 1) { lk::hebbian_energy_gradient<LK_DTYPE_F32>(a); }
LK_KERNEL(hebbian_energy_gradient_f16, lk_hebbian_energy_step_args, 256, 1) { lk::hebbian_energy_gradient<LK_DTYPE_F16>(a); }
LK_KERNEL(hebbian_energy_gradient_bf16, lk_hebbian_energy_step_args, 256, 1) { lk::hebbian_energy_gradient<LK_DTYPE_BF16>(a); }
LK_KERNEL(hebbian_energy_add_parts, lk_hebbian_energy_step_args, 256) { lk::hebbian_energy_add_parts(a); }
