// Operations: batch points n fused multiply-adds for the overlaps and as many for the gradient; points are patterns
// (supervised) or examples. Bytes: states and points once per 64 of the other from the caches, overlaps once or twice.
// Split: tiles of 64 x 64; a block for each state's energy. Bound: arithmetic.
#include "hebbian_energy.cuh"

LK_KERNEL(hebbian_energy_means, lk_hebbian_energy_args, 256) { lk::hebbian_energy_means(a); }
LK_KERNEL(hebbian_energy_overlaps, lk_hebbian_energy_args, 256) {
  const lk::HebbianEnergy energy(a);
  lk::overlap_tiles(energy.states(), energy.points(), energy.overlaps);
}
LK_KERNEL(hebbian_energy, lk_hebbian_energy_args, 256) { lk::hebbian_energy(a); }
LK_KERNEL(hebbian_energy_gradient, lk_hebbian_energy_args, 256) { lk::hebbian_energy_gradient(a); }
