// A C++ program that knows losskit from its installed package alone.
#include <losskit.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

namespace {

int failures = 0;

void check(bool condition, const char *what) {
  if (condition) return;
  failures++;
  std::printf("failed: %s\n", what);
}
#define CHECK(condition) check(condition, #condition)

template <class F>
void check_throws(lk_status status, const std::string &words, F call) {
  try {
    call();
    check(false, ("nothing thrown, expected " + words).c_str());
  } catch (const losskit::Error &e) {
    check(e.status() == status && std::string(e.what()).find(words) != std::string::npos, e.what());
  }
}

struct Data {
  std::vector<float> logits = {1, -2, 0.5f, 3, 0, 0.25f};
  std::array<std::int64_t, 2> labels = {2, 0};
  float loss = 0;
  std::vector<float> gradient = std::vector<float>(6);

  template <class Loss>
  typename Loss::arguments call() {
    typename Loss::arguments a;
    a.rows = 2, a.classes = 3;
    a.logits = logits, a.labels = labels;
    a.loss = {&loss, 1}, a.grad_logits = gradient;
    return a;
  }
};

// One function for every loss with logits and labels.
template <class Loss>
double slope_error(const losskit::Context &ctx, const typename Loss::options &options) {
  Data data;
  Loss::forward_backward(ctx, data.call<Loss>(), options);
  const std::vector<float> gradient = data.gradient;
  double worst = 0;
  for (std::size_t i = 0; i < gradient.size(); i++) {
    float sides[2];
    for (int side = 0; side < 2; side++) {
      Data moved;
      moved.logits[i] += side == 0 ? -1e-2f : 1e-2f;
      Loss::forward(ctx, moved.call<Loss>(), options);
      sides[side] = moved.loss;
    }
    worst = std::max(worst, std::fabs((sides[1] - sides[0]) / 2e-2 - gradient[i]));
  }
  return worst;
}

void gradients(const losskit::Context &ctx) {
  losskit::comp_sum_cross_entropy::options comp_sum;
  comp_sum.tau = 1.5;
  comp_sum.reduction = losskit::Reduction::sum;
  losskit::z_loss::options z;
  z.a = 1;
  CHECK(slope_error<losskit::token_cross_entropy>(ctx, {}) < 1e-3);
  CHECK(slope_error<losskit::comp_sum_cross_entropy>(ctx, comp_sum) < 1e-3);
  CHECK(slope_error<losskit::z_loss>(ctx, z) < 1e-3);
}

void half_precision(const losskit::Context &ctx) {
  Data wide;
  losskit::token_cross_entropy::forward_backward(ctx, wide.call<losskit::token_cross_entropy>());
  std::vector<losskit::bf16> logits(wide.logits.begin(), wide.logits.end()), gradient(6);
  float loss = 0;
  auto a = wide.call<losskit::token_cross_entropy>();
  a.logits = logits, a.grad_logits = gradient, a.loss = {&loss, 1};
  losskit::token_cross_entropy::forward_backward(ctx, a);
  CHECK(loss == wide.loss);  // these logits are exact in bf16
  for (std::size_t i = 0; i < 6; i++) CHECK(gradient[i] == losskit::bf16(wide.gradient[i]));

  // Raw pointers of a type known at run time, in place.
  a.logits = {logits.data(), 6, losskit::Dtype::bf16};
  a.grad_logits = {logits.data(), 6, losskit::Dtype::bf16};
  losskit::token_cross_entropy::forward_backward(ctx, a);
  for (std::size_t i = 0; i < 6; i++) CHECK(logits[i].bits == gradient[i].bits);

  a.grad_logits = wide.gradient;
  check_throws(LK_STATUS_INVALID_ARGUMENT, "'grad_logits' is f32, expected bf16 as 'logits'",
               [&] { losskit::token_cross_entropy::forward_backward(ctx, a); });
}

void bfloat() {
  CHECK(losskit::bf16(1.0f).bits == 0x3f80);
  CHECK(losskit::bf16(1.00390625f).bits == 0x3f80);  // ties to even
  CHECK(losskit::bf16(1.01171875f).bits == 0x3f82);
  CHECK(losskit::bf16(INFINITY).bits == 0x7f80);
  CHECK(std::isnan(float(losskit::bf16(NAN))));
}

void sizes(const losskit::Context &ctx) {
  using Loss = losskit::z_loss;
  Data data;
  const auto throws = [&](const std::string &words, const Loss::arguments &a, const Loss::options &o = {}) {
    check_throws(LK_STATUS_INVALID_ARGUMENT, words, [&] { Loss::forward_backward(ctx, a, o); });
  };
  auto a = data.call<Loss>();
  a.rows = 3;
  throws("z_loss: argument 'logits' holds 6 elements, expected 9 for shape [3, 3]", a);
  a = data.call<Loss>();
  a.logits_stride = 4;
  throws("'logits' holds 6 elements, expected 7 for shape [2, 3] with stride 4", a);
  a = data.call<Loss>();
  std::vector<float> unsized;
  a.grad_logits = unsized;
  throws("'grad_logits' holds 0 elements", a);
  a = data.call<Loss>();
  losskit::z_loss::options each;
  each.reduction = losskit::Reduction::none;
  throws("'loss' holds 1 elements, expected 2 for shape [2]", a, each);
  a.labels = {};
  throws("'labels' is NULL", a);
  a = data.call<Loss>();
  a.rows = SIZE_MAX / 2;
  throws("expected", a);
}

void errors_and_statuses(losskit::Context &ctx) {
  using Loss = losskit::token_cross_entropy;
  Data data;
  data.labels[1] = 8;
  const losskit::Status status = Loss::try_forward(ctx, data.call<Loss>());
  CHECK(!status && status.code() == LK_STATUS_INVALID_LABEL);
  CHECK(status.message().find("value 8 in row 1") != std::string::npos);
  check_throws(LK_STATUS_INVALID_LABEL, "row 1", [&] { Loss::forward(ctx, data.call<Loss>()); });
  Loss::options o;
  o.softcap = -1;
  check_throws(LK_STATUS_INVALID_OPTION, "'softcap' is -1",
               [&] { Loss::forward(ctx, data.call<Loss>(), o); });
  CHECK(Loss::workspace_size(ctx, losskit::Dtype::f32, data.call<Loss>()) == 0);
  ctx.check();

  losskit::Context moved = std::move(ctx);
  check_throws(LK_STATUS_INVALID_ARGUMENT, "'ctx' is NULL", [&] { Loss::forward(ctx, data.call<Loss>()); });
  ctx = std::move(moved);
  data.labels[1] = 1;
  Loss::forward(ctx, data.call<Loss>());

  losskit::Context none;
  CHECK(!losskit::Context::try_cuda(none, 12345));
}

}  // namespace

int main() {
  losskit::Context ctx = losskit::Context::cpu(1);
  gradients(ctx);
  half_precision(ctx);
  bfloat();
  sizes(ctx);
  errors_and_statuses(ctx);
  return failures != 0;
}
