#pragma once
#include "losskit_args/token_cross_entropy.h"
#include "../skeletons/cross_entropy.cuh"

namespace lk {

struct TokenCrossEntropy : CrossEntropy {
  using Args = lk_token_cross_entropy_args;
  using Acc = Running;

  LK_DEVICE TokenCrossEntropy(const Args& a, const double* header)
      : CrossEntropy(a.class_weights, a.dtype, a.classes, a.opts.label_smoothing, a.opts.z_weight, a.opts.softcap,
                     header) {}

  LK_DEVICE Acc init() const { return {LabelSoftmax::start(), 0.0f, 0.0f}; }
};

}  // namespace lk
