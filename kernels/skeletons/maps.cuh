// Losses on class maps [images, classes, pixels]: sums over the pixels of each class, then the gradient from
// factors per class. A thread has pixels of its own and walks through their classes: neighbours read neighbours.
//
// A loss is a functor:
//   using Args; static constexpr int kSums, kFactors;
//   static MapsCall call(args); Loss(args)
//   void add(float (&sums)[kSums], const Pixel& x); float slope(const float* factors, const Pixel& x)
// and three or four kernels: <name>_sums, <name>_totals, one that makes the factors, <name>_gradient.
#pragma once
#include "../common.cuh"

namespace lk {

// An enum option softmax | sigmoid | none.
constexpr int kSoftmax = 0, kSigmoid = 1;

struct MapsCall {
  u64 images, classes, pixels;
  const void* pred;
  void* gradient;
  int activation;
  const int64_t* labels;  // NULL = none; out of range: the image is dead
  int64_t ignore;
  const void* target;  // NULL = none
};

struct Pixel {
  float p, q, log_p, t;  // q = 1 - p
};

// ---- The workspace; mirrored by src/cuda/maps.rs -------------------------------------------------------

constexpr int kPixelsPerThread = 8;
constexpr int kFew = 8;             // up to so many classes of a pixel stay in registers
constexpr u64 kRun = 64;  // so many classes are added up by themselves: a long sum in f32 would lose digits

LK_DEVICE u64 maps_threads(u64 pixels) { return pixels > 1024 ? 256 : pixels > 256 ? 128 : 32; }
LK_DEVICE u64 maps_chunk(u64 pixels) { return maps_threads(pixels) * kPixelsPerThread; }
LK_DEVICE u64 maps_chunks(u64 pixels) { return (pixels + maps_chunk(pixels) - 1) / maps_chunk(pixels); }
LK_DEVICE u64 align_up(u64 bytes) { return (bytes + 255) / 256 * 256; }

// f64 totals [images, classes, kSums + 1], the last the number of bad labels of the image; f32 factors
// [images, classes, kFactors]; f32 dead [images]; f32 values [images, classes]; f64 partials
// [images, chunks, classes, kSums + 1].
template <class Loss>
struct MapsWorkspace {
  double* totals;
  float* factors;
  float* dead;
  float* values;
  double* partials;

  LK_DEVICE MapsWorkspace(void* workspace, const MapsCall& c) {
    unsigned char* at = static_cast<unsigned char*>(workspace);
    const u64 maps = c.images * c.classes;
    totals = reinterpret_cast<double*>(at);
    at += align_up(maps * (Loss::kSums + 1) * 8);
    factors = reinterpret_cast<float*>(at);
    at += align_up(maps * Loss::kFactors * 4);
    dead = reinterpret_cast<float*>(at);
    at += align_up(c.images * 4);
    values = reinterpret_cast<float*>(at);
    at += align_up((maps > c.classes ? maps : c.classes) * 4);
    partials = reinterpret_cast<double*>(at);
  }
};

// ---- One pixel -----------------------------------------------------------------------------------------

// The softmax over the classes of a pixel.
struct Softmax {
  float max, inverse, log_sum;
};

LK_DEVICE Softmax softmax_of(const MapsCall& c, int dtype, u64 first) {
  float max = -infinity();
  for (u64 k = 0; k < c.classes; ++k) max = fmaxf(max, load1(c.pred, dtype, first + k * c.pixels));
  float sum = 0.0f;
  for (u64 k = 0; k < c.classes;) {
    float part = 0.0f;
    const u64 end = k + kRun < c.classes ? k + kRun : c.classes;
    for (; k < end; ++k) part += exp_difference(load1(c.pred, dtype, first + k * c.pixels), max);
    sum += part;
  }
  return {max, 1.0f / sum, logf(sum)};
}

// From z and exp(z - max).
LK_DEVICE Pixel activated(const MapsCall& c, const Softmax& softmax, float z, float e, float t) {
  Pixel x;
  x.t = t;
  x.log_p = 0.0f;
  if (c.activation == kSoftmax) {
    x.p = e * softmax.inverse;
    x.q = 1.0f - x.p;
    x.log_p = (z - softmax.max) - softmax.log_sum;
  } else if (c.activation == kSigmoid) {
    const float decay = expf(-fabsf(z)), large = 1.0f / (1.0f + decay), small = decay * large;
    x.p = z < 0.0f ? small : large;
    x.q = z < 0.0f ? large : small;
    if (z != z) x.p = x.q = z;
  } else {
    x.p = z;
    x.q = 1.0f - z;
  }
  return x;
}

LK_DEVICE float target_of(const MapsCall& c, int dtype, u64 index, u64 k, int64_t label) {
  return c.labels ? (label == static_cast<int64_t>(k) ? 1.0f : 0.0f) : c.target ? load1(c.target, dtype, index) : 0.0f;
}

LK_DEVICE Pixel pixel(const MapsCall& c, int dtype, const Softmax& softmax, u64 index, u64 k, int64_t label) {
  const float z = load1(c.pred, dtype, index);
  const float e = c.activation == kSoftmax ? exp_difference(z, softmax.max) : 0.0f;
  return activated(c, softmax, z, e, target_of(c, dtype, index, k, label));
}

// f(storage, Width<N>()): few classes at most N, and the storage type, as constants: loads wait for nothing then.
template <int N>
struct Width {
  static constexpr int kMost = N;
};
template <class F>
LK_DEVICE void with_few(const MapsCall& c, int dtype, F f) {
  with_storage(dtype, [&](auto storage) {
    if (c.classes <= kFew / 2) {
      f(storage, Width<kFew / 2>());
    } else {
      f(storage, Width<kFew>());
    }
  });
}

// All classes of a pixel, where they are few: each is read once.
template <int N>
LK_DEVICE void few_pixels(const MapsCall& c, int dtype, u64 first, int64_t label, Pixel (&x)[N]) {
  const int classes = static_cast<int>(c.classes);
  float z[N], e[N], t[N];
#pragma unroll
  for (int k = 0; k < N; ++k) {
    z[k] = k < classes ? load1(c.pred, dtype, first + k * c.pixels) : -infinity();
    t[k] = k < classes ? target_of(c, dtype, first + k * c.pixels, k, label) : 0.0f;
    e[k] = 0.0f;
  }
  Softmax softmax = {-infinity(), 0.0f, 0.0f};
  if (c.activation == kSoftmax) {
    float sum = 0.0f;
#pragma unroll
    for (int k = 0; k < N; ++k) softmax.max = fmaxf(softmax.max, z[k]);
#pragma unroll
    for (int k = 0; k < N; ++k) {
      if (k < classes) sum += e[k] = exp_difference(z[k], softmax.max);
    }
    softmax.inverse = 1.0f / sum;
    softmax.log_sum = logf(sum);
  }
#pragma unroll
  for (int k = 0; k < N; ++k) {
    if (k < classes) x[k] = activated(c, softmax, z[k], e[k], t[k]);
  }
}

LK_DEVICE bool bad_label(const MapsCall& c, int64_t label) {
  return c.labels && label != c.ignore && (label < 0 || static_cast<u64>(label) >= c.classes);
}

// ---- Kernels -------------------------------------------------------------------------------------------

template <int N>
struct MapSums {
  float v[N];
};

// Adds up over the block what its threads have of a class.
template <class Loss>
LK_DEVICE void maps_put(const MapsWorkspace<Loss>& w, const MapsCall& c, u64 block, u64 k, const float (&sums)[Loss::kSums], float bad,
                        MapSums<Loss::kSums + 1> (&scratch)[2][32]) {
  constexpr int kAll = Loss::kSums + 1;
  MapSums<kAll> all;
#pragma unroll
  for (int j = 0; j < Loss::kSums; ++j) all.v[j] = sums[j];
  all.v[Loss::kSums] = bad;
  // Two scratches in turn: one barrier a class is enough.
  all = reduce_group(all, MapSums<kAll>{}, scratch[k & 1], [](const MapSums<kAll>& x, const MapSums<kAll>& y) {
    MapSums<kAll> sum;
#pragma unroll
    for (int j = 0; j < kAll; ++j) sum.v[j] = x.v[j] + y.v[j];
    return sum;
  });
  if (threadIdx.x != 0) return;
#pragma unroll
  for (int j = 0; j < kAll; ++j) w.partials[(block * c.classes + k) * kAll + j] = all.v[j];
}

// What the label of a pixel says: whether it counts, and whether it is a bad one.
template <class Args>
LK_DEVICE bool maps_counts(const Args& a, const MapsCall& c, bool present, int64_t label, float& bad) {
  if (present && bad_label(c, label)) {
    bad += 1.0f;
    atomicOr(a.device_flags, kFlagLabel);
  }
  return present && !(c.labels && label == c.ignore);
}

// A block: the chunk of an image at a time, of few classes.
template <class Loss>
LK_DEVICE void maps_sums_of_few(const typename Loss::Args& a, const MapsCall& c) {
  __shared__ MapSums<Loss::kSums + 1> scratch[2][32];
  const MapsWorkspace<Loss> w(a.workspace, c);
  const Loss loss(a);
  const int classes = static_cast<int>(c.classes);
  const u64 chunks = maps_chunks(c.pixels);
  for (u64 block = blockIdx.x; block < c.images * chunks; block += gridDim.x) {
    const u64 image = block / chunks, start = block % chunks * maps_chunk(c.pixels) + threadIdx.x;
    with_few(c, a.dtype, [&](auto storage, auto width) {
      constexpr int kMost = decltype(width)::kMost;
      float bad = 0.0f, sums[kMost][Loss::kSums] = {};
#pragma unroll 2
      for (int j = 0; j < kPixelsPerThread; ++j) {
        const u64 i = start + u64(j) * blockDim.x;
        const bool present = i < c.pixels;
        const int64_t label = present && c.labels ? c.labels[image * c.pixels + i] : 0;
        if (!maps_counts(a, c, present, label, bad)) continue;
        Pixel x[kMost];
        few_pixels(c, storage.dtype, image * c.classes * c.pixels + i, label, x);
#pragma unroll
        for (int k = 0; k < kMost; ++k) {
          if (k < classes) loss.add(sums[k], x[k]);
        }
      }
#pragma unroll
      for (int k = 0; k < kMost; ++k) {
        if (k < classes) maps_put(w, c, block, k, sums[k], bad, scratch);
      }
    });
    __syncthreads();
  }
}

// A block: the chunk of an image at a time.
template <class Loss>
LK_DEVICE void maps_sums(const typename Loss::Args& a) {
  __shared__ MapSums<Loss::kSums + 1> scratch[2][32];
  const MapsCall c = Loss::call(a);
  if (c.classes <= kFew) return maps_sums_of_few<Loss>(a, c);
  const MapsWorkspace<Loss> w(a.workspace, c);
  const Loss loss(a);
  const u64 chunks = maps_chunks(c.pixels);
  for (u64 block = blockIdx.x; block < c.images * chunks; block += gridDim.x) {
    const u64 image = block / chunks, start = block % chunks * maps_chunk(c.pixels) + threadIdx.x;
    Softmax softmax[kPixelsPerThread];
    int64_t labels[kPixelsPerThread];
    bool counts[kPixelsPerThread];
    float bad = 0.0f;
#pragma unroll
    for (int j = 0; j < kPixelsPerThread; ++j) {
      const u64 i = start + u64(j) * blockDim.x;
      const bool present = i < c.pixels;
      labels[j] = present && c.labels ? c.labels[image * c.pixels + i] : 0;
      counts[j] = maps_counts(a, c, present, labels[j], bad);
      softmax[j] = {0.0f, 0.0f, 0.0f};
      if (counts[j] && c.activation == kSoftmax) softmax[j] = softmax_of(c, a.dtype, image * c.classes * c.pixels + i);
    }
    for (u64 k = 0; k < c.classes; ++k) {
      float sums[Loss::kSums] = {};
#pragma unroll
      for (int j = 0; j < kPixelsPerThread; ++j) {
        if (!counts[j]) continue;
        const u64 i = start + u64(j) * blockDim.x;
        loss.add(sums, pixel(c, a.dtype, softmax[j], (image * c.classes + k) * c.pixels + i, k, labels[j]));
      }
      maps_put(w, c, block, k, sums, bad, scratch);
    }
    __syncthreads();
  }
}

// A warp: the chunks of one class of one image.
template <class Loss>
LK_DEVICE void maps_totals(const typename Loss::Args& a) {
  constexpr int kAll = Loss::kSums + 1;
  const MapsCall c = Loss::call(a);
  const MapsWorkspace<Loss> w(a.workspace, c);
  const u64 chunks = maps_chunks(c.pixels);
  for (u64 map = blockIdx.x; map < c.images * c.classes; map += gridDim.x) {
    const u64 image = map / c.classes, k = map % c.classes;
    for (int j = 0; j < kAll; ++j) {
      double sum = 0.0;
      for (u64 i = threadIdx.x; i < chunks; i += 32) sum += w.partials[((image * chunks + i) * c.classes + k) * kAll + j];
      sum = reduce_lanes(sum, 32, [](double x, double y) { return x + y; });
      if (threadIdx.x == 0) w.totals[map * kAll + j] = sum;
    }
  }
}

// A thread: pixels, grid-stride.
template <class Loss>
LK_DEVICE void maps_gradient(const typename Loss::Args& a) {
  const MapsCall c = Loss::call(a);
  const MapsWorkspace<Loss> w(a.workspace, c);
  const Loss loss(a);
  const u64 step = u64(gridDim.x) * blockDim.x;
  const bool narrow = c.images * c.pixels <= 0xffffffffu;  // a division of 64 bits takes as long as a pixel
  for (u64 n = u64(blockIdx.x) * blockDim.x + threadIdx.x; n < c.images * c.pixels; n += step) {
    const u64 image = narrow ? static_cast<uint32_t>(n) / static_cast<uint32_t>(c.pixels) : n / c.pixels;
    const u64 i = n - image * c.pixels, first = image * c.classes * c.pixels + i;
    const int64_t label = c.labels ? c.labels[n] : 0;
    if (bad_label(c, label)) atomicOr(a.device_flags, kFlagLabel);
    if (w.dead[image] != 0.0f || (c.labels && label == c.ignore)) {
      for (u64 k = 0; k < c.classes; ++k) store1(c.gradient, a.dtype, first + k * c.pixels, 0.0f);
      continue;
    }
    const float* factors = w.factors + image * c.classes * Loss::kFactors;
    Softmax softmax = {0.0f, 0.0f, 0.0f};
    float mean = 0.0f;
    const auto slope_in_logit = [&](const Pixel& x, float slope) {
      return c.activation == kSoftmax ? x.p * (slope - mean) : c.activation == kSigmoid ? x.p * x.q * slope : slope;
    };
    if (c.classes <= kFew) {
      with_few(c, a.dtype, [&](auto storage, auto width) {
        constexpr int kMost = decltype(width)::kMost;
        const int classes = static_cast<int>(c.classes);
        Pixel x[kMost];
        few_pixels(c, storage.dtype, first, label, x);
        float slopes[kMost];
#pragma unroll
        for (int k = 0; k < kMost; ++k) {
          if (k >= classes) continue;
          slopes[k] = loss.slope(factors + k * Loss::kFactors, x[k]);
          if (c.activation == kSoftmax) mean = fmaf(x[k].p, slopes[k], mean);
        }
#pragma unroll
        for (int k = 0; k < kMost; ++k) {
          if (k < classes) store1(c.gradient, storage.dtype, first + k * c.pixels, slope_in_logit(x[k], slopes[k]));
        }
      });
      continue;
    }
    if (c.activation == kSoftmax) {
      softmax = softmax_of(c, a.dtype, first);
      for (u64 k = 0; k < c.classes;) {
        float part = 0.0f;
        const u64 end = k + kRun < c.classes ? k + kRun : c.classes;
        for (; k < end; ++k) {
          const Pixel x = pixel(c, a.dtype, softmax, first + k * c.pixels, k, label);
          part = fmaf(x.p, loss.slope(factors + k * Loss::kFactors, x), part);
        }
        mean += part;
      }
    }
    for (u64 k = 0; k < c.classes; ++k) {
      const Pixel x = pixel(c, a.dtype, softmax, first + k * c.pixels, k, label);
      store1(c.gradient, a.dtype, first + k * c.pixels, slope_in_logit(x, loss.slope(factors + k * Loss::kFactors, x)));
    }
  }
}

}  // namespace lk
