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

}  // namespace losskit

#endif  // LOSSKIT_ENTRIES_HPP
