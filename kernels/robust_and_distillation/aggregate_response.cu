// Bytes: predictions and bags three times, gradients once; 72 per bag, in L2 where they fit. Split: grid-stride over
// instances, whose sums per bag are integers added by atomics (in shared memory where bags are few), exact and the
// same in any order; then over bags, and over instances again. Bound: atomics, or f64 exponentials if logistic.
#include "aggregate_response.cuh"

LK_KERNEL(aggregate_response_clear, lk_aggregate_response_args) { lk::aggregate_clear(a); }
LK_KERNEL(aggregate_response_ranges, lk_aggregate_response_args) { lk::aggregate_ranges(a); }
LK_KERNEL(aggregate_response_sums, lk_aggregate_response_args) { lk::aggregate_sums(a); }
LK_KERNEL(aggregate_response_bags, lk_aggregate_response_args) { lk::aggregate_bags(a); }
LK_KERNEL(aggregate_response, lk_aggregate_response_args) { lk::aggregate_instances(a); }
LK_KERNEL(aggregate_response_value, lk_aggregate_response_args) { lk::aggregate_value(a); }
