// Rows as the tiles take them, of length 1 where the loss wants directions: f32. Those of f16 and bf16 stay exact
// for tensor cores: only a power of two is taken out, and `unit` does the rest. And the way back of their gradients. A warp
// per row, 8 rows per block. Bytes: a row once in and once out, again from L1. Bound: memory.
#include "../common.cuh"

// Mirrored by src/cuda/tiles.rs.
struct lk_embeddings_args {
  const void* x;          // [rows, d]
  void* grad_x;           // of the same type
  void* values;           // [rows, stride]: x^ = x / sqrt(|x|^2 + 1e-12), or x; with units x^ / unit
  float* unit;            // [rows]; NULL = 1
  float* inverse;         // [rows]: 1 / sqrt(...)
  const float* gradients; // [rows, d], of x^
  const void* others;     // [rows, stride], in place of gradients; NULL = not wanted
  const float* others_unit;     // [rows]: times others; NULL = 1
  const float* scale;     // times factor; NULL = 1
  double* dots;           // [rows] pairs (x^ . g, 0)
  uint64_t rows, d, stride;
  double factor;
  int32_t dtype;          // of x
  int32_t values_dtype;   // of values and others
  int32_t normalize, padding;
};

namespace lk {

LK_DEVICE double sum_of_lanes(double value) {
  return reduce_lanes(value, 32, [](double x, double y) { return x + y; });
}

template <class F>
LK_DEVICE void each_row(u64 rows, F f) {
  for (u64 first = u64(blockIdx.x) * blockDim.y; first < rows; first += u64(gridDim.x) * blockDim.y) {
    if (first + threadIdx.y < rows) f(first + threadIdx.y);
  }
}

LK_DEVICE float value(const lk_embeddings_args& a, u64 r, u64 k) { return load1(a.values, a.values_dtype, r * a.stride + k); }

LK_DEVICE double row_dot(const lk_embeddings_args& a, u64 r) {
  double sum = 0.0;
  for (u64 k = threadIdx.x; k < a.d; k += 32) {
    const float other = a.others ? load1(a.others, a.values_dtype, r * a.stride + k) : a.gradients[r * a.d + k];
    sum = fma(static_cast<double>(value(a, r, k)), static_cast<double>(other), sum);
  }
  sum = sum_of_lanes(sum) * (a.unit ? a.unit[r] : 1.0f);
  return a.others_unit ? sum * a.others_unit[r] : sum;
}

}  // namespace lk

LK_KERNEL(embeddings_prepare, lk_embeddings_args) {
  using namespace lk;
  each_row(a.rows, [&](u64 r) {
    double squares = 0.0;
    for (u64 k = threadIdx.x; k < a.d; k += 32) {
      const double x = load1(a.x, a.dtype, r * a.d + k);
      squares = fma(x, x, squares);
    }
    squares = sum_of_lanes(squares);
    const double length = sqrt(squares + 1e-12);
    const float inverse = a.normalize ? static_cast<float>(1.0 / length) : 1.0f;
    double factor = inverse;
    if (a.unit) {
      int power = 0;
      if (length < 1e300) frexp(length, &power);
      factor = ldexp(1.0, -power);
      if (threadIdx.x == 0) a.unit[r] = static_cast<float>(1.0 / (length * factor));
    }
    if (threadIdx.x == 0) a.inverse[r] = inverse;
    for (u64 k = threadIdx.x; k < a.d; k += 32) {
      store1(a.values, a.values_dtype, r * a.stride + k, static_cast<float>(load1(a.x, a.dtype, r * a.d + k) * factor));
    }
  });
}

LK_KERNEL(embeddings_write_back, lk_embeddings_args) {
  using namespace lk;
  each_row(a.rows, [&](u64 r) {
    const float along = a.normalize ? static_cast<float>(row_dot(a, r)) * (a.unit ? a.unit[r] : 1.0f) : 0.0f;
    const float factor = static_cast<float>(a.factor * (a.scale ? *a.scale : 1.0f) * a.inverse[r]);
    for (u64 k = threadIdx.x; k < a.d; k += 32) {
      const float g = a.gradients[r * a.d + k];
      store1(a.grad_x, a.dtype, r * a.d + k, (a.normalize ? fmaf(value(a, r, k), -along, g) : g) * factor);
    }
  });
}

LK_KERNEL(embeddings_dots, lk_embeddings_args) {
  using namespace lk;
  each_row(a.rows, [&](u64 r) {
    const double dot = row_dot(a, r);
    if (threadIdx.x == 0) {
      a.dots[2 * r] = dot;
      a.dots[2 * r + 1] = 0.0;
    }
  });
}
