// Bytes: 12 to 16 per token and sequence; segments lie in L2. Split: one block per sequence, every thread and every
// merge in a fixed order. Bound: L2, and sequences x tokens where there are many sequences.
#include "sequences.cuh"

LK_KERNEL(sequence_sums, lk_sequence_args) { lk::sequence_sums(a); }
