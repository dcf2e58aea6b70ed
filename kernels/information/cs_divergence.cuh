// loss = log sum k(a, a) + log sum k(b, b) - 2 log sum k(a, b).
#pragma once
#include "../skeletons/gram.cuh"

// Mirrored by src/losses/information/cs_divergence.rs.
struct lk_cs_divergence_loss_args {
  float* sums;  // of (a, a), (b, b), (a, b): smallest exponent and sum of exp(smallest - E) each
  float* loss;  // NULL = not wanted
  int32_t empty;
};

namespace lk {

LK_DEVICE void cs_divergence_loss(const lk_cs_divergence_loss_args& a) {
  double logs[3];
  for (int i = 0; i < 3; ++i) {
    if (a.empty) {
      a.sums[2 * i] = 0.0f;
      a.sums[2 * i + 1] = 1.0f;
    }
    logs[i] = log(static_cast<double>(a.sums[2 * i + 1])) - static_cast<double>(a.sums[2 * i]);
  }
  if (a.loss) *a.loss = static_cast<float>(logs[0] + logs[1] - 2.0 * logs[2]);
}

}  // namespace lk
