// Bytes: 8 per measurement and step, from L1. Split: one block, a warp for each start. Bound: latency of f64 logarithms;
// meant for the handful of measurements that a scaling law is fitted to.
#include "scaling_law_fit.cuh"

LK_KERNEL(scaling_law_fit, lk_scaling_law_fit_args) { lk::scaling_law_fit(a); }
