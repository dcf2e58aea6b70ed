// losskit for C++17: contexts that clean up, errors as exceptions or values, buffers that know their size.
//
//   losskit::Context ctx = losskit::Context::cpu();
//   losskit::z_loss::options options;
//   options.a = 1;
//   losskit::z_loss::arguments call;
//   call.rows = 32, call.classes = 10;
//   call.logits = logits, call.labels = labels;               // std::vector, std::array, {pointer, size}
//   call.loss = {&loss, 1}, call.grad_logits = gradient;      // what is left out is not computed
//   losskit::z_loss::forward_backward(ctx, call, options);    // throws losskit::Error
//
// In C++20 the same is one expression: forward_backward(ctx, {.rows = 32, ...}, {.a = 1}).
// Each function `f` has a twin `try_f` that returns a losskit::Status and throws nothing; with
// exceptions switched off there are only the twins. What the arguments mean is written in losskit.h.
#ifndef LOSSKIT_HPP
#define LOSSKIT_HPP

#include "losskit.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>

#if defined(__cpp_exceptions) && !defined(LOSSKIT_NO_EXCEPTIONS)
#define LOSSKIT_EXCEPTIONS 1
#include <stdexcept>
#else
#define LOSSKIT_EXCEPTIONS 0
#endif

namespace losskit {

enum class Dtype : lk_dtype { f32 = LK_DTYPE_F32, f16 = LK_DTYPE_F16, bf16 = LK_DTYPE_BF16 };

enum class Reduction : lk_reduction {
  none = LK_REDUCTION_NONE,
  mean = LK_REDUCTION_MEAN,
  sum = LK_REDUCTION_SUM,
  batchmean = LK_REDUCTION_BATCHMEAN
};

inline const char *to_string(Dtype dtype) noexcept {
  return dtype == Dtype::f32 ? "f32" : dtype == Dtype::f16 ? "f16" : "bf16";
}

#if LOSSKIT_EXCEPTIONS
// A refused or failed call: what() names the argument, its value and what was expected.
class Error : public std::runtime_error {
 public:
  Error(lk_status status, const std::string &message) : std::runtime_error(message), status_(status) {}
  lk_status status() const noexcept { return status_; }

 private:
  lk_status status_;
};
#endif

// Outcome of a call as a value.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(lk_status code, std::string message) : code_(code), message_(std::move(message)) {}
  bool ok() const noexcept { return code_ == LK_STATUS_OK; }
  explicit operator bool() const noexcept { return ok(); }
  lk_status code() const noexcept { return code_; }
  const std::string &message() const noexcept { return message_; }
#if LOSSKIT_EXCEPTIONS
  void or_throw() const {
    if (!ok()) throw Error(code_, message_);
  }
#endif

 private:
  lk_status code_ = LK_STATUS_OK;
  std::string message_;
};

namespace detail {

inline Status outcome(lk_status code) {
  return code == LK_STATUS_OK ? Status() : Status(code, lk_last_error_message());
}

template <class C>
using pointer_of = decltype(std::data(std::declval<C &>()));

// A temporary that owns its elements would be gone before the call.
template <class C>
constexpr bool outlives_call = std::is_lvalue_reference_v<C> || std::is_trivially_destructible_v<C>;

}  // namespace detail

// bfloat16. Converting from float rounds to nearest even.
struct bf16 {
  std::uint16_t bits = 0;
  bf16() = default;
  explicit bf16(float value) noexcept {
    std::uint32_t u;
    std::memcpy(&u, &value, 4);
    const bool nan = (u & 0x7fffffffu) > 0x7f800000u;
    bits = static_cast<std::uint16_t>(nan ? (u >> 16) | 0x40u : (u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
  operator float() const noexcept {
    const std::uint32_t u = static_cast<std::uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &u, 4);
    return value;
  }
};

// IEEE half precision, as storage: conversions are the program's affair.
struct f16 {
  std::uint16_t bits = 0;
};

// The storage type of an element type. Specialise it to hand over a half type of your own.
template <class T>
struct dtype_of;
template <>
struct dtype_of<float> {
  static constexpr Dtype value = Dtype::f32;
};
template <>
struct dtype_of<f16> {
  static constexpr Dtype value = Dtype::f16;
};
template <>
struct dtype_of<bf16> {
  static constexpr Dtype value = Dtype::bf16;
};

// Elements of a fixed type: {pointer, size}, or anything with data() and size(), or an array.
template <class T>
class span {
 public:
  span() = default;
  span(std::nullptr_t) noexcept {}
  span(T *data, std::size_t size) noexcept : data_(data), size_(size), given_(data != nullptr) {}
  template <class C, class P = detail::pointer_of<C>,
            class = std::enable_if_t<std::is_convertible_v<P, T *> && detail::outlives_call<C>>>
  span(C &&c) noexcept : data_(std::data(c)), size_(std::size(c)), given_(true) {}
  T *data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  // Also true of an empty container, so that one that was never sized is an error and not "not wanted".
  bool given() const noexcept { return given_; }

 private:
  T *data_ = nullptr;
  std::size_t size_ = 0;
  bool given_ = false;
};

// Elements stored as f32, f16 or bf16; takes what span takes, or {pointer, size, dtype}.
template <class Void>
class basic_floats {
  template <class T>
  using element = std::conditional_t<std::is_const_v<Void>, const T, T>;

 public:
  basic_floats() = default;
  basic_floats(std::nullptr_t) noexcept {}
  basic_floats(Void *data, std::size_t size, Dtype dtype) noexcept
      : data_(data), size_(size), dtype_(dtype), given_(data != nullptr) {}
  template <class T, Dtype dtype = dtype_of<std::remove_const_t<T>>::value,
            class = std::enable_if_t<std::is_convertible_v<T *, Void *>>>
  basic_floats(T *data, std::size_t size) noexcept : basic_floats(data, size, dtype) {}
  template <class C, class T = std::remove_pointer_t<detail::pointer_of<C>>,
            Dtype dtype = dtype_of<std::remove_const_t<T>>::value,
            class = std::enable_if_t<std::is_convertible_v<T *, Void *> && detail::outlives_call<C>>>
  basic_floats(C &&c) noexcept : data_(std::data(c)), size_(std::size(c)), dtype_(dtype), given_(true) {}
  Void *data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  Dtype dtype() const noexcept { return dtype_; }
  bool given() const noexcept { return given_; }

 private:
  Void *data_ = nullptr;
  std::size_t size_ = 0;
  Dtype dtype_ = Dtype::f32;
  bool given_ = false;
};

using floats = basic_floats<const void>;
using mutable_floats = basic_floats<void>;

// A device to compute on. May be shared by threads.
class Context {
 public:
#if LOSSKIT_EXCEPTIONS
  // 0 = one thread per processor; 1 = the caller's thread alone, no pool.
  static Context cpu(std::uint32_t num_threads = 0) {
    Context ctx;
    try_cpu(ctx, num_threads).or_throw();
    return ctx;
  }
  // `stream` is a CUstream or cudaStream_t.
  static Context cuda(std::int32_t device = 0, void *stream = nullptr) {
    Context ctx;
    try_cuda(ctx, device, stream).or_throw();
    return ctx;
  }
  void set_stream(void *stream) { try_set_stream(stream).or_throw(); }
  // Waits for the stream and reports labels out of range found on a CUDA device.
  void check() { try_check().or_throw(); }
#endif
  static Status try_cpu(Context &ctx, std::uint32_t num_threads = 0) {
    lk_context_options options;
    lk_context_options_init(&options);
    options.num_threads = num_threads;
    ctx.reset();
    return detail::outcome(lk_context_create(&ctx.handle_, &options));
  }
  static Status try_cuda(Context &ctx, std::int32_t device = 0, void *stream = nullptr) {
    ctx.reset();
    return detail::outcome(lk_context_create_cuda(&ctx.handle_, device, stream, nullptr));
  }
  Status try_set_stream(void *stream) { return detail::outcome(lk_context_set_stream(handle_, stream)); }
  Status try_check() { return detail::outcome(lk_context_check(handle_)); }

  // Without a device, until one of the functions above gives it one.
  Context() = default;
  Context(Context &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Context &operator=(Context &&other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Context() { reset(); }
  lk_context *get() const noexcept { return handle_; }

 private:
  void reset() noexcept { lk_context_destroy(std::exchange(handle_, nullptr)); }
  lk_context *handle_ = nullptr;
};

namespace detail {

// What the C interface cannot see: the sizes of the buffers, and that they share a storage type.
class Check {
 public:
  explicit Check(const char *entry) noexcept : entry_(entry) {}
  const Status &status() const noexcept { return status_; }
  lk_dtype dtype() const noexcept { return static_cast<lk_dtype>(dtype_); }

  template <class T>
  Check &buffer(const char *name, const span<T> &view, std::initializer_list<std::size_t> shape) {
    if (view.given() && status_.ok()) size(name, view.size(), shape, 0);
    return *this;
  }

  template <class Void>
  Check &buffer(const char *name, const basic_floats<Void> &view, std::initializer_list<std::size_t> shape,
                std::size_t stride = 0) {
    if (!view.given() || !status_.ok()) return *this;
    if (first_ == nullptr) {
      first_ = name;
      dtype_ = view.dtype();
    }
    if (view.dtype() == dtype_) {
      size(name, view.size(), shape, stride);
    } else {
      fail(name, std::string("is ") + to_string(view.dtype()) + ", expected " + to_string(dtype_) +
                     " as '" + first_ + "'");
    }
    return *this;
  }

 private:
  void size(const char *name, std::size_t given, std::initializer_list<std::size_t> shape,
            std::size_t stride) {
    const std::size_t needed = elements(shape, stride);
    if (given >= needed) return;
    std::string text =
        "holds " + std::to_string(given) + " elements, expected " + std::to_string(needed) + " for shape [";
    const char *comma = "";
    for (std::size_t extent : shape) {
      text += comma + std::to_string(extent);
      comma = ", ";
    }
    fail(name, text + (stride == 0 ? "]" : "] with stride " + std::to_string(stride)));
  }

  void fail(const char *name, const std::string &text) {
    status_ = Status(LK_STATUS_INVALID_ARGUMENT, std::string(entry_) + ": argument '" + name + "' " + text);
  }

  static std::size_t times(std::size_t a, std::size_t b) noexcept {
    constexpr std::size_t most = std::numeric_limits<std::size_t>::max();
    return b != 0 && a > most / b ? most : a * b;
  }

  static std::size_t elements(std::initializer_list<std::size_t> shape, std::size_t stride) noexcept {
    std::size_t product = 1;
    for (std::size_t extent : shape) product = times(product, extent);
    if (stride == 0 || product == 0) return product;
    const std::size_t columns = *(shape.end() - 1);
    const std::size_t before = times(*shape.begin() - 1, stride);
    return before + columns < before ? before : before + columns;
  }

  const char *entry_;
  const char *first_ = nullptr;
  Dtype dtype_ = Dtype::f32;
  Status status_;
};

}  // namespace detail
}  // namespace losskit

#include "losskit_entries.hpp"

#endif  // LOSSKIT_HPP
