// Bytes: what is kept read once, everything written once. Split: grid-stride, 8 elements a thread, whatever their
// rows. Bound: memory.
#include "nested_dropout.cuh"

LK_KERNEL(nested_dropout, lk_nested_dropout_args) { lk::nested_dropout(a); }
