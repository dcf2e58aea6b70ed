// Operations: 2 batch patterns n fused multiply-adds. Bytes: states and patterns once per 64 of the other from the
// caches, overlaps once, the next states once. Split: tiles of 64 x 64. Bound: arithmetic.
#include "hopfield_update.cuh"

LK_KERNEL(hopfield_diagonal, lk_hopfield_step_args, 256) { lk::hopfield_diagonal(a); }
LK_KERNEL(hopfield_overlaps, lk_hopfield_step_args, 256) {
  const lk::Hopfield net(a);
  lk::overlap_tiles(net.states(), net.patterns(), net.overlaps);
}
LK_KERNEL(hopfield_update, lk_hopfield_step_args, 256) { lk::hopfield_update(a); }
