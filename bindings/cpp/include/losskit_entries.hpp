// The entries of losskit for C++. Generated from the library's declarations; do not edit.
// Included by losskit.hpp; losskit.h has the full description of each entry.
#ifndef LOSSKIT_ENTRIES_HPP
#define LOSSKIT_ENTRIES_HPP

#include "losskit.hpp"

namespace losskit {

// ---- Basics ----

// Binary cross entropy on logits, with element weights and positive-class weights.
struct bce_with_logits_options {
  Reduction reduction = Reduction::mean;  // mean divides by the number of elements
  lk_bce_with_logits_options c_options() const noexcept {
    lk_bce_with_logits_options c;
    lk_bce_with_logits_options_init(&c);
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct bce_with_logits_arguments {
  std::size_t rows = 0;  // number of samples
  std::size_t classes = 0;  // number of independent binary labels per sample
  floats logits = {};  // [rows, classes]: scores
  floats target = {};  // [rows, classes]: probability of the positive class, 0 or 1 for hard labels
  floats weight = {};  // [rows, classes]: weight of each element; leave out for none
  floats pos_weight = {};  // [classes]: weight of the positive term of each class; leave out for none
  span<float> loss = {};  // [rows, classes], or one element unless reduction is none: the loss
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_logits = {};  // of the shape of logits; may be logits itself
  mutable_floats grad_target = {};  // of the shape of target; may be target itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct bce_with_logits {
  static constexpr const char *name = "bce_with_logits";
  using options = bce_with_logits_options;
  using arguments = bce_with_logits_arguments;

#if LOSSKIT_EXCEPTIONS
  static void forward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward(ctx, a, o).or_throw();
  }
  static void backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_backward(ctx, a, o).or_throw();
  }
  static void forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward_backward(ctx, a, o).or_throw();
  }
  // Uses the sizes in `a` only: its buffers need not exist yet.
  static std::size_t workspace_size(const Context &ctx, Dtype dtype, const arguments &a, const options &o = {}) {
    std::size_t bytes = 0;
    try_workspace_size(ctx, dtype, a, bytes, o).or_throw();
    return bytes;
  }
#endif
  static Status try_forward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_bce_with_logits_forward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits.data(), a.target.data(),
        a.weight.data(), a.pos_weight.data(), a.loss.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_bce_with_logits_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits.data(), a.target.data(),
        a.weight.data(), a.pos_weight.data(), a.grad_loss.data(), a.grad_logits.data(),
        a.grad_target.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_bce_with_logits_forward_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits.data(), a.target.data(),
        a.weight.data(), a.pos_weight.data(), a.grad_loss.data(), a.loss.data(), a.grad_logits.data(),
        a.grad_target.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_bce_with_logits_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.rows, a.classes, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("logits", a.logits, {a.rows, a.classes})
        .buffer("target", a.target, {a.rows, a.classes})
        .buffer("weight", a.weight, {a.rows, a.classes})
        .buffer("pos_weight", a.pos_weight, {a.classes})
        .buffer("loss", a.loss, {each ? a.rows : 1, each ? a.classes : 1})
        .buffer("grad_loss", a.grad_loss, {each ? a.rows : 1, each ? a.classes : 1})
        .buffer("grad_logits", a.grad_logits, {a.rows, a.classes})
        .buffer("grad_target", a.grad_target, {a.rows, a.classes});
    return check;
  }
};

// Sigmoid focal loss.
struct focal_loss_options {
  double gamma = 2.0;  // how much easy elements are played down; 0 = not at all
  double alpha = 0.25;  // weight of the positive elements, or -1 for no weights
  Reduction reduction = Reduction::mean;  // mean divides by the number of elements
  lk_focal_loss_options c_options() const noexcept {
    lk_focal_loss_options c;
    lk_focal_loss_options_init(&c);
    c.gamma = gamma;
    c.alpha = alpha;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct focal_loss_arguments {
  std::size_t rows = 0;  // number of samples
  std::size_t classes = 0;  // number of independent binary labels per sample
  floats logits = {};  // [rows, classes]: scores
  floats target = {};  // [rows, classes]: 0 or 1
  span<float> loss = {};  // [rows, classes], or one element unless reduction is none: the loss
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_logits = {};  // of the shape of logits; may be logits itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct focal_loss {
  static constexpr const char *name = "focal_loss";
  using options = focal_loss_options;
  using arguments = focal_loss_arguments;

#if LOSSKIT_EXCEPTIONS
  static void forward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward(ctx, a, o).or_throw();
  }
  static void backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_backward(ctx, a, o).or_throw();
  }
  static void forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward_backward(ctx, a, o).or_throw();
  }
  // Uses the sizes in `a` only: its buffers need not exist yet.
  static std::size_t workspace_size(const Context &ctx, Dtype dtype, const arguments &a, const options &o = {}) {
    std::size_t bytes = 0;
    try_workspace_size(ctx, dtype, a, bytes, o).or_throw();
    return bytes;
  }
#endif
  static Status try_forward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_focal_loss_forward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits.data(), a.target.data(),
        a.loss.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_focal_loss_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits.data(), a.target.data(),
        a.grad_loss.data(), a.grad_logits.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_focal_loss_forward_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits.data(), a.target.data(),
        a.grad_loss.data(), a.loss.data(), a.grad_logits.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_focal_loss_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.rows, a.classes, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("logits", a.logits, {a.rows, a.classes})
        .buffer("target", a.target, {a.rows, a.classes})
        .buffer("loss", a.loss, {each ? a.rows : 1, each ? a.classes : 1})
        .buffer("grad_loss", a.grad_loss, {each ? a.rows : 1, each ? a.classes : 1})
        .buffer("grad_logits", a.grad_logits, {a.rows, a.classes});
    return check;
  }
};

// Negative log-likelihood of Gaussians with predicted variance.
struct gaussian_nll_options {
  bool full = false;  // whether to add the constant log(2 pi) / 2
  double eps = 1e-6;  // smallest variance
  Reduction reduction = Reduction::mean;  // mean divides by the number of elements
  lk_gaussian_nll_options c_options() const noexcept {
    lk_gaussian_nll_options c;
    lk_gaussian_nll_options_init(&c);
    c.full = full ? 1 : 0;
    c.eps = eps;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct gaussian_nll_arguments {
  std::size_t n = 0;  // number of elements
  floats pred = {};  // [n]: predictions
  floats target = {};  // [n]: targets
  floats var = {};  // [n]: variances
  span<float> loss = {};  // [n], or one element unless reduction is none: the loss
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_pred = {};  // of the shape of pred; may be pred itself
  mutable_floats grad_target = {};  // of the shape of target; may be target itself
  mutable_floats grad_var = {};  // of the shape of var; may be var itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct gaussian_nll {
  static constexpr const char *name = "gaussian_nll";
  using options = gaussian_nll_options;
  using arguments = gaussian_nll_arguments;

#if LOSSKIT_EXCEPTIONS
  static void forward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward(ctx, a, o).or_throw();
  }
  static void backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_backward(ctx, a, o).or_throw();
  }
  static void forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward_backward(ctx, a, o).or_throw();
  }
  // Uses the sizes in `a` only: its buffers need not exist yet.
  static std::size_t workspace_size(const Context &ctx, Dtype dtype, const arguments &a, const options &o = {}) {
    std::size_t bytes = 0;
    try_workspace_size(ctx, dtype, a, bytes, o).or_throw();
    return bytes;
  }
#endif
  static Status try_forward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_gaussian_nll_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.pred.data(), a.target.data(), a.var.data(), a.loss.data(),
        a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_gaussian_nll_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.pred.data(), a.target.data(), a.var.data(),
        a.grad_loss.data(), a.grad_pred.data(), a.grad_target.data(), a.grad_var.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_gaussian_nll_forward_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.pred.data(), a.target.data(), a.var.data(),
        a.grad_loss.data(), a.loss.data(), a.grad_pred.data(), a.grad_target.data(), a.grad_var.data(),
        a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_gaussian_nll_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("pred", a.pred, {a.n})
        .buffer("target", a.target, {a.n})
        .buffer("var", a.var, {a.n})
        .buffer("loss", a.loss, {each ? a.n : 1})
        .buffer("grad_loss", a.grad_loss, {each ? a.n : 1})
        .buffer("grad_pred", a.grad_pred, {a.n})
        .buffer("grad_target", a.grad_target, {a.n})
        .buffer("grad_var", a.grad_var, {a.n});
    return check;
  }
};

// Hinge loss and squared hinge loss on scores of two classes.
struct hinge_loss_options {
  double margin = 1.0;  // how far beyond 0 a score must be
  std::int64_t p = 1;  // exponent: 1 or 2
  Reduction reduction = Reduction::mean;  // mean divides by the number of elements
  lk_hinge_loss_options c_options() const noexcept {
    lk_hinge_loss_options c;
    lk_hinge_loss_options_init(&c);
    c.margin = margin;
    c.p = p;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct hinge_loss_arguments {
  std::size_t n = 0;  // number of elements
  floats scores = {};  // [n]: scores
  floats target = {};  // [n]: class of each element, +1 or -1
  span<float> loss = {};  // [n], or one element unless reduction is none: the loss
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_scores = {};  // of the shape of scores; may be scores itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct hinge_loss {
  static constexpr const char *name = "hinge_loss";
  using options = hinge_loss_options;
  using arguments = hinge_loss_arguments;

#if LOSSKIT_EXCEPTIONS
  static void forward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward(ctx, a, o).or_throw();
  }
  static void backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_backward(ctx, a, o).or_throw();
  }
  static void forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward_backward(ctx, a, o).or_throw();
  }
  // Uses the sizes in `a` only: its buffers need not exist yet.
  static std::size_t workspace_size(const Context &ctx, Dtype dtype, const arguments &a, const options &o = {}) {
    std::size_t bytes = 0;
    try_workspace_size(ctx, dtype, a, bytes, o).or_throw();
    return bytes;
  }
#endif
  static Status try_forward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_hinge_loss_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.scores.data(), a.target.data(), a.loss.data(),
        a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_hinge_loss_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.scores.data(), a.target.data(), a.grad_loss.data(),
        a.grad_scores.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_hinge_loss_forward_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.scores.data(), a.target.data(), a.grad_loss.data(),
        a.loss.data(), a.grad_scores.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_hinge_loss_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("scores", a.scores, {a.n})
        .buffer("target", a.target, {a.n})
        .buffer("loss", a.loss, {each ? a.n : 1})
        .buffer("grad_loss", a.grad_loss, {each ? a.n : 1})
        .buffer("grad_scores", a.grad_scores, {a.n});
    return check;
  }
};

// Huber loss.
struct huber_loss_options {
  double delta = 1.0;  // where the square turns into a line
  Reduction reduction = Reduction::mean;  // mean divides by the number of elements
  lk_huber_loss_options c_options() const noexcept {
    lk_huber_loss_options c;
    lk_huber_loss_options_init(&c);
    c.delta = delta;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct huber_loss_arguments {
  std::size_t n = 0;  // number of elements
  floats pred = {};  // [n]: predictions
  floats target = {};  // [n]: targets
  span<float> loss = {};  // [n], or one element unless reduction is none: the loss
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_pred = {};  // of the shape of pred; may be pred itself
  mutable_floats grad_target = {};  // of the shape of target; may be target itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct huber_loss {
  static constexpr const char *name = "huber_loss";
  using options = huber_loss_options;
  using arguments = huber_loss_arguments;

#if LOSSKIT_EXCEPTIONS
  static void forward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward(ctx, a, o).or_throw();
  }
  static void backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_backward(ctx, a, o).or_throw();
  }
  static void forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward_backward(ctx, a, o).or_throw();
  }
  // Uses the sizes in `a` only: its buffers need not exist yet.
  static std::size_t workspace_size(const Context &ctx, Dtype dtype, const arguments &a, const options &o = {}) {
    std::size_t bytes = 0;
    try_workspace_size(ctx, dtype, a, bytes, o).or_throw();
    return bytes;
  }
#endif
  static Status try_forward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_huber_loss_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.pred.data(), a.target.data(), a.loss.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_huber_loss_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.pred.data(), a.target.data(), a.grad_loss.data(),
        a.grad_pred.data(), a.grad_target.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_huber_loss_forward_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.pred.data(), a.target.data(), a.grad_loss.data(),
        a.loss.data(), a.grad_pred.data(), a.grad_target.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_huber_loss_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("pred", a.pred, {a.n})
        .buffer("target", a.target, {a.n})
        .buffer("loss", a.loss, {each ? a.n : 1})
        .buffer("grad_loss", a.grad_loss, {each ? a.n : 1})
        .buffer("grad_pred", a.grad_pred, {a.n})
        .buffer("grad_target", a.grad_target, {a.n});
    return check;
  }
};

// Kullback-Leibler divergence from log-probabilities.
struct kl_divergence_options {
  bool log_target = false;  // whether target holds log-probabilities
  // mean divides by the number of elements, batchmean by the number of rows
  Reduction reduction = Reduction::mean;
  lk_kl_divergence_options c_options() const noexcept {
    lk_kl_divergence_options c;
    lk_kl_divergence_options_init(&c);
    c.log_target = log_target ? 1 : 0;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct kl_divergence_arguments {
  std::size_t rows = 0;  // number of samples
  std::size_t classes = 0;  // number of classes
  floats pred = {};  // [rows, classes]: log-probabilities of the model
  floats target = {};  // [rows, classes]: probabilities, or log-probabilities with log_target
  span<float> loss = {};  // [rows, classes], or one element unless reduction is none: the loss
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_pred = {};  // of the shape of pred; may be pred itself
  mutable_floats grad_target = {};  // of the shape of target; may be target itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct kl_divergence {
  static constexpr const char *name = "kl_divergence";
  using options = kl_divergence_options;
  using arguments = kl_divergence_arguments;

#if LOSSKIT_EXCEPTIONS
  static void forward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward(ctx, a, o).or_throw();
  }
  static void backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_backward(ctx, a, o).or_throw();
  }
  static void forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward_backward(ctx, a, o).or_throw();
  }
  // Uses the sizes in `a` only: its buffers need not exist yet.
  static std::size_t workspace_size(const Context &ctx, Dtype dtype, const arguments &a, const options &o = {}) {
    std::size_t bytes = 0;
    try_workspace_size(ctx, dtype, a, bytes, o).or_throw();
    return bytes;
  }
#endif
  static Status try_forward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_kl_divergence_forward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.pred.data(), a.target.data(), a.loss.data(),
        a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_kl_divergence_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.pred.data(), a.target.data(),
        a.grad_loss.data(), a.grad_pred.data(), a.grad_target.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_kl_divergence_forward_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.pred.data(), a.target.data(),
        a.grad_loss.data(), a.loss.data(), a.grad_pred.data(), a.grad_target.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_kl_divergence_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.rows, a.classes, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("pred", a.pred, {a.rows, a.classes})
        .buffer("target", a.target, {a.rows, a.classes})
        .buffer("loss", a.loss, {each ? a.rows : 1, each ? a.classes : 1})
        .buffer("grad_loss", a.grad_loss, {each ? a.rows : 1, each ? a.classes : 1})
        .buffer("grad_pred", a.grad_pred, {a.rows, a.classes})
        .buffer("grad_target", a.grad_target, {a.rows, a.classes});
    return check;
  }
};

// Mean absolute error.
struct l1_loss_options {
  Reduction reduction = Reduction::mean;  // mean divides by the number of elements
  lk_l1_loss_options c_options() const noexcept {
    lk_l1_loss_options c;
    lk_l1_loss_options_init(&c);
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct l1_loss_arguments {
  std::size_t n = 0;  // number of elements
  floats pred = {};  // [n]: predictions
  floats target = {};  // [n]: targets
  span<float> loss = {};  // [n], or one element unless reduction is none: the loss
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_pred = {};  // of the shape of pred; may be pred itself
  mutable_floats grad_target = {};  // of the shape of target; may be target itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct l1_loss {
  static constexpr const char *name = "l1_loss";
  using options = l1_loss_options;
  using arguments = l1_loss_arguments;

#if LOSSKIT_EXCEPTIONS
  static void forward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward(ctx, a, o).or_throw();
  }
  static void backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_backward(ctx, a, o).or_throw();
  }
  static void forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward_backward(ctx, a, o).or_throw();
  }
  // Uses the sizes in `a` only: its buffers need not exist yet.
  static std::size_t workspace_size(const Context &ctx, Dtype dtype, const arguments &a, const options &o = {}) {
    std::size_t bytes = 0;
    try_workspace_size(ctx, dtype, a, bytes, o).or_throw();
    return bytes;
  }
#endif
  static Status try_forward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_l1_loss_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.pred.data(), a.target.data(), a.loss.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_l1_loss_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.pred.data(), a.target.data(), a.grad_loss.data(),
        a.grad_pred.data(), a.grad_target.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_l1_loss_forward_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.pred.data(), a.target.data(), a.grad_loss.data(),
        a.loss.data(), a.grad_pred.data(), a.grad_target.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_l1_loss_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("pred", a.pred, {a.n})
        .buffer("target", a.target, {a.n})
        .buffer("loss", a.loss, {each ? a.n : 1})
        .buffer("grad_loss", a.grad_loss, {each ? a.n : 1})
        .buffer("grad_pred", a.grad_pred, {a.n})
        .buffer("grad_target", a.grad_target, {a.n});
    return check;
  }
};

// Margin ranking loss of pairs of scores.
struct margin_ranking_loss_options {
  double margin = 0.0;  // how far apart the scores should be
  Reduction reduction = Reduction::mean;  // mean divides by the number of elements
  lk_margin_ranking_loss_options c_options() const noexcept {
    lk_margin_ranking_loss_options c;
    lk_margin_ranking_loss_options_init(&c);
    c.margin = margin;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct margin_ranking_loss_arguments {
  std::size_t n = 0;  // number of elements
  floats a = {};  // [n]: first scores
  floats b = {};  // [n]: second scores
  floats target = {};  // [n]: +1 where a should be larger, -1 where b should
  span<float> loss = {};  // [n], or one element unless reduction is none: the loss
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_a = {};  // of the shape of a; may be a itself
  mutable_floats grad_b = {};  // of the shape of b; may be b itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct margin_ranking_loss {
  static constexpr const char *name = "margin_ranking_loss";
  using options = margin_ranking_loss_options;
  using arguments = margin_ranking_loss_arguments;

#if LOSSKIT_EXCEPTIONS
  static void forward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward(ctx, a, o).or_throw();
  }
  static void backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_backward(ctx, a, o).or_throw();
  }
  static void forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward_backward(ctx, a, o).or_throw();
  }
  // Uses the sizes in `a` only: its buffers need not exist yet.
  static std::size_t workspace_size(const Context &ctx, Dtype dtype, const arguments &a, const options &o = {}) {
    std::size_t bytes = 0;
    try_workspace_size(ctx, dtype, a, bytes, o).or_throw();
    return bytes;
  }
#endif
  static Status try_forward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_margin_ranking_loss_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.a.data(), a.b.data(), a.target.data(), a.loss.data(),
        a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_margin_ranking_loss_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.a.data(), a.b.data(), a.target.data(), a.grad_loss.data(),
        a.grad_a.data(), a.grad_b.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_margin_ranking_loss_forward_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.a.data(), a.b.data(), a.target.data(), a.grad_loss.data(),
        a.loss.data(), a.grad_a.data(), a.grad_b.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_margin_ranking_loss_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("a", a.a, {a.n})
        .buffer("b", a.b, {a.n})
        .buffer("target", a.target, {a.n})
        .buffer("loss", a.loss, {each ? a.n : 1})
        .buffer("grad_loss", a.grad_loss, {each ? a.n : 1})
        .buffer("grad_a", a.grad_a, {a.n})
        .buffer("grad_b", a.grad_b, {a.n});
    return check;
  }
};

// Mean squared error.
struct mse_loss_options {
  Reduction reduction = Reduction::mean;  // mean divides by the number of elements
  lk_mse_loss_options c_options() const noexcept {
    lk_mse_loss_options c;
    lk_mse_loss_options_init(&c);
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct mse_loss_arguments {
  std::size_t n = 0;  // number of elements
  floats pred = {};  // [n]: predictions
  floats target = {};  // [n]: targets
  span<float> loss = {};  // [n], or one element unless reduction is none: the loss
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_pred = {};  // of the shape of pred; may be pred itself
  mutable_floats grad_target = {};  // of the shape of target; may be target itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct mse_loss {
  static constexpr const char *name = "mse_loss";
  using options = mse_loss_options;
  using arguments = mse_loss_arguments;

#if LOSSKIT_EXCEPTIONS
  static void forward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward(ctx, a, o).or_throw();
  }
  static void backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_backward(ctx, a, o).or_throw();
  }
  static void forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward_backward(ctx, a, o).or_throw();
  }
  // Uses the sizes in `a` only: its buffers need not exist yet.
  static std::size_t workspace_size(const Context &ctx, Dtype dtype, const arguments &a, const options &o = {}) {
    std::size_t bytes = 0;
    try_workspace_size(ctx, dtype, a, bytes, o).or_throw();
    return bytes;
  }
#endif
  static Status try_forward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_mse_loss_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.pred.data(), a.target.data(), a.loss.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_mse_loss_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.pred.data(), a.target.data(), a.grad_loss.data(),
        a.grad_pred.data(), a.grad_target.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_mse_loss_forward_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.pred.data(), a.target.data(), a.grad_loss.data(),
        a.loss.data(), a.grad_pred.data(), a.grad_target.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_mse_loss_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("pred", a.pred, {a.n})
        .buffer("target", a.target, {a.n})
        .buffer("loss", a.loss, {each ? a.n : 1})
        .buffer("grad_loss", a.grad_loss, {each ? a.n : 1})
        .buffer("grad_pred", a.grad_pred, {a.n})
        .buffer("grad_target", a.grad_target, {a.n});
    return check;
  }
};

// Multi-class margin loss.
struct multi_margin_loss_options {
  std::int64_t p = 1;  // exponent: 1 or 2
  double margin = 1.0;  // how far below the label's logit the others should be
  Reduction reduction = Reduction::mean;  // mean divides by the number of rows
  lk_multi_margin_loss_options c_options() const noexcept {
    lk_multi_margin_loss_options c;
    lk_multi_margin_loss_options_init(&c);
    c.p = p;
    c.margin = margin;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct multi_margin_loss_arguments {
  std::size_t rows = 0;  // number of samples
  std::size_t classes = 0;  // number of classes
  floats logits = {};  // [rows, classes]: scores, one row per sample
  span<const std::int64_t> labels = {};  // [rows]: class of each sample
  floats class_weights = {};  // [classes]: weight of each class; leave out for none
  span<float> loss = {};  // [rows], or one element unless reduction is none: the loss
  span<float> saved = {};  // [rows, 2]: written by forward, spares backward a pass
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_logits = {};  // of the shape of logits; may be logits itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct multi_margin_loss {
  static constexpr const char *name = "multi_margin_loss";
  using options = multi_margin_loss_options;
  using arguments = multi_margin_loss_arguments;

#if LOSSKIT_EXCEPTIONS
  static void forward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward(ctx, a, o).or_throw();
  }
  static void backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_backward(ctx, a, o).or_throw();
  }
  static void forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward_backward(ctx, a, o).or_throw();
  }
  // Uses the sizes in `a` only: its buffers need not exist yet.
  static std::size_t workspace_size(const Context &ctx, Dtype dtype, const arguments &a, const options &o = {}) {
    std::size_t bytes = 0;
    try_workspace_size(ctx, dtype, a, bytes, o).or_throw();
    return bytes;
  }
#endif
  static Status try_forward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_multi_margin_loss_forward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits.data(), a.labels.data(),
        a.class_weights.data(), a.loss.data(), a.saved.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_multi_margin_loss_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits.data(), a.labels.data(),
        a.class_weights.data(), a.saved.data(), a.grad_loss.data(), a.grad_logits.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_multi_margin_loss_forward_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits.data(), a.labels.data(),
        a.class_weights.data(), a.grad_loss.data(), a.loss.data(), a.grad_logits.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_multi_margin_loss_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.rows, a.classes, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("logits", a.logits, {a.rows, a.classes})
        .buffer("labels", a.labels, {a.rows})
        .buffer("class_weights", a.class_weights, {a.classes})
        .buffer("loss", a.loss, {each ? a.rows : 1})
        .buffer("saved", a.saved, {a.rows, 2})
        .buffer("grad_loss", a.grad_loss, {each ? a.rows : 1})
        .buffer("grad_logits", a.grad_logits, {a.rows, a.classes});
    return check;
  }
};

// Negative log-likelihood of Poisson counts.
struct poisson_nll_options {
  bool log_input = true;  // whether pred holds logarithms
  bool full = false;  // whether to add the Stirling approximation of log t!
  double eps = 1e-8;  // keeps the logarithm of a rate of 0 finite
  Reduction reduction = Reduction::mean;  // mean divides by the number of elements
  lk_poisson_nll_options c_options() const noexcept {
    lk_poisson_nll_options c;
    lk_poisson_nll_options_init(&c);
    c.log_input = log_input ? 1 : 0;
    c.full = full ? 1 : 0;
    c.eps = eps;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct poisson_nll_arguments {
  std::size_t n = 0;  // number of elements
  floats pred = {};  // [n]: logarithms of the rates, or the rates
  floats target = {};  // [n]: counts
  span<float> loss = {};  // [n], or one element unless reduction is none: the loss
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_pred = {};  // of the shape of pred; may be pred itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct poisson_nll {
  static constexpr const char *name = "poisson_nll";
  using options = poisson_nll_options;
  using arguments = poisson_nll_arguments;

#if LOSSKIT_EXCEPTIONS
  static void forward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward(ctx, a, o).or_throw();
  }
  static void backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_backward(ctx, a, o).or_throw();
  }
  static void forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward_backward(ctx, a, o).or_throw();
  }
  // Uses the sizes in `a` only: its buffers need not exist yet.
  static std::size_t workspace_size(const Context &ctx, Dtype dtype, const arguments &a, const options &o = {}) {
    std::size_t bytes = 0;
    try_workspace_size(ctx, dtype, a, bytes, o).or_throw();
    return bytes;
  }
#endif
  static Status try_forward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_poisson_nll_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.pred.data(), a.target.data(), a.loss.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_poisson_nll_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.pred.data(), a.target.data(), a.grad_loss.data(),
        a.grad_pred.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_poisson_nll_forward_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.pred.data(), a.target.data(), a.grad_loss.data(),
        a.loss.data(), a.grad_pred.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_poisson_nll_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("pred", a.pred, {a.n})
        .buffer("target", a.target, {a.n})
        .buffer("loss", a.loss, {each ? a.n : 1})
        .buffer("grad_loss", a.grad_loss, {each ? a.n : 1})
        .buffer("grad_pred", a.grad_pred, {a.n});
    return check;
  }
};

// Smooth L1 loss.
struct smooth_l1_loss_options {
  double beta = 1.0;  // where the line begins
  Reduction reduction = Reduction::mean;  // mean divides by the number of elements
  lk_smooth_l1_loss_options c_options() const noexcept {
    lk_smooth_l1_loss_options c;
    lk_smooth_l1_loss_options_init(&c);
    c.beta = beta;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct smooth_l1_loss_arguments {
  std::size_t n = 0;  // number of elements
  floats pred = {};  // [n]: predictions
  floats target = {};  // [n]: targets
  span<float> loss = {};  // [n], or one element unless reduction is none: the loss
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_pred = {};  // of the shape of pred; may be pred itself
  mutable_floats grad_target = {};  // of the shape of target; may be target itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct smooth_l1_loss {
  static constexpr const char *name = "smooth_l1_loss";
  using options = smooth_l1_loss_options;
  using arguments = smooth_l1_loss_arguments;

#if LOSSKIT_EXCEPTIONS
  static void forward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward(ctx, a, o).or_throw();
  }
  static void backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_backward(ctx, a, o).or_throw();
  }
  static void forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward_backward(ctx, a, o).or_throw();
  }
  // Uses the sizes in `a` only: its buffers need not exist yet.
  static std::size_t workspace_size(const Context &ctx, Dtype dtype, const arguments &a, const options &o = {}) {
    std::size_t bytes = 0;
    try_workspace_size(ctx, dtype, a, bytes, o).or_throw();
    return bytes;
  }
#endif
  static Status try_forward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_smooth_l1_loss_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.pred.data(), a.target.data(), a.loss.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_smooth_l1_loss_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.pred.data(), a.target.data(), a.grad_loss.data(),
        a.grad_pred.data(), a.grad_target.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_smooth_l1_loss_forward_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.pred.data(), a.target.data(), a.grad_loss.data(),
        a.loss.data(), a.grad_pred.data(), a.grad_target.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_smooth_l1_loss_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("pred", a.pred, {a.n})
        .buffer("target", a.target, {a.n})
        .buffer("loss", a.loss, {each ? a.n : 1})
        .buffer("grad_loss", a.grad_loss, {each ? a.n : 1})
        .buffer("grad_pred", a.grad_pred, {a.n})
        .buffer("grad_target", a.grad_target, {a.n});
    return check;
  }
};

// Softmax focal loss.
struct softmax_focal_loss_options {
  double gamma = 2.0;  // how much easy rows are played down; 0 = not at all
  // rows with this label count as absent: loss 0, gradient 0, not in the mean
  std::int64_t ignore_index = -100;
  Reduction reduction = Reduction::mean;  // mean divides by the number of rows that are not ignored
  lk_softmax_focal_loss_options c_options() const noexcept {
    lk_softmax_focal_loss_options c;
    lk_softmax_focal_loss_options_init(&c);
    c.gamma = gamma;
    c.ignore_index = ignore_index;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct softmax_focal_loss_arguments {
  std::size_t rows = 0;  // number of samples
  std::size_t classes = 0;  // number of classes
  std::size_t logits_stride = 0;  // elements from one row of logits to the next; 0 = dense
  floats logits = {};  // [rows, classes]: scores, one row per sample
  span<const std::int64_t> labels = {};  // [rows]: class of each sample
  floats class_weights = {};  // [classes]: weight of each class; leave out for none
  span<float> loss = {};  // [rows], or one element unless reduction is none: the loss
  span<float> saved = {};  // [rows, 3]: written by forward, spares backward a pass
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_logits = {};  // of the shape of logits; may be logits itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct softmax_focal_loss {
  static constexpr const char *name = "softmax_focal_loss";
  using options = softmax_focal_loss_options;
  using arguments = softmax_focal_loss_arguments;

#if LOSSKIT_EXCEPTIONS
  static void forward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward(ctx, a, o).or_throw();
  }
  static void backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_backward(ctx, a, o).or_throw();
  }
  static void forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward_backward(ctx, a, o).or_throw();
  }
  // Uses the sizes in `a` only: its buffers need not exist yet.
  static std::size_t workspace_size(const Context &ctx, Dtype dtype, const arguments &a, const options &o = {}) {
    std::size_t bytes = 0;
    try_workspace_size(ctx, dtype, a, bytes, o).or_throw();
    return bytes;
  }
#endif
  static Status try_forward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_softmax_focal_loss_forward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits_stride, a.logits.data(),
        a.labels.data(), a.class_weights.data(), a.loss.data(), a.saved.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_softmax_focal_loss_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits_stride, a.logits.data(),
        a.labels.data(), a.class_weights.data(), a.saved.data(), a.grad_loss.data(),
        a.grad_logits.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_softmax_focal_loss_forward_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits_stride, a.logits.data(),
        a.labels.data(), a.class_weights.data(), a.grad_loss.data(), a.loss.data(), a.grad_logits.data(),
        a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_softmax_focal_loss_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.rows, a.classes, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("logits", a.logits, {a.rows, a.classes}, a.logits_stride)
        .buffer("labels", a.labels, {a.rows})
        .buffer("class_weights", a.class_weights, {a.classes})
        .buffer("loss", a.loss, {each ? a.rows : 1})
        .buffer("saved", a.saved, {a.rows, 3})
        .buffer("grad_loss", a.grad_loss, {each ? a.rows : 1})
        .buffer("grad_logits", a.grad_logits, {a.rows, a.classes}, a.logits_stride);
    return check;
  }
};

// ---- Classification ----

// Comp-sum losses: one family from sum-exponential over cross entropy to mean absolute error.
struct comp_sum_cross_entropy_options {
  double tau = 1.0;  // member of the family
  // rows with this label count as absent: loss 0, gradient 0, not in the mean
  std::int64_t ignore_index = -100;
  Reduction reduction = Reduction::mean;  // mean divides by the number of rows that are not ignored
  lk_comp_sum_cross_entropy_options c_options() const noexcept {
    lk_comp_sum_cross_entropy_options c;
    lk_comp_sum_cross_entropy_options_init(&c);
    c.tau = tau;
    c.ignore_index = ignore_index;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct comp_sum_cross_entropy_arguments {
  std::size_t rows = 0;  // number of samples
  std::size_t classes = 0;  // number of classes
  std::size_t logits_stride = 0;  // elements from one row of logits to the next; 0 = dense
  floats logits = {};  // [rows, classes]: scores, one row per sample
  span<const std::int64_t> labels = {};  // [rows]: class of each sample
  span<float> loss = {};  // [rows], or one element unless reduction is none: the loss
  span<float> saved = {};  // [rows, 3]: written by forward, spares backward a pass
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_logits = {};  // of the shape of logits; may be logits itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct comp_sum_cross_entropy {
  static constexpr const char *name = "comp_sum_cross_entropy";
  using options = comp_sum_cross_entropy_options;
  using arguments = comp_sum_cross_entropy_arguments;

#if LOSSKIT_EXCEPTIONS
  static void forward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward(ctx, a, o).or_throw();
  }
  static void backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_backward(ctx, a, o).or_throw();
  }
  static void forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward_backward(ctx, a, o).or_throw();
  }
  // Uses the sizes in `a` only: its buffers need not exist yet.
  static std::size_t workspace_size(const Context &ctx, Dtype dtype, const arguments &a, const options &o = {}) {
    std::size_t bytes = 0;
    try_workspace_size(ctx, dtype, a, bytes, o).or_throw();
    return bytes;
  }
#endif
  static Status try_forward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_comp_sum_cross_entropy_forward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits_stride, a.logits.data(),
        a.labels.data(), a.loss.data(), a.saved.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_comp_sum_cross_entropy_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits_stride, a.logits.data(),
        a.labels.data(), a.saved.data(), a.grad_loss.data(), a.grad_logits.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_comp_sum_cross_entropy_forward_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits_stride, a.logits.data(),
        a.labels.data(), a.grad_loss.data(), a.loss.data(), a.grad_logits.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_comp_sum_cross_entropy_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.rows, a.classes, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("logits", a.logits, {a.rows, a.classes}, a.logits_stride)
        .buffer("labels", a.labels, {a.rows})
        .buffer("loss", a.loss, {each ? a.rows : 1})
        .buffer("saved", a.saved, {a.rows, 3})
        .buffer("grad_loss", a.grad_loss, {each ? a.rows : 1})
        .buffer("grad_logits", a.grad_logits, {a.rows, a.classes}, a.logits_stride);
    return check;
  }
};

// Softmax cross entropy with label smoothing, class weights, z penalty and logit soft cap.
struct token_cross_entropy_options {
  double label_smoothing = 0.0;  // share of the target spread evenly over all classes
  // rows with this label count as absent: loss 0, gradient 0, not in the mean
  std::int64_t ignore_index = -100;
  double z_weight = 0.0;  // weight of the penalty on lse^2, which keeps logits from drifting
  double softcap = 0.0;  // bound of the logits, applied as softcap tanh(z / softcap); 0 turns it off
  // mean divides by the sum of the label weights of the rows that are not ignored
  Reduction reduction = Reduction::mean;
  lk_token_cross_entropy_options c_options() const noexcept {
    lk_token_cross_entropy_options c;
    lk_token_cross_entropy_options_init(&c);
    c.label_smoothing = label_smoothing;
    c.ignore_index = ignore_index;
    c.z_weight = z_weight;
    c.softcap = softcap;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct token_cross_entropy_arguments {
  std::size_t rows = 0;  // number of samples
  std::size_t classes = 0;  // number of classes
  std::size_t logits_stride = 0;  // elements from one row of logits to the next; 0 = dense
  floats logits = {};  // [rows, classes]: scores, one row per sample
  span<const std::int64_t> labels = {};  // [rows]: class of each sample
  floats class_weights = {};  // [classes]: weight of each class, >= 0; leave out for none
  span<float> loss = {};  // [rows], or one element unless reduction is none: the loss
  span<float> saved = {};  // [rows, 3]: written by forward, spares backward a pass
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_logits = {};  // of the shape of logits; may be logits itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct token_cross_entropy {
  static constexpr const char *name = "token_cross_entropy";
  using options = token_cross_entropy_options;
  using arguments = token_cross_entropy_arguments;

#if LOSSKIT_EXCEPTIONS
  static void forward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward(ctx, a, o).or_throw();
  }
  static void backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_backward(ctx, a, o).or_throw();
  }
  static void forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward_backward(ctx, a, o).or_throw();
  }
  // Uses the sizes in `a` only: its buffers need not exist yet.
  static std::size_t workspace_size(const Context &ctx, Dtype dtype, const arguments &a, const options &o = {}) {
    std::size_t bytes = 0;
    try_workspace_size(ctx, dtype, a, bytes, o).or_throw();
    return bytes;
  }
#endif
  static Status try_forward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_token_cross_entropy_forward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits_stride, a.logits.data(),
        a.labels.data(), a.class_weights.data(), a.loss.data(), a.saved.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_token_cross_entropy_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits_stride, a.logits.data(),
        a.labels.data(), a.class_weights.data(), a.saved.data(), a.grad_loss.data(),
        a.grad_logits.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_token_cross_entropy_forward_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits_stride, a.logits.data(),
        a.labels.data(), a.class_weights.data(), a.grad_loss.data(), a.loss.data(), a.grad_logits.data(),
        a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_token_cross_entropy_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.rows, a.classes, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("logits", a.logits, {a.rows, a.classes}, a.logits_stride)
        .buffer("labels", a.labels, {a.rows})
        .buffer("class_weights", a.class_weights, {a.classes})
        .buffer("loss", a.loss, {each ? a.rows : 1})
        .buffer("saved", a.saved, {a.rows, 3})
        .buffer("grad_loss", a.grad_loss, {each ? a.rows : 1})
        .buffer("grad_logits", a.grad_logits, {a.rows, a.classes}, a.logits_stride);
    return check;
  }
};

// Z-loss: classification loss unchanged by shifting and scaling a row of logits.
struct z_loss_options {
  double a = 0.1;  // sharpness of the soft hinge
  double b = 10.0;  // standardised score above which a sample costs little
  // rows with this label count as absent: loss 0, gradient 0, not in the mean
  std::int64_t ignore_index = -100;
  Reduction reduction = Reduction::mean;  // mean divides by the number of rows that are not ignored
  lk_z_loss_options c_options() const noexcept {
    lk_z_loss_options c;
    lk_z_loss_options_init(&c);
    c.a = a;
    c.b = b;
    c.ignore_index = ignore_index;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct z_loss_arguments {
  std::size_t rows = 0;  // number of samples
  std::size_t classes = 0;  // number of classes
  std::size_t logits_stride = 0;  // elements from one row of logits to the next; 0 = dense
  floats logits = {};  // [rows, classes]: scores, one row per sample
  span<const std::int64_t> labels = {};  // [rows]: class of each sample
  span<float> loss = {};  // [rows], or one element unless reduction is none: the loss
  span<float> saved = {};  // [rows, 3]: written by forward, spares backward a pass
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_logits = {};  // of the shape of logits; may be logits itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct z_loss {
  static constexpr const char *name = "z_loss";
  using options = z_loss_options;
  using arguments = z_loss_arguments;

#if LOSSKIT_EXCEPTIONS
  static void forward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward(ctx, a, o).or_throw();
  }
  static void backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_backward(ctx, a, o).or_throw();
  }
  static void forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward_backward(ctx, a, o).or_throw();
  }
  // Uses the sizes in `a` only: its buffers need not exist yet.
  static std::size_t workspace_size(const Context &ctx, Dtype dtype, const arguments &a, const options &o = {}) {
    std::size_t bytes = 0;
    try_workspace_size(ctx, dtype, a, bytes, o).or_throw();
    return bytes;
  }
#endif
  static Status try_forward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_z_loss_forward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits_stride, a.logits.data(),
        a.labels.data(), a.loss.data(), a.saved.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_z_loss_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits_stride, a.logits.data(),
        a.labels.data(), a.saved.data(), a.grad_loss.data(), a.grad_logits.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_z_loss_forward_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits_stride, a.logits.data(),
        a.labels.data(), a.grad_loss.data(), a.loss.data(), a.grad_logits.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_z_loss_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.rows, a.classes, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("logits", a.logits, {a.rows, a.classes}, a.logits_stride)
        .buffer("labels", a.labels, {a.rows})
        .buffer("loss", a.loss, {each ? a.rows : 1})
        .buffer("saved", a.saved, {a.rows, 3})
        .buffer("grad_loss", a.grad_loss, {each ? a.rows : 1})
        .buffer("grad_logits", a.grad_logits, {a.rows, a.classes}, a.logits_stride);
    return check;
  }
};

// ---- Preference and structure ----

// Sign with a surrogate gradient (straight-through estimators).
enum class binarize_kind : std::int32_t { identity = 0, clipped = 1, polynomial = 2, reste = 3 };

struct binarize_options {
  losskit::binarize_kind kind = losskit::binarize_kind::reste;  // which surrogate gradient
  double o = 3.0;  // order of the root (reste)
  double clip = 1.5;  // where the gradient ends
  double interval = 0.1;  // below this the slope of the root is that of its chord (reste); less than clip
  lk_binarize_options c_options() const noexcept {
    lk_binarize_options c;
    lk_binarize_options_init(&c);
    c.kind = static_cast<std::int32_t>(kind);
    c.o = o;
    c.clip = clip;
    c.interval = interval;
    return c;
  }
};

struct binarize_arguments {
  std::size_t n = 0;  // number of elements
  floats input = {};  // [n]: values
  mutable_floats output = {};  // [n]: +1 or -1
  span<const float> grad_loss = {};  // upstream gradient, of the shape of output; left out = ones
  mutable_floats grad_input = {};  // of the shape of input
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct binarize {
  static constexpr const char *name = "binarize";
  using options = binarize_options;
  using arguments = binarize_arguments;

#if LOSSKIT_EXCEPTIONS
  static void forward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward(ctx, a, o).or_throw();
  }
  static void backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_backward(ctx, a, o).or_throw();
  }
  // Uses the sizes in `a` only: its buffers need not exist yet.
  static std::size_t workspace_size(const Context &ctx, Dtype dtype, const arguments &a, const options &o = {}) {
    std::size_t bytes = 0;
    try_workspace_size(ctx, dtype, a, bytes, o).or_throw();
    return bytes;
  }
#endif
  static Status try_forward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_binarize_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.input.data(), a.output.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_binarize_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.input.data(), a.grad_loss.data(), a.grad_input.data(),
        a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_binarize_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("input", a.input, {a.n})
        .buffer("output", a.output, {a.n})
        .buffer("grad_loss", a.grad_loss, {a.n})
        .buffer("grad_input", a.grad_input, {a.n});
    return check;
  }
};

// Estimating error and gradient stability of binarisation.
struct binarize_indicators_options {
  double o = 3.0;  // order of the root
  double clip = 1.5;  // where the gradient ends
  double interval = 0.1;  // below this the slope of the root is that of its chord; less than clip
  lk_binarize_indicators_options c_options() const noexcept {
    lk_binarize_indicators_options c;
    lk_binarize_indicators_options_init(&c);
    c.o = o;
    c.clip = clip;
    c.interval = interval;
    return c;
  }
};

struct binarize_indicators_arguments {
  std::size_t n = 0;  // number of elements
  floats input = {};  // [n]: values
  span<float> estimating_error = {};  // []: norm of the estimating error
  span<float> gradient_stability = {};  // []: variance of the slope; small is stable
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct binarize_indicators {
  static constexpr const char *name = "binarize_indicators";
  using options = binarize_indicators_options;
  using arguments = binarize_indicators_arguments;

#if LOSSKIT_EXCEPTIONS
  static void forward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward(ctx, a, o).or_throw();
  }
  // Uses the sizes in `a` only: its buffers need not exist yet.
  static std::size_t workspace_size(const Context &ctx, Dtype dtype, const arguments &a, const options &o = {}) {
    std::size_t bytes = 0;
    try_workspace_size(ctx, dtype, a, bytes, o).or_throw();
    return bytes;
  }
#endif
  static Status try_forward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_binarize_indicators_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.input.data(), a.estimating_error.data(),
        a.gradient_stability.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_binarize_indicators_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("input", a.input, {a.n})
        .buffer("estimating_error", a.estimating_error, {})
        .buffer("gradient_stability", a.gradient_stability, {});
    return check;
  }
};

// Router z-loss: keeps the logits of a gate small.
struct router_z_loss_options {
  Reduction reduction = Reduction::mean;  // mean divides by the number of rows
  lk_router_z_loss_options c_options() const noexcept {
    lk_router_z_loss_options c;
    lk_router_z_loss_options_init(&c);
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct router_z_loss_arguments {
  std::size_t tokens = 0;  // number of tokens
  std::size_t experts = 0;  // number of experts
  floats logits = {};  // [tokens, experts]: scores of the experts
  span<float> loss = {};  // [tokens], or one element unless reduction is none: the loss
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_logits = {};  // of the shape of logits; may be logits itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct router_z_loss {
  static constexpr const char *name = "router_z_loss";
  using options = router_z_loss_options;
  using arguments = router_z_loss_arguments;

#if LOSSKIT_EXCEPTIONS
  static void forward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward(ctx, a, o).or_throw();
  }
  static void backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_backward(ctx, a, o).or_throw();
  }
  static void forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward_backward(ctx, a, o).or_throw();
  }
  // Uses the sizes in `a` only: its buffers need not exist yet.
  static std::size_t workspace_size(const Context &ctx, Dtype dtype, const arguments &a, const options &o = {}) {
    std::size_t bytes = 0;
    try_workspace_size(ctx, dtype, a, bytes, o).or_throw();
    return bytes;
  }
#endif
  static Status try_forward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_router_z_loss_forward(
        ctx.get(), &c, checked.dtype(), a.tokens, a.experts, a.logits.data(), a.loss.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_router_z_loss_backward(
        ctx.get(), &c, checked.dtype(), a.tokens, a.experts, a.logits.data(), a.grad_loss.data(),
        a.grad_logits.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_router_z_loss_forward_backward(
        ctx.get(), &c, checked.dtype(), a.tokens, a.experts, a.logits.data(), a.grad_loss.data(),
        a.loss.data(), a.grad_logits.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_router_z_loss_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.tokens, a.experts, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("logits", a.logits, {a.tokens, a.experts})
        .buffer("loss", a.loss, {each ? a.tokens : 1})
        .buffer("grad_loss", a.grad_loss, {each ? a.tokens : 1})
        .buffer("grad_logits", a.grad_logits, {a.tokens, a.experts});
    return check;
  }
};

// ---- Robust and distillation ----

// Hinge loss with control over lazy and feature learning.
struct alpha_hinge_options {
  double alpha = 1.0;  // scale of the network
  double margin = 1.0;  // how far beyond 0 a scaled score must be
  double scale_power = 2.0;  // power of alpha that the loss is divided by
  Reduction reduction = Reduction::mean;  // mean divides by the number of elements
  lk_alpha_hinge_options c_options() const noexcept {
    lk_alpha_hinge_options c;
    lk_alpha_hinge_options_init(&c);
    c.alpha = alpha;
    c.margin = margin;
    c.scale_power = scale_power;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct alpha_hinge_arguments {
  std::size_t n = 0;  // number of elements
  floats scores = {};  // [n]: scores of the network
  floats initial = {};  // [n]: scores of the network at initialisation
  floats target = {};  // [n]: class of each element, +1 or -1
  span<float> loss = {};  // [n], or one element unless reduction is none: the loss
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_scores = {};  // of the shape of scores; may be scores itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct alpha_hinge {
  static constexpr const char *name = "alpha_hinge";
  using options = alpha_hinge_options;
  using arguments = alpha_hinge_arguments;

#if LOSSKIT_EXCEPTIONS
  static void forward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward(ctx, a, o).or_throw();
  }
  static void backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_backward(ctx, a, o).or_throw();
  }
  static void forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward_backward(ctx, a, o).or_throw();
  }
  // Uses the sizes in `a` only: its buffers need not exist yet.
  static std::size_t workspace_size(const Context &ctx, Dtype dtype, const arguments &a, const options &o = {}) {
    std::size_t bytes = 0;
    try_workspace_size(ctx, dtype, a, bytes, o).or_throw();
    return bytes;
  }
#endif
  static Status try_forward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_alpha_hinge_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.scores.data(), a.initial.data(), a.target.data(),
        a.loss.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_alpha_hinge_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.scores.data(), a.initial.data(), a.target.data(),
        a.grad_loss.data(), a.grad_scores.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_alpha_hinge_forward_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.scores.data(), a.initial.data(), a.target.data(),
        a.grad_loss.data(), a.loss.data(), a.grad_scores.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_alpha_hinge_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("scores", a.scores, {a.n})
        .buffer("initial", a.initial, {a.n})
        .buffer("target", a.target, {a.n})
        .buffer("loss", a.loss, {each ? a.n : 1})
        .buffer("grad_loss", a.grad_loss, {each ? a.n : 1})
        .buffer("grad_scores", a.grad_scores, {a.n});
    return check;
  }
};

// Squared error with control over lazy and rich learning.
struct alpha_scaled_mse_options {
  double alpha = 1.0;  // scale of the network
  Reduction reduction = Reduction::mean;  // mean divides by the number of elements
  lk_alpha_scaled_mse_options c_options() const noexcept {
    lk_alpha_scaled_mse_options c;
    lk_alpha_scaled_mse_options_init(&c);
    c.alpha = alpha;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct alpha_scaled_mse_arguments {
  std::size_t n = 0;  // number of elements
  floats pred = {};  // [n]: predictions
  floats initial = {};  // [n]: predictions of the network at initialisation
  floats target = {};  // [n]: targets
  span<float> loss = {};  // [n], or one element unless reduction is none: the loss
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_pred = {};  // of the shape of pred; may be pred itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct alpha_scaled_mse {
  static constexpr const char *name = "alpha_scaled_mse";
  using options = alpha_scaled_mse_options;
  using arguments = alpha_scaled_mse_arguments;

#if LOSSKIT_EXCEPTIONS
  static void forward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward(ctx, a, o).or_throw();
  }
  static void backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_backward(ctx, a, o).or_throw();
  }
  static void forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward_backward(ctx, a, o).or_throw();
  }
  // Uses the sizes in `a` only: its buffers need not exist yet.
  static std::size_t workspace_size(const Context &ctx, Dtype dtype, const arguments &a, const options &o = {}) {
    std::size_t bytes = 0;
    try_workspace_size(ctx, dtype, a, bytes, o).or_throw();
    return bytes;
  }
#endif
  static Status try_forward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_alpha_scaled_mse_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.pred.data(), a.initial.data(), a.target.data(),
        a.loss.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_alpha_scaled_mse_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.pred.data(), a.initial.data(), a.target.data(),
        a.grad_loss.data(), a.grad_pred.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_alpha_scaled_mse_forward_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.pred.data(), a.initial.data(), a.target.data(),
        a.grad_loss.data(), a.loss.data(), a.grad_pred.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_alpha_scaled_mse_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("pred", a.pred, {a.n})
        .buffer("initial", a.initial, {a.n})
        .buffer("target", a.target, {a.n})
        .buffer("loss", a.loss, {each ? a.n : 1})
        .buffer("grad_loss", a.grad_loss, {each ? a.n : 1})
        .buffer("grad_pred", a.grad_pred, {a.n});
    return check;
  }
};

// Knowledge distillation: divergence of softened distributions.
struct distillation_kl_options {
  double temperature = 4.0;  // divides the logits of both
  Reduction reduction = Reduction::mean;  // mean divides by the number of rows
  lk_distillation_kl_options c_options() const noexcept {
    lk_distillation_kl_options c;
    lk_distillation_kl_options_init(&c);
    c.temperature = temperature;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct distillation_kl_arguments {
  std::size_t rows = 0;  // number of samples
  std::size_t classes = 0;  // number of classes
  floats student = {};  // [rows, classes]: logits of the student
  floats teacher = {};  // [rows, classes]: logits of the teacher
  span<float> loss = {};  // [rows], or one element unless reduction is none: the loss
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_student = {};  // of the shape of student; may be student itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct distillation_kl {
  static constexpr const char *name = "distillation_kl";
  using options = distillation_kl_options;
  using arguments = distillation_kl_arguments;

#if LOSSKIT_EXCEPTIONS
  static void forward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward(ctx, a, o).or_throw();
  }
  static void backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_backward(ctx, a, o).or_throw();
  }
  static void forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward_backward(ctx, a, o).or_throw();
  }
  // Uses the sizes in `a` only: its buffers need not exist yet.
  static std::size_t workspace_size(const Context &ctx, Dtype dtype, const arguments &a, const options &o = {}) {
    std::size_t bytes = 0;
    try_workspace_size(ctx, dtype, a, bytes, o).or_throw();
    return bytes;
  }
#endif
  static Status try_forward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_distillation_kl_forward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.student.data(), a.teacher.data(),
        a.loss.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_distillation_kl_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.student.data(), a.teacher.data(),
        a.grad_loss.data(), a.grad_student.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_distillation_kl_forward_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.student.data(), a.teacher.data(),
        a.grad_loss.data(), a.loss.data(), a.grad_student.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_distillation_kl_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.rows, a.classes, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("student", a.student, {a.rows, a.classes})
        .buffer("teacher", a.teacher, {a.rows, a.classes})
        .buffer("loss", a.loss, {each ? a.rows : 1})
        .buffer("grad_loss", a.grad_loss, {each ? a.rows : 1})
        .buffer("grad_student", a.grad_student, {a.rows, a.classes});
    return check;
  }
};

// Cross entropy plus divergence under attack (TRADES).
struct trades_loss_options {
  double beta = 6.0;  // weight of the divergence
  Reduction reduction = Reduction::mean;  // mean divides by the number of rows
  lk_trades_loss_options c_options() const noexcept {
    lk_trades_loss_options c;
    lk_trades_loss_options_init(&c);
    c.beta = beta;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct trades_loss_arguments {
  std::size_t rows = 0;  // number of samples
  std::size_t classes = 0;  // number of classes
  floats logits = {};  // [rows, classes]: scores of the clean samples
  floats adversarial_logits = {};  // [rows, classes]: scores of the attacked samples
  span<const std::int64_t> labels = {};  // [rows]: class of each sample
  span<float> loss = {};  // [rows], or one element unless reduction is none: the loss
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_logits = {};  // of the shape of logits; may be logits itself
  // of the shape of adversarial_logits; may be adversarial_logits itself
  mutable_floats grad_adversarial_logits = {};
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct trades_loss {
  static constexpr const char *name = "trades_loss";
  using options = trades_loss_options;
  using arguments = trades_loss_arguments;

#if LOSSKIT_EXCEPTIONS
  static void forward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward(ctx, a, o).or_throw();
  }
  static void backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_backward(ctx, a, o).or_throw();
  }
  static void forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    try_forward_backward(ctx, a, o).or_throw();
  }
  // Uses the sizes in `a` only: its buffers need not exist yet.
  static std::size_t workspace_size(const Context &ctx, Dtype dtype, const arguments &a, const options &o = {}) {
    std::size_t bytes = 0;
    try_workspace_size(ctx, dtype, a, bytes, o).or_throw();
    return bytes;
  }
#endif
  static Status try_forward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_trades_loss_forward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits.data(), a.adversarial_logits.data(),
        a.labels.data(), a.loss.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_trades_loss_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits.data(), a.adversarial_logits.data(),
        a.labels.data(), a.grad_loss.data(), a.grad_logits.data(), a.grad_adversarial_logits.data(),
        a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_trades_loss_forward_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits.data(), a.adversarial_logits.data(),
        a.labels.data(), a.grad_loss.data(), a.loss.data(), a.grad_logits.data(),
        a.grad_adversarial_logits.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_trades_loss_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.rows, a.classes, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("logits", a.logits, {a.rows, a.classes})
        .buffer("adversarial_logits", a.adversarial_logits, {a.rows, a.classes})
        .buffer("labels", a.labels, {a.rows})
        .buffer("loss", a.loss, {each ? a.rows : 1})
        .buffer("grad_loss", a.grad_loss, {each ? a.rows : 1})
        .buffer("grad_logits", a.grad_logits, {a.rows, a.classes})
        .buffer("grad_adversarial_logits", a.grad_adversarial_logits, {a.rows, a.classes});
    return check;
  }
};

}  // namespace losskit

#endif  // LOSSKIT_ENTRIES_HPP
