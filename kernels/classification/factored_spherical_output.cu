// Bytes: rows x d of v and hidden, d x d of u, q and u_inv, once each. Operations: seven products of
// rows x d x d and five of rows x rows x d in f64 (kernels/dense). Bound: f64 arithmetic and launches.
#include "factored_spherical_output.cuh"

LK_KERNEL(fso_gather, lk_factored_spherical_output_args) { lk::fso_gather(a); }
LK_KERNEL(fso_rows, lk_factored_spherical_output_args) { lk::fso_rows(a); }
LK_KERNEL(fso_gram, lk_factored_spherical_output_args) { lk::fso_gram(a); }
LK_KERNEL(fso_mix, lk_factored_spherical_output_args) { lk::fso_mix(a); }
LK_KERNEL(fso_vectors, lk_factored_spherical_output_args) { lk::fso_vectors(a); }
LK_KERNEL(fso_move, lk_factored_spherical_output_args) { lk::fso_move(a); }
LK_KERNEL(fso_condition, lk_factored_spherical_output_args) { lk::fso_condition(a); }
