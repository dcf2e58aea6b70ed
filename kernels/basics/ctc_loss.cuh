// CTC: softmax statistics of the rows, then one block per sample for the forward and backward variables, then
// the gradient of the rows. Variables are extended numbers (extended.cuh) made of exp(z - row's largest).
//
// A row of a frame: mantissas and exponents of the blanks before each label, of the labels and of the labels' weights,
// `n` = max_label + 1 of each (the blank's weight is behind the last label's). Rows of a segment of frames are kept, and
// the last one of each segment; a segment is computed again when the way back comes to it
// (src/losses/basics/ctc_loss.rs). What does not wait for the frame before is done for all frames of a segment at once.
#pragma once
#include "losskit_args/ctc_loss.h"
#include "../extended.cuh"
#include "../skeletons/rows.cuh"

namespace lk {

// What the gradient's rows need to know of a sample.
enum { kCtcValid = 0, kCtcZero = 1, kCtcPoison = 2 };

// Mirrored by src/losses/basics/ctc_loss.rs.
struct CtcWorkspace {
  float* losses;       // [batch], for the reduction
  float* stats;        // [time, batch, 2], unless saved is given
  int32_t* state;      // [batch]
  int32_t* next;       // [batch, n]: the next label of the same class, or -1
  int32_t* head;       // [batch, n]: whether it is the first of them
  float* difference;   // [time, batch, n]: p - posterior at first labels, and at place `count` of the blank
  double* rows;        // [batch, kept]
  u64 n, row, segment, segments, kept;

  LK_DEVICE explicit CtcWorkspace(const lk_ctc_loss_args& a) {
    n = a.max_label + 1;
    row = 6 * n;
    segment = a.time * row * 8 <= (512u << 10) ? a.time : static_cast<u64>(sqrt(static_cast<double>(a.time))) + 1;
    segments = (a.time + segment - 1) / segment;
    kept = (segment + segments + 2) * row;
    unsigned char* at = static_cast<unsigned char*>(a.workspace);
    losses = take<float>(at, a.batch);
    stats = a.saved ? a.saved : reinterpret_cast<float*>(at);
    take<float>(at, 2 * a.time * a.batch);
    state = take<int32_t>(at, a.batch);
    next = take<int32_t>(at, a.batch * n);
    head = take<int32_t>(at, a.batch * n);
    difference = take<float>(at, a.time * a.batch * n);
    rows = take<double>(at, a.batch * kept);
  }

  template <class T>
  static LK_DEVICE T* take(unsigned char*& at, u64 count) {
    T* p = reinterpret_cast<T*>(at);
    at += (count * sizeof(T) + 255) / 256 * 256;
    return p;
  }
};

// Frames of a sample; 0 where its lengths are out of range.
LK_DEVICE u64 ctc_frames(const lk_ctc_loss_args& a, u64 b) {
  const int64_t frames = a.input_lengths[b], count = a.label_lengths[b];
  const bool valid = frames >= 1 && static_cast<u64>(frames) <= a.time && count >= 0 && static_cast<u64>(count) <= a.max_label;
  return valid ? static_cast<u64>(frames) : 0;
}

struct CtcSums {
  double rest, ties;
};

// Largest logit of each row, and the sum of exp(z - largest) less 1.
LK_DEVICE void ctc_rows(const lk_ctc_loss_args& a) {
  __shared__ float maxima[32];
  __shared__ CtcSums sums[32];
  const CtcWorkspace w(a);
  const u64 rows = a.time * a.batch;
  for (u64 first = u64(blockIdx.x) * blockDim.y; first < rows; first += u64(gridDim.x) * blockDim.y) {
    const u64 r = first + threadIdx.y;
    const bool present = r < rows && r / a.batch < ctc_frames(a, r % a.batch);
    const void* z = at(a.logits, a.dtype, r * a.classes);
    float top = -infinity();
    if (present) sweep(z, a.dtype, a.classes, [&](auto& x, u64) { for (float e : x) top = fmaxf(top, e); });
    top = reduce_group(top, -infinity(), maxima, [](float x, float y) { return fmaxf(x, y); });
    CtcSums sum = {0.0, 0.0};
    if (present) {
      sweep(z, a.dtype, a.classes, [&](auto& x, u64) {
        float rest = 0.0f, ties = 0.0f;
        for (float e : x) {
          const bool largest = e == top;
          rest += largest ? 0.0f : exp_difference(e, top);
          ties += largest ? 1.0f : 0.0f;
        }
        sum.rest += rest;
        sum.ties += ties;
      });
    }
    sum = reduce_group(sum, CtcSums{0.0, 0.0}, sums, [](const CtcSums& x, const CtcSums& y) {
      return CtcSums{x.rest + y.rest, x.ties + y.ties};
    });
    if (threadIdx.x == 0 && r < rows) {
      const float poison = top - top;  // NaN for a row without a finite maximum
      w.stats[2 * r] = present ? top : 0.0f;
      w.stats[2 * r + 1] = present ? static_cast<float>(sum.rest + (sum.ties - 1.0)) + poison : 0.0f;
    }
    if (blockDim.x > 32) __syncthreads();
  }
}

// One sample in a block.
struct CtcSample {
  const lk_ctc_loss_args& a;
  const CtcWorkspace& w;
  const u64 b, frames, count, n;
  const int64_t* labels;
  double* const rows;

  LK_DEVICE CtcSample(const lk_ctc_loss_args& args, const CtcWorkspace& workspace, u64 sample, u64 frames_)
      : a(args), w(workspace), b(sample), frames(frames_), count(static_cast<u64>(args.label_lengths[sample])),
        n(count + 1), labels(args.labels + sample * args.max_label), rows(workspace.rows + sample * workspace.kept) {}

  LK_DEVICE double* row_of(u64 slot) const { return rows + slot * w.row; }
  LK_DEVICE double* kept_of(u64 segment) const { return row_of(w.segment + segment); }
  LK_DEVICE double* beta_of(u64 side) const { return row_of(w.segment + w.segments + side); }

  LK_DEVICE Extended blank_of(const double* row, u64 i) const { return {row[i], row[w.n + i]}; }
  LK_DEVICE Extended label_of(const double* row, u64 i) const { return {row[2 * w.n + i], row[3 * w.n + i]}; }
  LK_DEVICE void set(double* row, u64 i, const Extended& blank, const Extended& label) const {
    row[i] = blank.m;
    row[w.n + i] = blank.e;
    row[2 * w.n + i] = label.m;
    row[3 * w.n + i] = label.e;
  }

  // Of label i, or of the blank where i is their number.
  LK_DEVICE Extended weight_of(const double* row, u64 i) const { return {row[4 * w.n + i], row[5 * w.n + i]}; }
  LK_DEVICE bool skips(u64 i) const { return i > 0 && i < count && labels[i] != labels[i - 1]; }

  LK_DEVICE u64 end_of(u64 segment) const {
    const u64 end = (segment + 1) * w.segment;
    return end < frames ? end : frames;
  }

  // Weights of a segment's frames.
  LK_DEVICE void weigh(u64 segment) const {
    const u64 from = segment * w.segment, all = (end_of(segment) - from) * n;
    for (u64 e = threadIdx.x; e < all; e += blockDim.x) {
      const u64 t = from + e / n, i = e % n, r = t * a.batch + b;
      const u64 k = static_cast<u64>(i < count ? labels[i] : static_cast<int64_t>(a.opts.blank));
      const Extended weight = extended_exp(static_cast<double>(load1(a.logits, a.dtype, r * a.classes + k)) - w.stats[2 * r]);
      double* out = row_of(t - from);
      out[4 * w.n + i] = weight.m;
      out[5 * w.n + i] = weight.e;
    }
    __syncthreads();
  }

  // Forward variables of a segment's frames, from the last of the one before.
  LK_DEVICE void forward(u64 segment) const {
    weigh(segment);
    const u64 from = segment * w.segment, to = end_of(segment);
    const double* prev = segment ? kept_of(segment - 1) : nullptr;
    for (u64 t = from; t < to; ++t) {
      double* out = row_of(t - from);
      for (u64 i = threadIdx.x; i < n; i += blockDim.x) {
        Extended blank = extended_zero(), label = extended_zero();
        const Extended at_blank = weight_of(out, count), at_label = weight_of(out, i);
        if (t == 0) {
          if (i == 0) blank = at_blank;
          if (i == 0 && count > 0) label = at_label;
        } else {
          blank = blank_of(prev, i);
          label = label_of(prev, i) + blank;
          if (i > 0) {
            const Extended before = label_of(prev, i - 1);
            blank = blank + before;
            if (skips(i)) label = label + before;
          }
          blank = normalised(blank * at_blank);
          label = i < count ? normalised(label * at_label) : extended_zero();
        }
        set(out, i, blank, label);
        if (t + 1 == to) set(kept_of(segment), i, blank, label);
      }
      prev = out;
      __syncthreads();
    }
  }

  // Sum over all alignments, from the last frame.
  LK_DEVICE Extended total() const {
    const double* last = row_of((frames - 1) % w.segment);
    const Extended blank = blank_of(last, count);
    return normalised(count > 0 ? blank + label_of(last, count - 1) : blank);
  }

  // Backward variables of frame t, times its weights, from those of the frame after it; the forward ones become the
  // shares of the alignments that pass there.
  LK_DEVICE void backward(const double* next, double* out, u64 t, const Extended& total) const {
    double* row = row_of(t % w.segment);
    for (u64 i = threadIdx.x; i < n; i += blockDim.x) {
      Extended blank = extended_zero(), label = extended_zero();
      if (t + 1 == frames) {
        if (i == count) blank.e = 0.0;
        if (i + 1 == count) label.e = 0.0;
      } else {
        blank = blank_of(next, i);
        if (i < count) {
          label = label_of(next, i);
          blank = blank + label;
          label = label + blank_of(next, i + 1);
          if (skips(i + 1)) label = label + label_of(next, i + 1);
        }
        blank = normalised(blank);
        label = normalised(label);
      }
      set(out, i, blank * weight_of(row, count), i < count ? label * weight_of(row, i) : label);
      const double of_blank = share(blank_of(row, i), blank, total), of_label = share(label_of(row, i), label, total);
      row[i] = of_blank;
      row[2 * w.n + i] = i < count ? of_label : 0.0;
    }
    __syncthreads();
  }

  // p - posterior of the classes that the labels name, and of the blank, for a segment's frames: a warp per frame.
  LK_DEVICE void differences(u64 segment) const {
    const int32_t *next = w.next + b * w.n, *head = w.head + b * w.n;
    const u64 from = segment * w.segment, to = end_of(segment);
    for (u64 t = from + threadIdx.x / 32; t < to; t += blockDim.x / 32) {
      const double *row = row_of(t - from), *shares = row + 2 * w.n;
      const u64 r = t * a.batch + b;
      const double norm = 1.0 / (1.0 + static_cast<double>(w.stats[2 * r + 1]));
      float* out = w.difference + r * w.n;
      double blanks = 0.0;
      for (u64 i = threadIdx.x % 32; i < n; i += 32) {
        blanks += row[i];
        if (i >= count || !head[i]) continue;
        double sum = 0.0;
        for (int64_t j = static_cast<int64_t>(i); j >= 0; j = next[j]) sum += shares[j];
        out[i] = static_cast<float>(probability(weight_of(row, i), norm) - sum);
      }
      blanks = reduce_lanes(blanks, 32, [](double x, double y) { return x + y; });
      if (threadIdx.x % 32 == 0) out[count] = static_cast<float>(probability(weight_of(row, count), norm) - blanks);
    }
    __syncthreads();
  }

  static LK_DEVICE double share(const Extended& x, const Extended& y, const Extended& total) {
    return x.m * y.m / total.m * extended_scale(x.e + y.e - total.e);
  }
  static LK_DEVICE double probability(const Extended& weight, double norm) {
    return weight.m * extended_scale(weight.e) * norm;
  }
};

LK_DEVICE void ctc_sample(const lk_ctc_loss_args& a) {
  __shared__ double scratch[32];
  __shared__ int bad;
  const CtcWorkspace w(a);
  const u64 b = blockIdx.x, frames = ctc_frames(a, b);
  const bool wants_gradient = a.pass != kPassForward && a.grad_logits;
  if (threadIdx.x == 0) bad = frames == 0;
  __syncthreads();
  if (frames) {
    const int64_t* labels = a.labels + b * a.max_label;
    const u64 count = static_cast<u64>(a.label_lengths[b]);
    for (u64 i = threadIdx.x; i < count; i += blockDim.x) {
      const int64_t label = labels[i];
      if (label < 0 || static_cast<u64>(label) >= a.classes || label == a.opts.blank) bad = 1;
      int32_t next = -1, head = 1;
      for (u64 j = 0; j < i && head; ++j) head = labels[j] != label;
      for (u64 j = count; --j > i;) next = labels[j] == label ? static_cast<int32_t>(j) : next;
      w.next[b * w.n + i] = next;
      w.head[b * w.n + i] = head;
    }
  }
  __syncthreads();
  const bool valid = !bad;
  double log_sum = 0.0;
  for (u64 t = threadIdx.x; t < frames; t += blockDim.x) log_sum += log1p(static_cast<double>(w.stats[2 * (t * a.batch + b) + 1]));
  log_sum = reduce_group(log_sum, 0.0, scratch, [](double x, double y) { return x + y; });
  __syncthreads();
  const bool finite = log_sum - log_sum == 0.0;
  Extended total = extended_zero();
  const u64 segments = frames ? (frames - 1) / w.segment + 1 : 0;
  if (valid && finite) {
    const CtcSample sample(a, w, b, frames);
    for (u64 s = 0; s < segments; ++s) sample.forward(s);
    total = sample.total();
    __syncthreads();  // the way back overwrites what it is taken from
  }
  double loss = valid ? log_sum - extended_log(total) : static_cast<double>(quiet_nan());
  int state = valid ? kCtcPoison : kCtcZero;
  if (loss == infinity() && a.opts.zero_infinity) {
    loss = 0.0;
    state = kCtcZero;
  }
  if (valid && finite && total.e > kExtendedVanished) {
    state = kCtcValid;
    if (wants_gradient) {
      const CtcSample sample(a, w, b, frames);
      u64 side = 0;
      for (u64 s = segments; s-- > 0;) {
        if (s + 1 < segments) sample.forward(s);
        for (u64 t = sample.end_of(s); t-- > s * w.segment; side ^= 1) {
          sample.backward(sample.beta_of(side ^ 1), sample.beta_of(side), t, total);
        }
        sample.differences(s);
      }
    }
  }
  if (threadIdx.x != 0) return;
  if (!valid) atomicOr(a.device_flags, kFlagLabel);
  w.state[b] = state;
  if (a.pass == kPassBackward || !a.loss) return;
  if (a.opts.reduction == LK_REDUCTION_NONE) a.loss[b] = static_cast<float>(loss);
  const int64_t count = valid ? a.label_lengths[b] : 1;
  w.losses[b] = static_cast<float>(a.opts.reduction == LK_REDUCTION_MEAN && count > 1 ? loss / count : loss);
}

LK_DEVICE void ctc_gradient(const lk_ctc_loss_args& a) {
  const CtcWorkspace w(a);
  const u64 rows = a.time * a.batch;
  for (u64 first = u64(blockIdx.x) * blockDim.y; first < rows; first += u64(gridDim.x) * blockDim.y) {
    const u64 r = first + threadIdx.y, b = r % a.batch;
    const bool present = r < rows;
    const bool within = present && r / a.batch < ctc_frames(a, b);
    const int state = within ? w.state[b] : kCtcZero;
    void* g = at(a.grad_logits, a.dtype, r * a.classes);
    const u64 count = state == kCtcValid ? static_cast<u64>(a.label_lengths[b]) : 0;
    double scale = a.grad_loss ? a.grad_loss[a.opts.reduction == LK_REDUCTION_NONE ? b : 0] : 1.0f;
    if (a.opts.reduction == LK_REDUCTION_MEAN) scale /= static_cast<double>(a.batch) * (count > 1 ? count : 1);
    if (state == kCtcValid) {
      const void* z = at(a.logits, a.dtype, r * a.classes);
      const float top = w.stats[2 * r], factor = static_cast<float>(scale / (1.0 + static_cast<double>(w.stats[2 * r + 1])));
      const bool vector = ((reinterpret_cast<uintptr_t>(g) ^ reinterpret_cast<uintptr_t>(z)) & 15) == 0;
      sweep(z, a.dtype, a.classes, [&](auto& x, u64 k) {
        for (float& e : x) e = factor * exp_difference(e, top);
        store(g, a.dtype, k, vector, x);
      });
    } else if (present) {
      const float fill = state == kCtcPoison ? quiet_nan() : 0.0f;
      sweep(g, a.dtype, a.classes, [&](auto& x, u64 k) {
        for (float& e : x) e = fill;
        store(g, a.dtype, k, true, x);
      });
    }
    if (blockDim.x > 32) __syncthreads(); else __syncwarp();
    if (state != kCtcValid) continue;
    const float* difference = w.difference + r * w.n;
    const int64_t* labels = a.labels + b * a.max_label;
    for (u64 i = threadIdx.x; i < count; i += blockDim.x) {
      if (w.head[b * w.n + i]) store1(g, a.dtype, static_cast<u64>(labels[i]), static_cast<float>(scale * difference[i]));
    }
    if (threadIdx.x == 0) store1(g, a.dtype, static_cast<u64>(a.opts.blank), static_cast<float>(scale * difference[count]));
  }
}

}  // namespace lk
