// Bytes: the row once from memory, its gradient once to memory; the second sweep finds the row in L2.
// Split: skeletons/rows.cuh. Bound: memory; one exponential per element and sweep.
#include "sequence_log_prob.cuh"

LK_KERNEL(sequence_log_prob, lk_sequence_log_prob_args) {
  const lk::SequenceRows rows(a);
  lk::rows_kernel<lk::SequenceLogProb>(rows);
}
