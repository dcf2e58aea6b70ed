// Losses of anchors against a softmax of similarities in which one element, the positive, is theirs: the functor
// of skeletons/tiles.cuh, and the step between statistics and gradients.
//
// The positive is kept out of the sums: with rest = log sum of the others and own the positive's similarity the
// loss is softplus(rest - own) and 1 - p_positive = sigmoid(rest - own).
#pragma once
#include "../skeletons/tiles.cuh"

// Mirrored by src/cuda/contrast.rs.
struct lk_contrast_args {
  lk_tiles tiles;
  uint64_t rows, columns;      // of the matrix, whichever side owns
  const int64_t* positives;    // column of each row's positive; NULL = row + offset
  uint64_t offset;
  float* rest;                 // by anchor: rows, then columns where these are anchors, too
  float* own;                  // by row
  float* means;                // mean similarity of each row, for smoothing; NULL = not wanted
  float* log_sums;             // by anchor, for gradients: lse, weight of its softmax, pull of its positive
  float* weights;
  float* pulls;
  float* losses;               // by anchor; NULL = not wanted
  float* lse;                  // by row; NULL = not wanted
  const float* grad_loss;
  uint32_t* flags;
  double factor;               // of the reduction
  double smoothing;
  int32_t directions;
  int32_t grad_per_anchor;
  int32_t backward;
};

namespace lk {

constexpr int kRows = 0, kBoth = 1, kMirror = 2;

struct Contrast {
  using Args = lk_contrast_args;

  struct Stat {
    double sum;    // of exp(s - about)
    double total;  // of s
    float about, unused;
  };

  const Args& a;
  float shift;

  LK_DEVICE explicit Contrast(const Args& args) : a(args), shift(0.0f) {
    if (a.smoothing > 0.0 && a.grad_loss != nullptr) shift = static_cast<float>(2.0 * *a.grad_loss * a.factor * a.smoothing / a.rows);
    if (a.smoothing > 0.0 && a.grad_loss == nullptr) shift = static_cast<float>(2.0 * a.factor * a.smoothing / a.rows);
  }

  // Of a row; no column for a bad label.
  LK_DEVICE u64 positive(u64 row) const {
    if (a.directions == kMirror) return row < a.rows / 2 ? row + a.rows / 2 : row - a.rows / 2;
    return a.positives ? static_cast<u64>(a.positives[row]) : row + a.offset;
  }
  LK_DEVICE u64 row_of(u64 anchor) const { return a.directions == kBoth && anchor >= a.rows ? anchor - a.rows : anchor; }

  LK_DEVICE Stat init() const { return {0.0, 0.0, -infinity(), 0.0f}; }

  LK_DEVICE void add(Stat& stat, u64 owner, u64 other, const float (&s)[8], int count) const {
    float z[8], top = stat.about;
    const bool rows = a.tiles.side == 0;
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      z[j] = j < count ? s[j] : -infinity();
      if (j >= count) continue;
      if (a.means && rows) stat.total += s[j];
      if (positive(rows ? owner : other + j) == (rows ? other + j : owner)) {
        if (rows) a.own[owner] = s[j];
        z[j] = -infinity();
      } else if (a.directions == kMirror && other + j == owner) {
        z[j] = -infinity();
      }
      top = fmaxf(top, z[j]);
    }
    if (top == -infinity()) {
      // Nothing to sum yet, unless it is NaN.
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        if (z[j] != z[j]) stat.sum += z[j];
      }
      return;
    }
    top = fminf(top, 3.4028234e38f);
    if (top > stat.about) {
      if (stat.sum != 0.0) stat.sum *= exp(static_cast<double>(stat.about) - top);
      stat.about = top;
    }
    float sum = 0.0f;
#pragma unroll
    for (int j = 0; j < 8; ++j) sum += expf(z[j] - top);
    stat.sum += sum;
  }

  LK_DEVICE Stat merge(const Stat& p, const Stat& q) const {
    const float about = fmaxf(p.about, q.about);
    const double x = p.about == about ? p.sum : p.sum != 0.0 ? p.sum * exp(static_cast<double>(p.about) - about) : 0.0;
    const double y = q.about == about ? q.sum : q.sum != 0.0 ? q.sum * exp(static_cast<double>(q.about) - about) : 0.0;
    return {x + y, p.total + q.total, about, 0.0f};
  }

  LK_DEVICE void finish(u64 owner, const Stat& stat) const {
    const u64 anchor = a.tiles.side == 0 ? owner : a.rows + owner;
    a.rest[anchor] = stat.sum == 0.0 ? -infinity() : static_cast<float>(stat.about + log(stat.sum));
    if (stat.sum != stat.sum) a.rest[anchor] = quiet_nan();
    if (a.tiles.side != 0) return;
    if (a.means) a.means[owner] = static_cast<float>(stat.total / static_cast<double>(a.tiles.others));
    if (positive(owner) >= a.columns) a.own[owner] = quiet_nan();
  }

  LK_DEVICE float of_anchor(u64 anchor, float s) const { return a.weights[anchor] * expf(s - a.log_sums[anchor]); }

  LK_DEVICE float weight(u64 row, u64 column, float s) const {
    const u64 partner = positive(row);
    if (partner >= a.columns) return 0.0f;
    if (a.directions == kRows) return partner == column ? -a.pulls[row] : of_anchor(row, s);
    if (a.directions == kMirror && row == column) return 0.0f;
    const u64 second = a.directions == kBoth ? a.rows + column : column;
    if (partner == column) return -(a.pulls[row] + a.pulls[second]) - shift;
    return of_anchor(row, s) + of_anchor(second, s) - shift;
  }

  // Loss of an anchor, and what its gradient needs.
  LK_DEVICE void between(u64 anchor) const {
    const u64 row = row_of(anchor);
    const double rest = a.rest[anchor], own = a.own[row], gap = rest - own;
    const double loss = gap > 0.0 ? gap + log1p(exp(-gap)) : log1p(exp(gap));
    if (a.losses) {
      double value = loss;
      // Of both directions at once: their means are the same.
      if (a.means && anchor < a.rows) value += 2.0 * a.smoothing * (own - a.means[row]);
      a.losses[anchor] = static_cast<float>(value);
    }
    if (a.lse && anchor < a.rows) a.lse[anchor] = static_cast<float>(own + loss);
    if (positive(row) >= a.columns) atomicOr(a.flags, kFlagLabel);
    if (!a.backward) return;
    const double g = a.grad_loss ? a.grad_loss[a.grad_per_anchor ? anchor : 0] : 1.0;
    const float weight = static_cast<float>(g * a.factor);
    a.log_sums[anchor] = static_cast<float>(own + loss);
    a.weights[anchor] = weight;
    a.pulls[anchor] = static_cast<float>(weight * (1.0 / (1.0 + exp(-gap)) - a.smoothing));
  }
};

}  // namespace lk
