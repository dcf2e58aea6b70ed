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

// Cosine embedding loss of pairs of vectors.
struct cosine_embedding_loss_options {
  double margin = 0.0;  // cosine below which a pair of target -1 costs nothing
  Reduction reduction = Reduction::mean;  // mean divides by the number of rows
  lk_cosine_embedding_loss_options c_options() const noexcept {
    lk_cosine_embedding_loss_options c;
    lk_cosine_embedding_loss_options_init(&c);
    c.margin = margin;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct cosine_embedding_loss_arguments {
  std::size_t rows = 0;  // number of pairs
  std::size_t d = 0;  // length of a vector
  floats a = {};  // [rows, d]: first vectors
  floats b = {};  // [rows, d]: second vectors
  floats target = {};  // [rows]: +1 or -1
  span<float> loss = {};  // [rows], or one element unless reduction is none: the loss
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_a = {};  // of the shape of a; may be a itself
  mutable_floats grad_b = {};  // of the shape of b; may be b itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct cosine_embedding_loss {
  static constexpr const char *name = "cosine_embedding_loss";
  using options = cosine_embedding_loss_options;
  using arguments = cosine_embedding_loss_arguments;

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
    return detail::outcome(lk_cosine_embedding_loss_forward(
        ctx.get(), &c, checked.dtype(), a.rows, a.d, a.a.data(), a.b.data(), a.target.data(),
        a.loss.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_cosine_embedding_loss_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.d, a.a.data(), a.b.data(), a.target.data(),
        a.grad_loss.data(), a.grad_a.data(), a.grad_b.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_cosine_embedding_loss_forward_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.d, a.a.data(), a.b.data(), a.target.data(),
        a.grad_loss.data(), a.loss.data(), a.grad_a.data(), a.grad_b.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_cosine_embedding_loss_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.rows, a.d, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("a", a.a, {a.rows, a.d})
        .buffer("b", a.b, {a.rows, a.d})
        .buffer("target", a.target, {a.rows})
        .buffer("loss", a.loss, {each ? a.rows : 1})
        .buffer("grad_loss", a.grad_loss, {each ? a.rows : 1})
        .buffer("grad_a", a.grad_a, {a.rows, a.d})
        .buffer("grad_b", a.grad_b, {a.rows, a.d});
    return check;
  }
};

// Connectionist temporal classification: sequences of labels without alignment.
struct ctc_loss_options {
  std::int64_t blank = 0;  // class of the blank, below classes
  bool zero_infinity = false;  // samples that cannot be aligned count as 0, with gradient 0
  // mean divides each loss by max(label length, 1), then averages over the batch
  Reduction reduction = Reduction::mean;
  lk_ctc_loss_options c_options() const noexcept {
    lk_ctc_loss_options c;
    lk_ctc_loss_options_init(&c);
    c.blank = blank;
    c.zero_infinity = zero_infinity ? 1 : 0;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct ctc_loss_arguments {
  std::size_t time = 0;  // number of frames
  std::size_t batch = 0;  // number of samples
  std::size_t classes = 0;  // number of classes, with the blank
  std::size_t max_label = 0;  // room for labels per sample
  floats logits = {};  // [time, batch, classes]: scores, a row per frame and sample
  // [batch, max_label]: label sequences, in [0, classes) and not blank as far as label_lengths says
  span<const std::int64_t> labels = {};
  span<const std::int64_t> input_lengths = {};  // [batch]: frames of each sample, in [1, time]
  span<const std::int64_t> label_lengths = {};  // [batch]: labels of each sample, in [0, max_label]
  span<float> loss = {};  // [batch], or one element unless reduction is none: the loss
  span<float> saved = {};  // [time, batch, 2]: written by forward, spares backward a pass
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_logits = {};  // of the shape of logits; may be logits itself
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct ctc_loss {
  static constexpr const char *name = "ctc_loss";
  using options = ctc_loss_options;
  using arguments = ctc_loss_arguments;

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
    return detail::outcome(lk_ctc_loss_forward(
        ctx.get(), &c, checked.dtype(), a.time, a.batch, a.classes, a.max_label, a.logits.data(),
        a.labels.data(), a.input_lengths.data(), a.label_lengths.data(), a.loss.data(), a.saved.data(),
        a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_ctc_loss_backward(
        ctx.get(), &c, checked.dtype(), a.time, a.batch, a.classes, a.max_label, a.logits.data(),
        a.labels.data(), a.input_lengths.data(), a.label_lengths.data(), a.saved.data(),
        a.grad_loss.data(), a.grad_logits.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_ctc_loss_forward_backward(
        ctx.get(), &c, checked.dtype(), a.time, a.batch, a.classes, a.max_label, a.logits.data(),
        a.labels.data(), a.input_lengths.data(), a.label_lengths.data(), a.grad_loss.data(),
        a.loss.data(), a.grad_logits.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_ctc_loss_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.time, a.batch, a.classes, a.max_label, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("logits", a.logits, {a.time, a.batch, a.classes})
        .buffer("labels", a.labels, {a.batch, a.max_label})
        .buffer("input_lengths", a.input_lengths, {a.batch})
        .buffer("label_lengths", a.label_lengths, {a.batch})
        .buffer("loss", a.loss, {each ? a.batch : 1})
        .buffer("saved", a.saved, {a.time, a.batch, 2})
        .buffer("grad_loss", a.grad_loss, {each ? a.batch : 1})
        .buffer("grad_logits", a.grad_logits, {a.time, a.batch, a.classes});
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

// Triplet margin loss.
struct triplet_margin_loss_options {
  double margin = 1.0;  // how much farther the negative should be
  double p = 2.0;  // norm
  double eps = 1e-6;  // added to each difference
  bool swap = false;  // use the nearer of anchor and positive to the negative
  Reduction reduction = Reduction::mean;  // mean divides by the number of rows
  lk_triplet_margin_loss_options c_options() const noexcept {
    lk_triplet_margin_loss_options c;
    lk_triplet_margin_loss_options_init(&c);
    c.margin = margin;
    c.p = p;
    c.eps = eps;
    c.swap = swap ? 1 : 0;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct triplet_margin_loss_arguments {
  std::size_t rows = 0;  // number of triplets
  std::size_t d = 0;  // length of a vector
  floats anchor = {};  // [rows, d]: reference vectors
  floats positive = {};  // [rows, d]: vectors that should be near
  floats negative = {};  // [rows, d]: vectors that should be far
  span<float> loss = {};  // [rows], or one element unless reduction is none: the loss
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_anchor = {};  // of the shape of anchor; may be anchor itself
  mutable_floats grad_positive = {};  // of the shape of positive; may be positive itself
  mutable_floats grad_negative = {};  // of the shape of negative; may be negative itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct triplet_margin_loss {
  static constexpr const char *name = "triplet_margin_loss";
  using options = triplet_margin_loss_options;
  using arguments = triplet_margin_loss_arguments;

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
    return detail::outcome(lk_triplet_margin_loss_forward(
        ctx.get(), &c, checked.dtype(), a.rows, a.d, a.anchor.data(), a.positive.data(),
        a.negative.data(), a.loss.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_triplet_margin_loss_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.d, a.anchor.data(), a.positive.data(),
        a.negative.data(), a.grad_loss.data(), a.grad_anchor.data(), a.grad_positive.data(),
        a.grad_negative.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_triplet_margin_loss_forward_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.d, a.anchor.data(), a.positive.data(),
        a.negative.data(), a.grad_loss.data(), a.loss.data(), a.grad_anchor.data(),
        a.grad_positive.data(), a.grad_negative.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_triplet_margin_loss_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.rows, a.d, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("anchor", a.anchor, {a.rows, a.d})
        .buffer("positive", a.positive, {a.rows, a.d})
        .buffer("negative", a.negative, {a.rows, a.d})
        .buffer("loss", a.loss, {each ? a.rows : 1})
        .buffer("grad_loss", a.grad_loss, {each ? a.rows : 1})
        .buffer("grad_anchor", a.grad_anchor, {a.rows, a.d})
        .buffer("grad_positive", a.grad_positive, {a.rows, a.d})
        .buffer("grad_negative", a.grad_negative, {a.rows, a.d});
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

// Correctness-aware loss for training a calibrator of confidences.
struct correctness_aware_calibration_options {
  // rows with this label count as absent: loss 0, gradient 0, not in the mean
  std::int64_t ignore_index = -100;
  Reduction reduction = Reduction::mean;  // mean divides by the number of rows that are not ignored
  lk_correctness_aware_calibration_options c_options() const noexcept {
    lk_correctness_aware_calibration_options c;
    lk_correctness_aware_calibration_options_init(&c);
    c.ignore_index = ignore_index;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct correctness_aware_calibration_arguments {
  std::size_t rows = 0;  // number of samples
  std::size_t classes = 0;  // number of classes
  floats logits = {};  // [rows, classes]: scores, one row per sample
  floats temperatures = {};  // [rows]: temperature of each sample
  span<const std::int64_t> labels = {};  // [rows]: class of each sample
  span<float> loss = {};  // [rows], or one element unless reduction is none: the loss
  span<float> confidence = {};  // [rows]: p_m
  span<std::uint8_t> correct = {};  // [rows]: 1 where the prediction is right
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_logits = {};  // of the shape of logits; may be logits itself
  mutable_floats grad_temperatures = {};  // of the shape of temperatures; may be temperatures itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct correctness_aware_calibration {
  static constexpr const char *name = "correctness_aware_calibration";
  using options = correctness_aware_calibration_options;
  using arguments = correctness_aware_calibration_arguments;

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
    return detail::outcome(lk_correctness_aware_calibration_forward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits.data(), a.temperatures.data(),
        a.labels.data(), a.loss.data(), a.confidence.data(), a.correct.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_correctness_aware_calibration_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits.data(), a.temperatures.data(),
        a.labels.data(), a.grad_loss.data(), a.grad_logits.data(), a.grad_temperatures.data(),
        a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_correctness_aware_calibration_forward_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits.data(), a.temperatures.data(),
        a.labels.data(), a.grad_loss.data(), a.loss.data(), a.confidence.data(), a.correct.data(),
        a.grad_logits.data(), a.grad_temperatures.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_correctness_aware_calibration_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.rows, a.classes, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("logits", a.logits, {a.rows, a.classes})
        .buffer("temperatures", a.temperatures, {a.rows})
        .buffer("labels", a.labels, {a.rows})
        .buffer("loss", a.loss, {each ? a.rows : 1})
        .buffer("confidence", a.confidence, {a.rows})
        .buffer("correct", a.correct, {a.rows})
        .buffer("grad_loss", a.grad_loss, {each ? a.rows : 1})
        .buffer("grad_logits", a.grad_logits, {a.rows, a.classes})
        .buffer("grad_temperatures", a.grad_temperatures, {a.rows});
    return check;
  }
};

// Stochastic ensemble of calibrated losses.
struct ensloss_options {
  double box_cox = 0.0;  // parameter of the transformation
  std::uint64_t seed = 0;  // key of the random numbers; without draws only
  std::uint64_t offset = 0;  // first counter block of the random numbers
  Reduction reduction = Reduction::mean;  // mean divides by the number of samples
  lk_ensloss_options c_options() const noexcept {
    lk_ensloss_options c;
    lk_ensloss_options_init(&c);
    c.box_cox = box_cox;
    c.seed = seed;
    c.offset = offset;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct ensloss_arguments {
  std::size_t n = 0;  // number of samples
  floats scores = {};  // [n]: scores
  floats target = {};  // [n]: +1 or -1
  span<const float> draws = {};  // [n]: normal numbers; leave out to draw them
  span<float> loss = {};  // [n], or one element unless reduction is none: the loss
  span<float> slopes = {};  // [n]: slope of the loss at each margin
  span<float> saved = {};  // [n]: written by forward, spares backward a pass
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_scores = {};  // of the shape of scores; may be scores itself
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct ensloss {
  static constexpr const char *name = "ensloss";
  using options = ensloss_options;
  using arguments = ensloss_arguments;

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
    return detail::outcome(lk_ensloss_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.scores.data(), a.target.data(), a.draws.data(),
        a.loss.data(), a.slopes.data(), a.saved.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_ensloss_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.scores.data(), a.target.data(), a.draws.data(),
        a.saved.data(), a.grad_loss.data(), a.grad_scores.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_ensloss_forward_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.scores.data(), a.target.data(), a.draws.data(),
        a.grad_loss.data(), a.loss.data(), a.slopes.data(), a.grad_scores.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_ensloss_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("scores", a.scores, {a.n})
        .buffer("target", a.target, {a.n})
        .buffer("draws", a.draws, {a.n})
        .buffer("loss", a.loss, {each ? a.n : 1})
        .buffer("slopes", a.slopes, {a.n})
        .buffer("saved", a.saved, {a.n})
        .buffer("grad_loss", a.grad_loss, {each ? a.n : 1})
        .buffer("grad_scores", a.grad_scores, {a.n});
    return check;
  }
};

// Cross entropy plus a multiple of the entropy of the prediction.
struct entropy_regularized_cross_entropy_options {
  double entropy_weight = 1.0;  // weight of the entropy
  // rows with this label count as absent: loss 0, gradient 0, not in the mean
  std::int64_t ignore_index = -100;
  Reduction reduction = Reduction::mean;  // mean divides by the number of rows that are not ignored
  lk_entropy_regularized_cross_entropy_options c_options() const noexcept {
    lk_entropy_regularized_cross_entropy_options c;
    lk_entropy_regularized_cross_entropy_options_init(&c);
    c.entropy_weight = entropy_weight;
    c.ignore_index = ignore_index;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct entropy_regularized_cross_entropy_arguments {
  std::size_t rows = 0;  // number of samples
  std::size_t classes = 0;  // number of classes
  std::size_t logits_stride = 0;  // elements from one row of logits to the next; 0 = dense
  floats logits = {};  // [rows, classes]: scores, one row per sample
  span<const std::int64_t> labels = {};  // [rows]: class of each sample
  span<float> loss = {};  // [rows], or one element unless reduction is none: the loss
  span<float> saved = {};  // [rows, 4]: written by forward, spares backward a pass
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_logits = {};  // of the shape of logits; may be logits itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct entropy_regularized_cross_entropy {
  static constexpr const char *name = "entropy_regularized_cross_entropy";
  using options = entropy_regularized_cross_entropy_options;
  using arguments = entropy_regularized_cross_entropy_arguments;

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
    return detail::outcome(lk_entropy_regularized_cross_entropy_forward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits_stride, a.logits.data(),
        a.labels.data(), a.loss.data(), a.saved.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_entropy_regularized_cross_entropy_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits_stride, a.logits.data(),
        a.labels.data(), a.saved.data(), a.grad_loss.data(), a.grad_logits.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_entropy_regularized_cross_entropy_forward_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits_stride, a.logits.data(),
        a.labels.data(), a.grad_loss.data(), a.loss.data(), a.grad_logits.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_entropy_regularized_cross_entropy_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.rows, a.classes, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("logits", a.logits, {a.rows, a.classes}, a.logits_stride)
        .buffer("labels", a.labels, {a.rows})
        .buffer("loss", a.loss, {each ? a.rows : 1})
        .buffer("saved", a.saved, {a.rows, 4})
        .buffer("grad_loss", a.grad_loss, {each ? a.rows : 1})
        .buffer("grad_logits", a.grad_logits, {a.rows, a.classes}, a.logits_stride);
    return check;
  }
};

// Expected calibration error and its relatives.
enum class expected_calibration_error_norm : std::int32_t { l1 = 0, l2 = 1, max = 2 };

struct expected_calibration_error_options {
  std::int64_t bins = 15;  // number of bins
  // how gaps are combined
  losskit::expected_calibration_error_norm norm = losskit::expected_calibration_error_norm::l1;
  bool equal_mass = false;  // bins of as many samples each; fewer than 2^32 samples
  lk_expected_calibration_error_options c_options() const noexcept {
    lk_expected_calibration_error_options c;
    lk_expected_calibration_error_options_init(&c);
    c.bins = bins;
    c.norm = static_cast<std::int32_t>(norm);
    c.equal_mass = equal_mass ? 1 : 0;
    return c;
  }
};

struct expected_calibration_error_arguments {
  std::size_t n = 0;  // number of samples
  span<const float> confidence = {};  // [n]: confidence of each prediction
  span<const std::uint8_t> correct = {};  // [n]: 1 where the prediction is right
  span<float> value = {};  // []: the calibration error
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct expected_calibration_error {
  static constexpr const char *name = "expected_calibration_error";
  using options = expected_calibration_error_options;
  using arguments = expected_calibration_error_arguments;

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
    return detail::outcome(lk_expected_calibration_error_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.confidence.data(), a.correct.data(), a.value.data(),
        a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_expected_calibration_error_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("confidence", a.confidence, {a.n})
        .buffer("correct", a.correct, {a.n})
        .buffer("value", a.value, {});
    return check;
  }
};

// Weights of a factored output layer: W = v u + 1 omega'.
struct factored_spherical_dense_options {
  lk_factored_spherical_dense_options c_options() const noexcept {
    lk_factored_spherical_dense_options c;
    lk_factored_spherical_dense_options_init(&c);
    return c;
  }
};

struct factored_spherical_dense_arguments {
  std::size_t classes = 0;  // number of classes
  std::size_t d = 0;  // width of the layer below
  span<const float> v = {};  // [classes, d]: factor of the weights
  span<const float> u = {};  // [d, d]: the other factor
  span<const float> omega = {};  // [d]: what all rows share
  span<float> weight = {};  // [classes, d]: the weights W
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct factored_spherical_dense {
  static constexpr const char *name = "factored_spherical_dense";
  using options = factored_spherical_dense_options;
  using arguments = factored_spherical_dense_arguments;

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
    return detail::outcome(lk_factored_spherical_dense_forward(
        ctx.get(), &c, checked.dtype(), a.classes, a.d, a.v.data(), a.u.data(), a.omega.data(),
        a.weight.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_factored_spherical_dense_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.classes, a.d, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("v", a.v, {a.classes, a.d})
        .buffer("u", a.u, {a.d, a.d})
        .buffer("omega", a.omega, {a.d})
        .buffer("weight", a.weight, {a.classes, a.d});
    return check;
  }
};

// Exact training step of a huge output layer in time independent of the number of classes.
enum class factored_spherical_output_kind : std::int32_t { z_loss = 0, spherical = 1, taylor = 2, mse = 3 };

struct factored_spherical_output_options {
  // the loss
  losskit::factored_spherical_output_kind kind = losskit::factored_spherical_output_kind::z_loss;
  double learning_rate = 0.0;  // of the SGD step on the weights; 0 evaluates only
  double a = 0.1;  // z_loss: sharpness of the soft hinge
  double b = 10.0;  // z_loss: standardised score above which a sample costs little
  double eps = 0.01;  // spherical: what is added to each square
  lk_factored_spherical_output_options c_options() const noexcept {
    lk_factored_spherical_output_options c;
    lk_factored_spherical_output_options_init(&c);
    c.kind = static_cast<std::int32_t>(kind);
    c.learning_rate = learning_rate;
    c.a = a;
    c.b = b;
    c.eps = eps;
    return c;
  }
};

struct factored_spherical_output_arguments {
  std::size_t rows = 0;  // number of samples
  std::size_t classes = 0;  // number of classes
  std::size_t d = 0;  // width of the layer below
  floats hidden = {};  // [rows, d]: input of the layer, one row per sample
  span<const std::int64_t> labels = {};  // [rows]: class of each sample
  span<const float> v = {};  // [classes, d]: state: factor of the weights
  span<const float> u = {};  // [d, d]: state: the other factor
  span<const float> omega = {};  // [d]: state: what all rows of the weights share
  span<const float> q = {};  // [d, d]: state: W' W
  span<const float> wsum = {};  // [d]: state: sum of the rows of W
  span<const float> u_inv = {};  // [d, d]: state: inverse of u; leave out to have it computed
  span<float> loss = {};  // []: mean loss of the rows
  span<float> losses = {};  // [rows]: loss of each row
  // [rows, d]: gradient of the mean loss with respect to hidden, by the weights before the step
  mutable_floats grad_hidden = {};
  span<float> v_next = {};  // [classes, d]: v after the step
  span<float> u_next = {};  // [d, d]: u after the step
  span<float> omega_next = {};  // [d]: omega after the step
  span<float> q_next = {};  // [d, d]: q after the step
  span<float> wsum_next = {};  // [d]: wsum after the step
  span<float> u_inv_next = {};  // [d, d]: inverse of u_next
  // []: condition of u_next in the 1-norm: the larger, the more digits of W are lost in v u
  span<float> condition = {};
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct factored_spherical_output {
  static constexpr const char *name = "factored_spherical_output";
  using options = factored_spherical_output_options;
  using arguments = factored_spherical_output_arguments;

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
    return detail::outcome(lk_factored_spherical_output_forward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.d, a.hidden.data(), a.labels.data(),
        a.v.data(), a.u.data(), a.omega.data(), a.q.data(), a.wsum.data(), a.u_inv.data(), a.loss.data(),
        a.losses.data(), a.grad_hidden.data(), a.v_next.data(), a.u_next.data(), a.omega_next.data(),
        a.q_next.data(), a.wsum_next.data(), a.u_inv_next.data(), a.condition.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_factored_spherical_output_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.rows, a.classes, a.d, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("hidden", a.hidden, {a.rows, a.d})
        .buffer("labels", a.labels, {a.rows})
        .buffer("v", a.v, {a.classes, a.d})
        .buffer("u", a.u, {a.d, a.d})
        .buffer("omega", a.omega, {a.d})
        .buffer("q", a.q, {a.d, a.d})
        .buffer("wsum", a.wsum, {a.d})
        .buffer("u_inv", a.u_inv, {a.d, a.d})
        .buffer("loss", a.loss, {})
        .buffer("losses", a.losses, {a.rows})
        .buffer("grad_hidden", a.grad_hidden, {a.rows, a.d})
        .buffer("v_next", a.v_next, {a.classes, a.d})
        .buffer("u_next", a.u_next, {a.d, a.d})
        .buffer("omega_next", a.omega_next, {a.d})
        .buffer("q_next", a.q_next, {a.d, a.d})
        .buffer("wsum_next", a.wsum_next, {a.d})
        .buffer("u_inv_next", a.u_inv_next, {a.d, a.d})
        .buffer("condition", a.condition, {});
    return check;
  }
};

// Folds the factor u of an output layer into v, and computes q and wsum anew.
struct factored_spherical_refresh_options {
  lk_factored_spherical_refresh_options c_options() const noexcept {
    lk_factored_spherical_refresh_options c;
    lk_factored_spherical_refresh_options_init(&c);
    return c;
  }
};

struct factored_spherical_refresh_arguments {
  std::size_t classes = 0;  // number of classes
  std::size_t d = 0;  // width of the layer below
  span<const float> v = {};  // [classes, d]: factor of the weights
  span<const float> u = {};  // [d, d]: the other factor
  span<const float> omega = {};  // [d]: what all rows share
  span<float> v_next = {};  // [classes, d]: v u
  span<float> u_next = {};  // [d, d]: the identity
  span<float> q_next = {};  // [d, d]: W' W
  span<float> wsum_next = {};  // [d]: W' 1
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct factored_spherical_refresh {
  static constexpr const char *name = "factored_spherical_refresh";
  using options = factored_spherical_refresh_options;
  using arguments = factored_spherical_refresh_arguments;

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
    return detail::outcome(lk_factored_spherical_refresh_forward(
        ctx.get(), &c, checked.dtype(), a.classes, a.d, a.v.data(), a.u.data(), a.omega.data(),
        a.v_next.data(), a.u_next.data(), a.q_next.data(), a.wsum_next.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_factored_spherical_refresh_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.classes, a.d, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("v", a.v, {a.classes, a.d})
        .buffer("u", a.u, {a.d, a.d})
        .buffer("omega", a.omega, {a.d})
        .buffer("v_next", a.v_next, {a.classes, a.d})
        .buffer("u_next", a.u_next, {a.d, a.d})
        .buffer("q_next", a.q_next, {a.d, a.d})
        .buffer("wsum_next", a.wsum_next, {a.d});
    return check;
  }
};

// Output layer and softmax cross entropy in one, without the logits in memory.
struct fused_linear_cross_entropy_options {
  double label_smoothing = 0.0;  // share of the target spread evenly over all classes
  // rows with this label count as absent: loss 0, gradient 0, not in the mean
  std::int64_t ignore_index = -100;
  double z_weight = 0.0;  // weight of the penalty on lse^2, which keeps logits from drifting
  double softcap = 0.0;  // bound of the logits, applied as softcap tanh(z / softcap); 0 turns it off
  // mean divides by the sum of the label weights of the rows that are not ignored
  Reduction reduction = Reduction::mean;
  lk_fused_linear_cross_entropy_options c_options() const noexcept {
    lk_fused_linear_cross_entropy_options c;
    lk_fused_linear_cross_entropy_options_init(&c);
    c.label_smoothing = label_smoothing;
    c.ignore_index = ignore_index;
    c.z_weight = z_weight;
    c.softcap = softcap;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct fused_linear_cross_entropy_arguments {
  std::size_t rows = 0;  // number of samples (tokens)
  std::size_t d = 0;  // features of a sample
  std::size_t classes = 0;  // number of classes (vocabulary)
  floats hidden = {};  // [rows, d]: features, one row per sample
  floats weight = {};  // [classes, d]: weights of the output layer, one row per class
  floats bias = {};  // [classes]: bias of each class; leave out for none
  span<const std::int64_t> labels = {};  // [rows]: class of each sample
  floats class_weights = {};  // [classes]: weight of each class, >= 0; leave out for none
  span<float> loss = {};  // [rows], or one element unless reduction is none: the loss
  span<float> saved = {};  // [rows, 3]: written by forward, spares backward a pass
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_hidden = {};  // of the shape of hidden
  mutable_floats grad_weight = {};  // of the shape of weight
  mutable_floats grad_bias = {};  // of the shape of bias
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct fused_linear_cross_entropy {
  static constexpr const char *name = "fused_linear_cross_entropy";
  using options = fused_linear_cross_entropy_options;
  using arguments = fused_linear_cross_entropy_arguments;

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
    return detail::outcome(lk_fused_linear_cross_entropy_forward(
        ctx.get(), &c, checked.dtype(), a.rows, a.d, a.classes, a.hidden.data(), a.weight.data(),
        a.bias.data(), a.labels.data(), a.class_weights.data(), a.loss.data(), a.saved.data(),
        a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_fused_linear_cross_entropy_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.d, a.classes, a.hidden.data(), a.weight.data(),
        a.bias.data(), a.labels.data(), a.class_weights.data(), a.saved.data(), a.grad_loss.data(),
        a.grad_hidden.data(), a.grad_weight.data(), a.grad_bias.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_fused_linear_cross_entropy_forward_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.d, a.classes, a.hidden.data(), a.weight.data(),
        a.bias.data(), a.labels.data(), a.class_weights.data(), a.grad_loss.data(), a.loss.data(),
        a.grad_hidden.data(), a.grad_weight.data(), a.grad_bias.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_fused_linear_cross_entropy_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.rows, a.d, a.classes, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("hidden", a.hidden, {a.rows, a.d})
        .buffer("weight", a.weight, {a.classes, a.d})
        .buffer("bias", a.bias, {a.classes})
        .buffer("labels", a.labels, {a.rows})
        .buffer("class_weights", a.class_weights, {a.classes})
        .buffer("loss", a.loss, {each ? a.rows : 1})
        .buffer("saved", a.saved, {a.rows, 3})
        .buffer("grad_loss", a.grad_loss, {each ? a.rows : 1})
        .buffer("grad_hidden", a.grad_hidden, {a.rows, a.d})
        .buffer("grad_weight", a.grad_weight, {a.classes, a.d})
        .buffer("grad_bias", a.grad_bias, {a.classes});
    return check;
  }
};

// Label-distributionally robust loss, with a fixed or adaptive temperature (LDR-KL, ALDR-KL).
struct label_distributionally_robust_options {
  double temperature = 1.0;  // t0
  double margin = 0.1;  // how far the label should lead
  bool adaptive = false;  // each row chooses its temperature
  double alpha = 1.0;  // price of a larger temperature; adaptive only
  // rows with this label count as absent: loss 0, gradient 0, not in the mean
  std::int64_t ignore_index = -100;
  Reduction reduction = Reduction::mean;  // mean divides by the number of rows that are not ignored
  lk_label_distributionally_robust_options c_options() const noexcept {
    lk_label_distributionally_robust_options c;
    lk_label_distributionally_robust_options_init(&c);
    c.temperature = temperature;
    c.margin = margin;
    c.adaptive = adaptive ? 1 : 0;
    c.alpha = alpha;
    c.ignore_index = ignore_index;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct label_distributionally_robust_arguments {
  std::size_t rows = 0;  // number of samples
  std::size_t classes = 0;  // number of classes
  floats logits = {};  // [rows, classes]: scores, one row per sample
  span<const std::int64_t> labels = {};  // [rows]: class of each sample
  span<float> loss = {};  // [rows], or one element unless reduction is none: the loss
  span<float> temperatures = {};  // [rows]: the temperature of each row
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_logits = {};  // of the shape of logits; may be logits itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct label_distributionally_robust {
  static constexpr const char *name = "label_distributionally_robust";
  using options = label_distributionally_robust_options;
  using arguments = label_distributionally_robust_arguments;

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
    return detail::outcome(lk_label_distributionally_robust_forward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits.data(), a.labels.data(),
        a.loss.data(), a.temperatures.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_label_distributionally_robust_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits.data(), a.labels.data(),
        a.grad_loss.data(), a.grad_logits.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_label_distributionally_robust_forward_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits.data(), a.labels.data(),
        a.grad_loss.data(), a.loss.data(), a.temperatures.data(), a.grad_logits.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_label_distributionally_robust_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.rows, a.classes, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("logits", a.logits, {a.rows, a.classes})
        .buffer("labels", a.labels, {a.rows})
        .buffer("loss", a.loss, {each ? a.rows : 1})
        .buffer("temperatures", a.temperatures, {a.rows})
        .buffer("grad_loss", a.grad_loss, {each ? a.rows : 1})
        .buffer("grad_logits", a.grad_logits, {a.rows, a.classes});
    return check;
  }
};

// Gap between the largest logit and the k-th largest.
struct logit_gap_options {
  std::int64_t order = 2;  // which logit to compare with the largest; at most classes
  Reduction reduction = Reduction::mean;  // mean divides by the number of rows
  lk_logit_gap_options c_options() const noexcept {
    lk_logit_gap_options c;
    lk_logit_gap_options_init(&c);
    c.order = order;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct logit_gap_arguments {
  std::size_t rows = 0;  // number of samples
  std::size_t classes = 0;  // number of classes
  floats logits = {};  // [rows, classes]: scores, one row per sample
  span<float> gap = {};  // [rows], or one element unless reduction is none: the gap
  span<const float> grad_loss = {};  // upstream gradient, of the shape of gap; left out = ones
  mutable_floats grad_logits = {};  // of the shape of logits; may be logits itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct logit_gap {
  static constexpr const char *name = "logit_gap";
  using options = logit_gap_options;
  using arguments = logit_gap_arguments;

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
    return detail::outcome(lk_logit_gap_forward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits.data(), a.gap.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_logit_gap_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits.data(), a.grad_loss.data(),
        a.grad_logits.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_logit_gap_forward_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits.data(), a.grad_loss.data(),
        a.gap.data(), a.grad_logits.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_logit_gap_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.rows, a.classes, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("logits", a.logits, {a.rows, a.classes})
        .buffer("gap", a.gap, {each ? a.rows : 1})
        .buffer("grad_loss", a.grad_loss, {each ? a.rows : 1})
        .buffer("grad_logits", a.grad_logits, {a.rows, a.classes});
    return check;
  }
};

// Entropy minimisation on the samples that adaptation makes more certain.
struct open_set_entropy_minimization_options {
  double threshold = 0.0;  // least rise of the confidence
  Reduction reduction = Reduction::mean;  // mean divides by the number of selected rows
  lk_open_set_entropy_minimization_options c_options() const noexcept {
    lk_open_set_entropy_minimization_options c;
    lk_open_set_entropy_minimization_options_init(&c);
    c.threshold = threshold;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct open_set_entropy_minimization_arguments {
  std::size_t rows = 0;  // number of samples
  std::size_t classes = 0;  // number of classes
  floats logits = {};  // [rows, classes]: scores of the adapted model
  floats source_logits = {};  // [rows, classes]: scores of the original model
  span<float> loss = {};  // [rows], or one element unless reduction is none: the loss
  span<std::uint8_t> selected = {};  // [rows]: 1 where the row is selected
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_logits = {};  // of the shape of logits; may be logits itself
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct open_set_entropy_minimization {
  static constexpr const char *name = "open_set_entropy_minimization";
  using options = open_set_entropy_minimization_options;
  using arguments = open_set_entropy_minimization_arguments;

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
    return detail::outcome(lk_open_set_entropy_minimization_forward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits.data(), a.source_logits.data(),
        a.loss.data(), a.selected.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_open_set_entropy_minimization_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits.data(), a.source_logits.data(),
        a.grad_loss.data(), a.grad_logits.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_open_set_entropy_minimization_forward_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits.data(), a.source_logits.data(),
        a.grad_loss.data(), a.loss.data(), a.selected.data(), a.grad_logits.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_open_set_entropy_minimization_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.rows, a.classes, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("logits", a.logits, {a.rows, a.classes})
        .buffer("source_logits", a.source_logits, {a.rows, a.classes})
        .buffer("loss", a.loss, {each ? a.rows : 1})
        .buffer("selected", a.selected, {a.rows})
        .buffer("grad_loss", a.grad_loss, {each ? a.rows : 1})
        .buffer("grad_logits", a.grad_logits, {a.rows, a.classes});
    return check;
  }
};

// Fit of a scaling law: power law plus constant.
struct scaling_law_fit_options {
  bool with_constant = true;  // fit l_inf; else it is 0
  lk_scaling_law_fit_options c_options() const noexcept {
    lk_scaling_law_fit_options c;
    lk_scaling_law_fit_options_init(&c);
    c.with_constant = with_constant ? 1 : 0;
    return c;
  }
};

struct scaling_law_fit_arguments {
  std::size_t n = 0;  // number of measurements; at least 4 with the constant
  span<const float> x = {};  // [n]: sizes
  span<const float> y = {};  // [n]: losses
  span<float> alpha = {};  // []: exponent
  span<float> log_x0 = {};  // []: natural logarithm of the scale x0
  span<float> l_inf = {};  // []: irreducible loss
  span<float> residual = {};  // []: root mean square in log space
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct scaling_law_fit {
  static constexpr const char *name = "scaling_law_fit";
  using options = scaling_law_fit_options;
  using arguments = scaling_law_fit_arguments;

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
    return detail::outcome(lk_scaling_law_fit_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.x.data(), a.y.data(), a.alpha.data(), a.log_x0.data(),
        a.l_inf.data(), a.residual.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_scaling_law_fit_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("x", a.x, {a.n})
        .buffer("y", a.y, {a.n})
        .buffer("alpha", a.alpha, {})
        .buffer("log_x0", a.log_x0, {})
        .buffer("l_inf", a.l_inf, {})
        .buffer("residual", a.residual, {});
    return check;
  }
};

// Smooth adversarial comp-sum loss.
struct smooth_adversarial_comp_sum_options {
  double tau = 1.0;  // member of the comp-sum family
  double rho = 1.0;  // divides the clean logits
  double nu = 1.0;  // weight of the change of margins
  Reduction reduction = Reduction::mean;  // mean divides by the number of rows
  lk_smooth_adversarial_comp_sum_options c_options() const noexcept {
    lk_smooth_adversarial_comp_sum_options c;
    lk_smooth_adversarial_comp_sum_options_init(&c);
    c.tau = tau;
    c.rho = rho;
    c.nu = nu;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct smooth_adversarial_comp_sum_arguments {
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

struct smooth_adversarial_comp_sum {
  static constexpr const char *name = "smooth_adversarial_comp_sum";
  using options = smooth_adversarial_comp_sum_options;
  using arguments = smooth_adversarial_comp_sum_arguments;

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
    return detail::outcome(lk_smooth_adversarial_comp_sum_forward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits.data(), a.adversarial_logits.data(),
        a.labels.data(), a.loss.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_smooth_adversarial_comp_sum_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits.data(), a.adversarial_logits.data(),
        a.labels.data(), a.grad_loss.data(), a.grad_logits.data(), a.grad_adversarial_logits.data(),
        a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_smooth_adversarial_comp_sum_forward_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits.data(), a.adversarial_logits.data(),
        a.labels.data(), a.grad_loss.data(), a.loss.data(), a.grad_logits.data(),
        a.grad_adversarial_logits.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_smooth_adversarial_comp_sum_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.rows, a.classes, &bytes));
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

// Weighted entropy of segmentations with a prior on the class ratios.
enum class source_free_adaptation_class_weighting : std::int32_t { inverse_prior = 0, uniform = 1 };

struct source_free_adaptation_options {
  double kl_weight = 1.0;  // weight of the divergence from the prior
  bool reverse = false;  // whether the divergence is that of the prior from the prediction
  // weights of the classes in the entropy
  losskit::source_free_adaptation_class_weighting class_weighting = losskit::source_free_adaptation_class_weighting::inverse_prior;
  Reduction reduction = Reduction::mean;  // over images
  lk_source_free_adaptation_options c_options() const noexcept {
    lk_source_free_adaptation_options c;
    lk_source_free_adaptation_options_init(&c);
    c.kl_weight = kl_weight;
    c.reverse = reverse ? 1 : 0;
    c.class_weighting = static_cast<std::int32_t>(class_weighting);
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct source_free_adaptation_arguments {
  std::size_t batch = 0;  // number of images
  std::size_t classes = 0;  // number of classes
  std::size_t pixels = 0;  // number of pixels or voxels of an image
  floats logits = {};  // [batch, classes, pixels]: scores
  // [batch, classes]: expected share of each class in the image; rows sum to 1
  span<const float> prior = {};
  span<float> loss = {};  // [batch], or one element unless reduction is none: the loss
  span<float> saved = {};  // [batch, classes]: written by forward, spares backward a pass
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_logits = {};  // of the shape of logits; may be logits itself
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct source_free_adaptation {
  static constexpr const char *name = "source_free_adaptation";
  using options = source_free_adaptation_options;
  using arguments = source_free_adaptation_arguments;

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
    return detail::outcome(lk_source_free_adaptation_forward(
        ctx.get(), &c, checked.dtype(), a.batch, a.classes, a.pixels, a.logits.data(), a.prior.data(),
        a.loss.data(), a.saved.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_source_free_adaptation_backward(
        ctx.get(), &c, checked.dtype(), a.batch, a.classes, a.pixels, a.logits.data(), a.prior.data(),
        a.saved.data(), a.grad_loss.data(), a.grad_logits.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_source_free_adaptation_forward_backward(
        ctx.get(), &c, checked.dtype(), a.batch, a.classes, a.pixels, a.logits.data(), a.prior.data(),
        a.grad_loss.data(), a.loss.data(), a.grad_logits.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_source_free_adaptation_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.batch, a.classes, a.pixels, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("logits", a.logits, {a.batch, a.classes, a.pixels})
        .buffer("prior", a.prior, {a.batch, a.classes})
        .buffer("loss", a.loss, {each ? a.batch : 1})
        .buffer("saved", a.saved, {a.batch, a.classes})
        .buffer("grad_loss", a.grad_loss, {each ? a.batch : 1})
        .buffer("grad_logits", a.grad_logits, {a.batch, a.classes, a.pixels});
    return check;
  }
};

// Spherical softmax and Taylor softmax: cross entropy of probabilities quadratic in the logits.
enum class spherical_softmax_cross_entropy_kind : std::int32_t { spherical = 0, taylor = 1 };

struct spherical_softmax_cross_entropy_options {
  // which quadratic
  losskit::spherical_softmax_cross_entropy_kind kind = losskit::spherical_softmax_cross_entropy_kind::spherical;
  double eps = 0.01;  // spherical: what is added to each square
  // rows with this label count as absent: loss 0, gradient 0, not in the mean
  std::int64_t ignore_index = -100;
  Reduction reduction = Reduction::mean;  // mean divides by the number of rows that are not ignored
  lk_spherical_softmax_cross_entropy_options c_options() const noexcept {
    lk_spherical_softmax_cross_entropy_options c;
    lk_spherical_softmax_cross_entropy_options_init(&c);
    c.kind = static_cast<std::int32_t>(kind);
    c.eps = eps;
    c.ignore_index = ignore_index;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct spherical_softmax_cross_entropy_arguments {
  std::size_t rows = 0;  // number of samples
  std::size_t classes = 0;  // number of classes
  std::size_t logits_stride = 0;  // elements from one row of logits to the next; 0 = dense
  floats logits = {};  // [rows, classes]: scores, one row per sample
  span<const std::int64_t> labels = {};  // [rows]: class of each sample
  span<float> loss = {};  // [rows], or one element unless reduction is none: the loss
  span<float> saved = {};  // [rows, 2]: written by forward, spares backward a pass
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_logits = {};  // of the shape of logits; may be logits itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct spherical_softmax_cross_entropy {
  static constexpr const char *name = "spherical_softmax_cross_entropy";
  using options = spherical_softmax_cross_entropy_options;
  using arguments = spherical_softmax_cross_entropy_arguments;

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
    return detail::outcome(lk_spherical_softmax_cross_entropy_forward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits_stride, a.logits.data(),
        a.labels.data(), a.loss.data(), a.saved.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_spherical_softmax_cross_entropy_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits_stride, a.logits.data(),
        a.labels.data(), a.saved.data(), a.grad_loss.data(), a.grad_logits.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_spherical_softmax_cross_entropy_forward_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.logits_stride, a.logits.data(),
        a.labels.data(), a.grad_loss.data(), a.loss.data(), a.grad_logits.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_spherical_softmax_cross_entropy_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.rows, a.classes, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("logits", a.logits, {a.rows, a.classes}, a.logits_stride)
        .buffer("labels", a.labels, {a.rows})
        .buffer("loss", a.loss, {each ? a.rows : 1})
        .buffer("saved", a.saved, {a.rows, 2})
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

// ---- Contrastive ----

// CLIP: symmetric softmax cross entropy of the similarities of pairs.
struct clip_loss_options {
  double label_smoothing = 0.0;  // share of the target spread evenly over all pairs
  bool normalize = true;  // compare directions: rows are divided by their lengths
  lk_clip_loss_options c_options() const noexcept {
    lk_clip_loss_options c;
    lk_clip_loss_options_init(&c);
    c.label_smoothing = label_smoothing;
    c.normalize = normalize ? 1 : 0;
    return c;
  }
};

struct clip_loss_arguments {
  std::size_t n = 0;  // number of pairs
  std::size_t d = 0;  // length of a row
  floats a = {};  // [n, d]: one side of the pairs, as images
  floats b = {};  // [n, d]: the other side, as texts
  // [1]: what similarities are multiplied by: the exponential of a learnt logit scale
  span<const float> scale = {};
  span<float> loss = {};  // []: the loss, a mean over both directions
  span<float> saved = {};  // [3*n]: written by forward, spares backward a pass
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_a = {};  // of the shape of a; may be a itself
  mutable_floats grad_b = {};  // of the shape of b; may be b itself
  span<float> grad_scale = {};  // of the shape of scale
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct clip_loss {
  static constexpr const char *name = "clip_loss";
  using options = clip_loss_options;
  using arguments = clip_loss_arguments;

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
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_clip_loss_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.d, a.a.data(), a.b.data(), a.scale.data(), a.loss.data(),
        a.saved.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_clip_loss_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.d, a.a.data(), a.b.data(), a.scale.data(), a.saved.data(),
        a.grad_loss.data(), a.grad_a.data(), a.grad_b.data(), a.grad_scale.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_clip_loss_forward_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.d, a.a.data(), a.b.data(), a.scale.data(),
        a.grad_loss.data(), a.loss.data(), a.grad_a.data(), a.grad_b.data(), a.grad_scale.data(),
        a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_clip_loss_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, a.d, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("a", a.a, {a.n, a.d})
        .buffer("b", a.b, {a.n, a.d})
        .buffer("scale", a.scale, {1})
        .buffer("loss", a.loss, {})
        .buffer("saved", a.saved, {3 * a.n})
        .buffer("grad_loss", a.grad_loss, {})
        .buffer("grad_a", a.grad_a, {a.n, a.d})
        .buffer("grad_b", a.grad_b, {a.n, a.d})
        .buffer("grad_scale", a.grad_scale, {1});
    return check;
  }
};

// InfoNCE: softmax cross entropy of similarities, one positive for each row.
struct info_nce_options {
  double temperature = 0.07;  // divisor of the similarities; small ones weigh the hardest negatives most
  bool normalize = true;  // compare directions: rows are divided by their lengths
  // row of b that the first row of a pairs with; ignored when positives are given
  std::int64_t row_offset = 0;
  Reduction reduction = Reduction::mean;  // none gives one loss per row of a
  lk_info_nce_options c_options() const noexcept {
    lk_info_nce_options c;
    lk_info_nce_options_init(&c);
    c.temperature = temperature;
    c.normalize = normalize ? 1 : 0;
    c.row_offset = row_offset;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct info_nce_arguments {
  std::size_t n = 0;  // number of rows of a
  std::size_t m = 0;  // number of rows of b
  std::size_t d = 0;  // length of a row
  floats a = {};  // [n, d]: anchors, one per row
  floats b = {};  // [m, d]: what they are compared with
  // [n]: row of b that belongs to each row of a; leave out for i + row_offset
  span<const std::int64_t> positives = {};
  span<float> loss = {};  // [n], or one element unless reduction is none: the loss
  span<float> lse = {};  // [n]: logsumexp_j S_ij of each row
  span<float> saved = {};  // [2*n]: written by forward, spares backward a pass
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_a = {};  // of the shape of a; may be a itself
  mutable_floats grad_b = {};  // of the shape of b; may be b itself
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct info_nce {
  static constexpr const char *name = "info_nce";
  using options = info_nce_options;
  using arguments = info_nce_arguments;

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
    return detail::outcome(lk_info_nce_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.m, a.d, a.a.data(), a.b.data(), a.positives.data(),
        a.loss.data(), a.lse.data(), a.saved.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_info_nce_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.m, a.d, a.a.data(), a.b.data(), a.positives.data(),
        a.saved.data(), a.grad_loss.data(), a.grad_a.data(), a.grad_b.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_info_nce_forward_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.m, a.d, a.a.data(), a.b.data(), a.positives.data(),
        a.grad_loss.data(), a.loss.data(), a.lse.data(), a.grad_a.data(), a.grad_b.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_info_nce_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, a.m, a.d, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("a", a.a, {a.n, a.d})
        .buffer("b", a.b, {a.m, a.d})
        .buffer("positives", a.positives, {a.n})
        .buffer("loss", a.loss, {each ? a.n : 1})
        .buffer("lse", a.lse, {a.n})
        .buffer("saved", a.saved, {2 * a.n})
        .buffer("grad_loss", a.grad_loss, {each ? a.n : 1})
        .buffer("grad_a", a.grad_a, {a.n, a.d})
        .buffer("grad_b", a.grad_b, {a.m, a.d});
    return check;
  }
};

// SogCLR and iSogCLR: contrastive loss over all of the data, with a temperature for each sample.
struct isogclr_options {
  double gamma = 0.8;  // share of this batch in the moving average
  double rho = 0.3;  // what keeps temperatures from growing: the larger, the smaller they become
  double learning_rate = 0.0;  // of the temperatures; 0 keeps them
  double min_temperature = 0.005;  // smallest temperature
  double max_temperature = 1.0;  // largest temperature
  bool normalize = true;  // compare directions: rows are divided by their lengths
  Reduction reduction = Reduction::mean;  // mean divides by n
  lk_isogclr_options c_options() const noexcept {
    lk_isogclr_options c;
    lk_isogclr_options_init(&c);
    c.gamma = gamma;
    c.rho = rho;
    c.learning_rate = learning_rate;
    c.min_temperature = min_temperature;
    c.max_temperature = max_temperature;
    c.normalize = normalize ? 1 : 0;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct isogclr_arguments {
  std::size_t n = 0;  // number of samples
  std::size_t d = 0;  // length of a row
  floats a = {};  // [n, d]: anchors, one per row
  floats b = {};  // [n, d]: what they are compared with; row i belongs to row i of a
  span<const float> log_u = {};  // [n]: state: log of the moving average of each sample
  span<const float> temperatures = {};  // [n]: state: temperature of each sample
  span<float> loss = {};  // [n], or one element unless reduction is none: the loss
  span<float> log_u_next = {};  // [n]: log of the moving average after the step
  span<float> temperature_grad = {};  // [n]: gradient of each loss in its temperature
  span<float> temperatures_next = {};  // [n]: temperatures after the step
  span<float> saved = {};  // [3*n]: written by forward, spares backward a pass
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_a = {};  // of the shape of a; may be a itself
  mutable_floats grad_b = {};  // of the shape of b; may be b itself
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct isogclr {
  static constexpr const char *name = "isogclr";
  using options = isogclr_options;
  using arguments = isogclr_arguments;

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
    return detail::outcome(lk_isogclr_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.d, a.a.data(), a.b.data(), a.log_u.data(),
        a.temperatures.data(), a.loss.data(), a.log_u_next.data(), a.temperature_grad.data(),
        a.temperatures_next.data(), a.saved.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_isogclr_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.d, a.a.data(), a.b.data(), a.log_u.data(),
        a.temperatures.data(), a.saved.data(), a.grad_loss.data(), a.grad_a.data(), a.grad_b.data(),
        a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_isogclr_forward_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.d, a.a.data(), a.b.data(), a.log_u.data(),
        a.temperatures.data(), a.grad_loss.data(), a.loss.data(), a.log_u_next.data(),
        a.temperature_grad.data(), a.temperatures_next.data(), a.grad_a.data(), a.grad_b.data(),
        a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_isogclr_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, a.d, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("a", a.a, {a.n, a.d})
        .buffer("b", a.b, {a.n, a.d})
        .buffer("log_u", a.log_u, {a.n})
        .buffer("temperatures", a.temperatures, {a.n})
        .buffer("loss", a.loss, {each ? a.n : 1})
        .buffer("log_u_next", a.log_u_next, {a.n})
        .buffer("temperature_grad", a.temperature_grad, {a.n})
        .buffer("temperatures_next", a.temperatures_next, {a.n})
        .buffer("saved", a.saved, {3 * a.n})
        .buffer("grad_loss", a.grad_loss, {each ? a.n : 1})
        .buffer("grad_a", a.grad_a, {a.n, a.d})
        .buffer("grad_b", a.grad_b, {a.n, a.d});
    return check;
  }
};

// NT-Xent: SimCLR's temperature-scaled cross entropy of two views.
struct nt_xent_options {
  double temperature = 0.5;  // divisor of the similarities
  bool normalize = true;  // compare directions: rows are divided by their lengths
  Reduction reduction = Reduction::mean;  // none gives 2 n losses, those of a's rows first
  lk_nt_xent_options c_options() const noexcept {
    lk_nt_xent_options c;
    lk_nt_xent_options_init(&c);
    c.temperature = temperature;
    c.normalize = normalize ? 1 : 0;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct nt_xent_arguments {
  std::size_t n = 0;  // number of samples
  std::size_t d = 0;  // length of a row
  floats a = {};  // [n, d]: one view of each sample
  floats b = {};  // [n, d]: the other view
  span<float> loss = {};  // [2*n], or one element unless reduction is none: the loss
  span<float> saved = {};  // [4*n]: written by forward, spares backward a pass
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_a = {};  // of the shape of a; may be a itself
  mutable_floats grad_b = {};  // of the shape of b; may be b itself
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct nt_xent {
  static constexpr const char *name = "nt_xent";
  using options = nt_xent_options;
  using arguments = nt_xent_arguments;

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
    return detail::outcome(lk_nt_xent_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.d, a.a.data(), a.b.data(), a.loss.data(), a.saved.data(),
        a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_nt_xent_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.d, a.a.data(), a.b.data(), a.saved.data(),
        a.grad_loss.data(), a.grad_a.data(), a.grad_b.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_nt_xent_forward_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.d, a.a.data(), a.b.data(), a.grad_loss.data(),
        a.loss.data(), a.grad_a.data(), a.grad_b.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_nt_xent_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, a.d, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("a", a.a, {a.n, a.d})
        .buffer("b", a.b, {a.n, a.d})
        .buffer("loss", a.loss, {each ? 2 * a.n : 1})
        .buffer("saved", a.saved, {4 * a.n})
        .buffer("grad_loss", a.grad_loss, {each ? 2 * a.n : 1})
        .buffer("grad_a", a.grad_a, {a.n, a.d})
        .buffer("grad_b", a.grad_b, {a.n, a.d});
    return check;
  }
};

// ---- Image and score ----

// Structural similarity of images.
struct ssim_loss_options {
  std::int64_t window = 11;  // side of the window, odd
  double sigma = 1.5;  // standard deviation of the window
  double data_range = 1.0;  // largest less smallest possible value
  double k1 = 0.01;  // stabilises the comparison of means
  double k2 = 0.03;  // stabilises the comparison of variances
  Reduction reduction = Reduction::mean;  // over images
  lk_ssim_loss_options c_options() const noexcept {
    lk_ssim_loss_options c;
    lk_ssim_loss_options_init(&c);
    c.window = window;
    c.sigma = sigma;
    c.data_range = data_range;
    c.k1 = k1;
    c.k2 = k2;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct ssim_loss_arguments {
  std::size_t batch = 0;  // number of images
  std::size_t channels = 0;  // number of channels
  std::size_t height = 0;  // rows of an image
  std::size_t width = 0;  // columns of an image
  floats pred = {};  // [batch, channels, height, width]: images
  floats target = {};  // [batch, channels, height, width]: images to compare with
  span<float> loss = {};  // [batch], or one element unless reduction is none: 1 - ssim
  span<float> ssim = {};  // [batch]: structural similarity of each image
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_pred = {};  // of the shape of pred
  mutable_floats grad_target = {};  // of the shape of target
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct ssim_loss {
  static constexpr const char *name = "ssim_loss";
  using options = ssim_loss_options;
  using arguments = ssim_loss_arguments;

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
    return detail::outcome(lk_ssim_loss_forward(
        ctx.get(), &c, checked.dtype(), a.batch, a.channels, a.height, a.width, a.pred.data(),
        a.target.data(), a.loss.data(), a.ssim.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_ssim_loss_backward(
        ctx.get(), &c, checked.dtype(), a.batch, a.channels, a.height, a.width, a.pred.data(),
        a.target.data(), a.grad_loss.data(), a.grad_pred.data(), a.grad_target.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_ssim_loss_forward_backward(
        ctx.get(), &c, checked.dtype(), a.batch, a.channels, a.height, a.width, a.pred.data(),
        a.target.data(), a.grad_loss.data(), a.loss.data(), a.ssim.data(), a.grad_pred.data(),
        a.grad_target.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_ssim_loss_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.batch, a.channels, a.height, a.width, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("pred", a.pred, {a.batch, a.channels, a.height, a.width})
        .buffer("target", a.target, {a.batch, a.channels, a.height, a.width})
        .buffer("loss", a.loss, {each ? a.batch : 1})
        .buffer("ssim", a.ssim, {a.batch})
        .buffer("grad_loss", a.grad_loss, {each ? a.batch : 1})
        .buffer("grad_pred", a.grad_pred, {a.batch, a.channels, a.height, a.width})
        .buffer("grad_target", a.grad_target, {a.batch, a.channels, a.height, a.width});
    return check;
  }
};

// ---- Information ----

// Cauchy-Schwarz divergence between two sample sets, by Gaussian kernel density estimates.
struct cs_divergence_options {
  double bandwidth = 1.0;  // standard deviation of the kernel
  lk_cs_divergence_options c_options() const noexcept {
    lk_cs_divergence_options c;
    lk_cs_divergence_options_init(&c);
    c.bandwidth = bandwidth;
    return c;
  }
};

struct cs_divergence_arguments {
  std::size_t n = 0;  // points of a
  std::size_t m = 0;  // points of b
  std::size_t dims = 0;  // dimension of the points
  std::size_t a_stride = 0;  // elements from one row of a to the next; 0 = dense
  std::size_t b_stride = 0;  // elements from one row of b to the next; 0 = dense
  floats a = {};  // [n, dims]: one set of points, one per row
  floats b = {};  // [m, dims]: the other set
  span<float> loss = {};  // []: the divergence
  span<float> saved = {};  // [6]: written by forward, spares backward a pass
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_a = {};  // of the shape of a
  mutable_floats grad_b = {};  // of the shape of b
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct cs_divergence {
  static constexpr const char *name = "cs_divergence";
  using options = cs_divergence_options;
  using arguments = cs_divergence_arguments;

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
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_cs_divergence_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.m, a.dims, a.a_stride, a.b_stride, a.a.data(), a.b.data(),
        a.loss.data(), a.saved.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_cs_divergence_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.m, a.dims, a.a_stride, a.b_stride, a.a.data(), a.b.data(),
        a.saved.data(), a.grad_loss.data(), a.grad_a.data(), a.grad_b.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_cs_divergence_forward_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.m, a.dims, a.a_stride, a.b_stride, a.a.data(), a.b.data(),
        a.grad_loss.data(), a.loss.data(), a.grad_a.data(), a.grad_b.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_cs_divergence_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, a.m, a.dims, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("a", a.a, {a.n, a.dims}, a.a_stride)
        .buffer("b", a.b, {a.m, a.dims}, a.b_stride)
        .buffer("loss", a.loss, {})
        .buffer("saved", a.saved, {6})
        .buffer("grad_loss", a.grad_loss, {})
        .buffer("grad_a", a.grad_a, {a.n, a.dims}, a.a_stride)
        .buffer("grad_b", a.grad_b, {a.m, a.dims}, a.b_stride);
    return check;
  }
};

// Kozachenko-Leonenko estimate of differential entropy from nearest neighbours.
struct knn_entropy_options {
  std::int64_t k = 5;  // which neighbour; at most n - 1
  lk_knn_entropy_options c_options() const noexcept {
    lk_knn_entropy_options c;
    lk_knn_entropy_options_init(&c);
    c.k = k;
    return c;
  }
};

struct knn_entropy_arguments {
  std::size_t n = 0;  // points
  std::size_t dims = 0;  // dimension of the points
  span<const float> x = {};  // [n, dims]: points, one per row
  span<float> entropy = {};  // []: the estimate
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct knn_entropy {
  static constexpr const char *name = "knn_entropy";
  using options = knn_entropy_options;
  using arguments = knn_entropy_arguments;

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
    return detail::outcome(lk_knn_entropy_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.dims, a.x.data(), a.entropy.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_knn_entropy_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, a.dims, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("x", a.x, {a.n, a.dims})
        .buffer("entropy", a.entropy, {});
    return check;
  }
};

// ---- Metric learning ----

// Kernel density estimate of the entropy of samples, or of pairs of samples.
struct kernel_joint_entropy_options {
  double bandwidth_a = 1.0;  // standard deviation of the kernel on a
  double bandwidth_b = 1.0;  // standard deviation of the kernel on b
  // whether the pairs (i, i) count; without them the estimate is less biased, but a point far from all others can dominate it
  bool include_self = true;
  lk_kernel_joint_entropy_options c_options() const noexcept {
    lk_kernel_joint_entropy_options c;
    lk_kernel_joint_entropy_options_init(&c);
    c.bandwidth_a = bandwidth_a;
    c.bandwidth_b = bandwidth_b;
    c.include_self = include_self ? 1 : 0;
    return c;
  }
};

struct kernel_joint_entropy_arguments {
  std::size_t n = 0;  // samples
  std::size_t dims_a = 0;  // dimension of a
  std::size_t dims_b = 0;  // dimension of b; 0 without b
  std::size_t a_stride = 0;  // elements from one row of a to the next; 0 = dense
  std::size_t b_stride = 0;  // elements from one row of b to the next; 0 = dense
  floats a = {};  // [n, dims_a]: samples, one per row
  floats b = {};  // [n, dims_b]: the other half of each sample; leave out for none
  span<float> entropy = {};  // []: the entropy, in nats
  span<float> saved = {};  // [2, n]: written by forward, spares backward a pass
  span<const float> grad_loss = {};  // upstream gradient, of the shape of entropy; left out = ones
  mutable_floats grad_a = {};  // of the shape of a
  mutable_floats grad_b = {};  // of the shape of b
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct kernel_joint_entropy {
  static constexpr const char *name = "kernel_joint_entropy";
  using options = kernel_joint_entropy_options;
  using arguments = kernel_joint_entropy_arguments;

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
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_kernel_joint_entropy_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.dims_a, a.dims_b, a.a_stride, a.b_stride, a.a.data(),
        a.b.data(), a.entropy.data(), a.saved.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_kernel_joint_entropy_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.dims_a, a.dims_b, a.a_stride, a.b_stride, a.a.data(),
        a.b.data(), a.saved.data(), a.grad_loss.data(), a.grad_a.data(), a.grad_b.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_kernel_joint_entropy_forward_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.dims_a, a.dims_b, a.a_stride, a.b_stride, a.a.data(),
        a.b.data(), a.grad_loss.data(), a.entropy.data(), a.grad_a.data(), a.grad_b.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_kernel_joint_entropy_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, a.dims_a, a.dims_b, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("a", a.a, {a.n, a.dims_a}, a.a_stride)
        .buffer("b", a.b, {a.n, a.dims_b}, a.b_stride)
        .buffer("entropy", a.entropy, {})
        .buffer("saved", a.saved, {2, a.n})
        .buffer("grad_loss", a.grad_loss, {})
        .buffer("grad_a", a.grad_a, {a.n, a.dims_a}, a.a_stride)
        .buffer("grad_b", a.grad_b, {a.n, a.dims_b}, a.b_stride);
    return check;
  }
};

// ---- Preference and structure ----

// Draws of a Beta policy, for example noise masks.
struct beta_mask_sample_options {
  std::uint64_t seed = 0;  // key of the random numbers
  std::uint64_t offset = 0;  // first counter block of the random numbers
  lk_beta_mask_sample_options c_options() const noexcept {
    lk_beta_mask_sample_options c;
    lk_beta_mask_sample_options_init(&c);
    c.seed = seed;
    c.offset = offset;
    return c;
  }
};

struct beta_mask_sample_arguments {
  std::size_t n = 0;  // number of elements
  floats concentration1 = {};  // [n]: first parameter of each element: large values draw it to 1
  floats concentration0 = {};  // [n]: second parameter of each element: large values draw it to 0
  mutable_floats actions = {};  // [n]: the draws, in (0, 1)
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct beta_mask_sample {
  static constexpr const char *name = "beta_mask_sample";
  using options = beta_mask_sample_options;
  using arguments = beta_mask_sample_arguments;

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
    return detail::outcome(lk_beta_mask_sample_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.concentration1.data(), a.concentration0.data(),
        a.actions.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_beta_mask_sample_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("concentration1", a.concentration1, {a.n})
        .buffer("concentration0", a.concentration0, {a.n})
        .buffer("actions", a.actions, {a.n});
    return check;
  }
};

// REINFORCE for a Beta policy, for example of noise masks.
struct beta_policy_gradient_options {
  double baseline = 0.0;  // what is subtracted from rewards
  bool normalize = false;  // advantages of mean 0 and deviation 1 over the rows
  double entropy_weight = 0.0;  // weight of the policy's entropy, which keeps it from becoming certain
  Reduction reduction = Reduction::mean;  // mean divides by the number of rows
  lk_beta_policy_gradient_options c_options() const noexcept {
    lk_beta_policy_gradient_options c;
    lk_beta_policy_gradient_options_init(&c);
    c.baseline = baseline;
    c.normalize = normalize ? 1 : 0;
    c.entropy_weight = entropy_weight;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct beta_policy_gradient_arguments {
  std::size_t rows = 0;  // number of masks
  std::size_t d = 0;  // elements of a mask
  floats concentration1 = {};  // [rows, d]: the policy's a of each element: large values draw x to 1
  floats concentration0 = {};  // [rows, d]: the policy's b of each element: large values draw x to 0
  floats actions = {};  // [rows, d]: the masks that were drawn
  floats rewards = {};  // [rows]: what each mask earned
  span<float> loss = {};  // [rows], or one element unless reduction is none: the loss
  span<float> log_prob = {};  // [rows]: log-density of each mask under the policy
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  // of the shape of concentration1; may be concentration1 itself
  mutable_floats grad_concentration1 = {};
  // of the shape of concentration0; may be concentration0 itself
  mutable_floats grad_concentration0 = {};
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct beta_policy_gradient {
  static constexpr const char *name = "beta_policy_gradient";
  using options = beta_policy_gradient_options;
  using arguments = beta_policy_gradient_arguments;

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
    return detail::outcome(lk_beta_policy_gradient_forward(
        ctx.get(), &c, checked.dtype(), a.rows, a.d, a.concentration1.data(), a.concentration0.data(),
        a.actions.data(), a.rewards.data(), a.loss.data(), a.log_prob.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_beta_policy_gradient_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.d, a.concentration1.data(), a.concentration0.data(),
        a.actions.data(), a.rewards.data(), a.grad_loss.data(), a.grad_concentration1.data(),
        a.grad_concentration0.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_beta_policy_gradient_forward_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.d, a.concentration1.data(), a.concentration0.data(),
        a.actions.data(), a.rewards.data(), a.grad_loss.data(), a.loss.data(), a.log_prob.data(),
        a.grad_concentration1.data(), a.grad_concentration0.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_beta_policy_gradient_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.rows, a.d, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("concentration1", a.concentration1, {a.rows, a.d})
        .buffer("concentration0", a.concentration0, {a.rows, a.d})
        .buffer("actions", a.actions, {a.rows, a.d})
        .buffer("rewards", a.rewards, {a.rows})
        .buffer("loss", a.loss, {each ? a.rows : 1})
        .buffer("log_prob", a.log_prob, {a.rows})
        .buffer("grad_loss", a.grad_loss, {each ? a.rows : 1})
        .buffer("grad_concentration1", a.grad_concentration1, {a.rows, a.d})
        .buffer("grad_concentration0", a.grad_concentration0, {a.rows, a.d});
    return check;
  }
};

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

// Direct preference optimisation, with its noise-robust forms.
enum class dpo_loss_kind : std::int32_t { dpo = 0, cdpo = 1, rdpo = 2, ipo = 3, hinge = 4 };

struct dpo_loss_options {
  losskit::dpo_loss_kind kind = losskit::dpo_loss_kind::dpo;  // form of the loss
  double beta = 0.1;  // strength of the tie to the reference
  double flip_probability = 0.0;  // probability that a preference is the wrong way round (cdpo, rdpo)
  Reduction reduction = Reduction::mean;  // mean divides by the number of pairs
  lk_dpo_loss_options c_options() const noexcept {
    lk_dpo_loss_options c;
    lk_dpo_loss_options_init(&c);
    c.kind = static_cast<std::int32_t>(kind);
    c.beta = beta;
    c.flip_probability = flip_probability;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct dpo_loss_arguments {
  std::size_t pairs = 0;  // number of pairs of responses
  floats policy_chosen = {};  // [pairs]: log-probability of the preferred response under the policy
  floats policy_rejected = {};  // [pairs]: log-probability of the other response under the policy
  floats reference_chosen = {};  // [pairs]: log-probability of the preferred response under the reference
  floats reference_rejected = {};  // [pairs]: log-probability of the other response under the reference
  span<float> loss = {};  // [pairs], or one element unless reduction is none: the loss
  span<float> margins = {};  // [pairs]: beta d of each pair: positive where the policy agrees
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_policy_chosen = {};  // of the shape of policy_chosen
  mutable_floats grad_policy_rejected = {};  // of the shape of policy_rejected
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct dpo_loss {
  static constexpr const char *name = "dpo_loss";
  using options = dpo_loss_options;
  using arguments = dpo_loss_arguments;

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
    return detail::outcome(lk_dpo_loss_forward(
        ctx.get(), &c, checked.dtype(), a.pairs, a.policy_chosen.data(), a.policy_rejected.data(),
        a.reference_chosen.data(), a.reference_rejected.data(), a.loss.data(), a.margins.data(),
        a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_dpo_loss_backward(
        ctx.get(), &c, checked.dtype(), a.pairs, a.policy_chosen.data(), a.policy_rejected.data(),
        a.reference_chosen.data(), a.reference_rejected.data(), a.grad_loss.data(),
        a.grad_policy_chosen.data(), a.grad_policy_rejected.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_dpo_loss_forward_backward(
        ctx.get(), &c, checked.dtype(), a.pairs, a.policy_chosen.data(), a.policy_rejected.data(),
        a.reference_chosen.data(), a.reference_rejected.data(), a.grad_loss.data(), a.loss.data(),
        a.margins.data(), a.grad_policy_chosen.data(), a.grad_policy_rejected.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_dpo_loss_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.pairs, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("policy_chosen", a.policy_chosen, {a.pairs})
        .buffer("policy_rejected", a.policy_rejected, {a.pairs})
        .buffer("reference_chosen", a.reference_chosen, {a.pairs})
        .buffer("reference_rejected", a.reference_rejected, {a.pairs})
        .buffer("loss", a.loss, {each ? a.pairs : 1})
        .buffer("margins", a.margins, {a.pairs})
        .buffer("grad_loss", a.grad_loss, {each ? a.pairs : 1})
        .buffer("grad_policy_chosen", a.grad_policy_chosen, {a.pairs})
        .buffer("grad_policy_rejected", a.grad_policy_rejected, {a.pairs});
    return check;
  }
};

// Log-probability of token sequences from hidden states, without the logits in memory.
struct fused_linear_sequence_log_prob_options {
  std::int64_t sequences = 1;  // number of sequences
  // tokens with this label (prompt, padding) are not counted and get no gradient
  std::int64_t ignore_index = -100;
  bool average = false;  // mean over the counted tokens of a sequence instead of the sum
  lk_fused_linear_sequence_log_prob_options c_options() const noexcept {
    lk_fused_linear_sequence_log_prob_options c;
    lk_fused_linear_sequence_log_prob_options_init(&c);
    c.sequences = sequences;
    c.ignore_index = ignore_index;
    c.average = average ? 1 : 0;
    return c;
  }
};

struct fused_linear_sequence_log_prob_arguments {
  std::size_t tokens = 0;  // number of tokens of all sequences
  std::size_t d = 0;  // features of a token
  std::size_t classes = 0;  // size of the vocabulary
  floats hidden = {};  // [tokens, d]: features, one row per token
  floats weight = {};  // [classes, d]: weights of the output layer, one row per class
  floats bias = {};  // [classes]: bias of each class; leave out for none
  span<const std::int64_t> labels = {};  // [tokens]: the token that follows, for each place
  span<const std::int64_t> segments = {};  // [tokens]: sequence that each token belongs to, in any order
  span<float> log_prob = {};  // [sequences]: log-probability of each sequence
  span<float> counts = {};  // [sequences]: counted tokens of each sequence
  span<float> saved = {};  // [tokens, 3]: written by forward, spares backward a pass
  span<const float> grad_loss = {};  // upstream gradient, of the shape of log_prob; left out = ones
  mutable_floats grad_hidden = {};  // of the shape of hidden
  mutable_floats grad_weight = {};  // of the shape of weight
  mutable_floats grad_bias = {};  // of the shape of bias
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct fused_linear_sequence_log_prob {
  static constexpr const char *name = "fused_linear_sequence_log_prob";
  using options = fused_linear_sequence_log_prob_options;
  using arguments = fused_linear_sequence_log_prob_arguments;

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
    return detail::outcome(lk_fused_linear_sequence_log_prob_forward(
        ctx.get(), &c, checked.dtype(), a.tokens, a.d, a.classes, a.hidden.data(), a.weight.data(),
        a.bias.data(), a.labels.data(), a.segments.data(), a.log_prob.data(), a.counts.data(),
        a.saved.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_fused_linear_sequence_log_prob_backward(
        ctx.get(), &c, checked.dtype(), a.tokens, a.d, a.classes, a.hidden.data(), a.weight.data(),
        a.bias.data(), a.labels.data(), a.segments.data(), a.saved.data(), a.grad_loss.data(),
        a.grad_hidden.data(), a.grad_weight.data(), a.grad_bias.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_fused_linear_sequence_log_prob_forward_backward(
        ctx.get(), &c, checked.dtype(), a.tokens, a.d, a.classes, a.hidden.data(), a.weight.data(),
        a.bias.data(), a.labels.data(), a.segments.data(), a.grad_loss.data(), a.log_prob.data(),
        a.counts.data(), a.grad_hidden.data(), a.grad_weight.data(), a.grad_bias.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_fused_linear_sequence_log_prob_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.tokens, a.d, a.classes, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    detail::Check check(name);
    check.buffer("hidden", a.hidden, {a.tokens, a.d})
        .buffer("weight", a.weight, {a.classes, a.d})
        .buffer("bias", a.bias, {a.classes})
        .buffer("labels", a.labels, {a.tokens})
        .buffer("segments", a.segments, {a.tokens})
        .buffer("log_prob", a.log_prob, {static_cast<std::size_t>(o.sequences)})
        .buffer("counts", a.counts, {static_cast<std::size_t>(o.sequences)})
        .buffer("saved", a.saved, {a.tokens, 3})
        .buffer("grad_loss", a.grad_loss, {static_cast<std::size_t>(o.sequences)})
        .buffer("grad_hidden", a.grad_hidden, {a.tokens, a.d})
        .buffer("grad_weight", a.grad_weight, {a.classes, a.d})
        .buffer("grad_bias", a.grad_bias, {a.classes});
    return check;
  }
};

// Negative log-likelihood of a top-k gated Gaussian mixture of experts.
struct gaussian_mixture_of_experts_options {
  std::int64_t k = 0;  // experts per sample; at most experts, 0 = all
  Reduction reduction = Reduction::mean;  // mean divides by the number of rows
  lk_gaussian_mixture_of_experts_options c_options() const noexcept {
    lk_gaussian_mixture_of_experts_options c;
    lk_gaussian_mixture_of_experts_options_init(&c);
    c.k = k;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct gaussian_mixture_of_experts_arguments {
  std::size_t rows = 0;  // number of samples
  std::size_t d = 0;  // features of a sample
  std::size_t experts = 0;  // number of experts
  floats x = {};  // [rows, d]: features, one row per sample
  floats y = {};  // [rows]: targets
  floats gate_weight = {};  // [experts, d]: weights of the gate, one row per expert
  floats gate_bias = {};  // [experts]: biases of the gate
  floats expert_weight = {};  // [experts, d]: weights of the experts' means, one row per expert
  floats expert_bias = {};  // [experts]: biases of the experts' means
  floats log_variance = {};  // [experts]: logarithms of the experts' variances
  span<float> loss = {};  // [rows], or one element unless reduction is none: the loss
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_x = {};  // of the shape of x
  mutable_floats grad_gate_weight = {};  // of the shape of gate_weight
  mutable_floats grad_gate_bias = {};  // of the shape of gate_bias
  mutable_floats grad_expert_weight = {};  // of the shape of expert_weight
  mutable_floats grad_expert_bias = {};  // of the shape of expert_bias
  mutable_floats grad_log_variance = {};  // of the shape of log_variance
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct gaussian_mixture_of_experts {
  static constexpr const char *name = "gaussian_mixture_of_experts";
  using options = gaussian_mixture_of_experts_options;
  using arguments = gaussian_mixture_of_experts_arguments;

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
    return detail::outcome(lk_gaussian_mixture_of_experts_forward(
        ctx.get(), &c, checked.dtype(), a.rows, a.d, a.experts, a.x.data(), a.y.data(),
        a.gate_weight.data(), a.gate_bias.data(), a.expert_weight.data(), a.expert_bias.data(),
        a.log_variance.data(), a.loss.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_gaussian_mixture_of_experts_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.d, a.experts, a.x.data(), a.y.data(),
        a.gate_weight.data(), a.gate_bias.data(), a.expert_weight.data(), a.expert_bias.data(),
        a.log_variance.data(), a.grad_loss.data(), a.grad_x.data(), a.grad_gate_weight.data(),
        a.grad_gate_bias.data(), a.grad_expert_weight.data(), a.grad_expert_bias.data(),
        a.grad_log_variance.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_gaussian_mixture_of_experts_forward_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.d, a.experts, a.x.data(), a.y.data(),
        a.gate_weight.data(), a.gate_bias.data(), a.expert_weight.data(), a.expert_bias.data(),
        a.log_variance.data(), a.grad_loss.data(), a.loss.data(), a.grad_x.data(),
        a.grad_gate_weight.data(), a.grad_gate_bias.data(), a.grad_expert_weight.data(),
        a.grad_expert_bias.data(), a.grad_log_variance.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_gaussian_mixture_of_experts_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.rows, a.d, a.experts, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("x", a.x, {a.rows, a.d})
        .buffer("y", a.y, {a.rows})
        .buffer("gate_weight", a.gate_weight, {a.experts, a.d})
        .buffer("gate_bias", a.gate_bias, {a.experts})
        .buffer("expert_weight", a.expert_weight, {a.experts, a.d})
        .buffer("expert_bias", a.expert_bias, {a.experts})
        .buffer("log_variance", a.log_variance, {a.experts})
        .buffer("loss", a.loss, {each ? a.rows : 1})
        .buffer("grad_loss", a.grad_loss, {each ? a.rows : 1})
        .buffer("grad_x", a.grad_x, {a.rows, a.d})
        .buffer("grad_gate_weight", a.grad_gate_weight, {a.experts, a.d})
        .buffer("grad_gate_bias", a.grad_gate_bias, {a.experts})
        .buffer("grad_expert_weight", a.grad_expert_weight, {a.experts, a.d})
        .buffer("grad_expert_bias", a.grad_expert_bias, {a.experts})
        .buffer("grad_log_variance", a.grad_log_variance, {a.experts});
    return check;
  }
};

// Cost function and order parameters of the multitasking Hebbian network.
enum class hebbian_energy_mode : std::int32_t { supervised = 0, unsupervised = 1 };

struct hebbian_energy_options {
  // whether it is known which examples belong to one pattern
  losskit::hebbian_energy_mode mode = losskit::hebbian_energy_mode::supervised;
  // how much examples have of their pattern: an entry is right with probability (1 + quality) / 2
  double quality = 1.0;
  double dilution = 0.0;  // share of the entries of a pattern that are 0
  lk_hebbian_energy_options c_options() const noexcept {
    lk_hebbian_energy_options c;
    lk_hebbian_energy_options_init(&c);
    c.mode = static_cast<std::int32_t>(mode);
    c.quality = quality;
    c.dilution = dilution;
    return c;
  }
};

struct hebbian_energy_arguments {
  std::size_t batch = 0;  // number of states
  std::size_t patterns = 0;  // number of patterns
  std::size_t samples = 0;  // examples of each pattern
  std::size_t n = 0;  // number of neurons
  floats state = {};  // [batch, n]: states of the network, -1 and +1 or relaxed
  floats examples = {};  // [patterns, samples, n]: noisy examples of diluted patterns: -1, 0 or +1
  span<float> energy = {};  // [batch]: energy of each state
  // [batch, patterns]: overlap of each state with each pattern, as its examples show it
  span<float> magnetization = {};
  span<const float> grad_loss = {};  // upstream gradient, of the shape of energy; left out = ones
  mutable_floats grad_state = {};  // of the shape of state; may be state itself
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct hebbian_energy {
  static constexpr const char *name = "hebbian_energy";
  using options = hebbian_energy_options;
  using arguments = hebbian_energy_arguments;

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
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_hebbian_energy_forward(
        ctx.get(), &c, checked.dtype(), a.batch, a.patterns, a.samples, a.n, a.state.data(),
        a.examples.data(), a.energy.data(), a.magnetization.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_hebbian_energy_backward(
        ctx.get(), &c, checked.dtype(), a.batch, a.patterns, a.samples, a.n, a.state.data(),
        a.examples.data(), a.grad_loss.data(), a.grad_state.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_hebbian_energy_forward_backward(
        ctx.get(), &c, checked.dtype(), a.batch, a.patterns, a.samples, a.n, a.state.data(),
        a.examples.data(), a.grad_loss.data(), a.energy.data(), a.magnetization.data(),
        a.grad_state.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_hebbian_energy_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.batch, a.patterns, a.samples, a.n, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("state", a.state, {a.batch, a.n})
        .buffer("examples", a.examples, {a.patterns, a.samples, a.n})
        .buffer("energy", a.energy, {a.batch})
        .buffer("magnetization", a.magnetization, {a.batch, a.patterns})
        .buffer("grad_loss", a.grad_loss, {a.batch})
        .buffer("grad_state", a.grad_state, {a.batch, a.n});
    return check;
  }
};

// Quadratic distances of network states to patterns.
enum class hebbian_loss_sign : std::int32_t { minus = 0, plus = 1 };

struct hebbian_loss_options {
  // distance to the pattern (minus) or to its mirror image (plus)
  losskit::hebbian_loss_sign sign = losskit::hebbian_loss_sign::minus;
  lk_hebbian_loss_options c_options() const noexcept {
    lk_hebbian_loss_options c;
    lk_hebbian_loss_options_init(&c);
    c.sign = static_cast<std::int32_t>(sign);
    return c;
  }
};

struct hebbian_loss_arguments {
  std::size_t batch = 0;  // number of states
  std::size_t pattern_count = 0;  // number of patterns
  std::size_t n = 0;  // number of neurons
  floats state = {};  // [batch, n]: states of the network, -1 and +1 or relaxed
  floats patterns = {};  // [pattern_count, n]: patterns to retrieve
  span<float> loss = {};  // [batch, pattern_count]: loss of every state for every pattern
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_state = {};  // of the shape of state; may be state itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct hebbian_loss {
  static constexpr const char *name = "hebbian_loss";
  using options = hebbian_loss_options;
  using arguments = hebbian_loss_arguments;

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
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_hebbian_loss_forward(
        ctx.get(), &c, checked.dtype(), a.batch, a.pattern_count, a.n, a.state.data(), a.patterns.data(),
        a.loss.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_hebbian_loss_backward(
        ctx.get(), &c, checked.dtype(), a.batch, a.pattern_count, a.n, a.state.data(), a.patterns.data(),
        a.grad_loss.data(), a.grad_state.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_hebbian_loss_forward_backward(
        ctx.get(), &c, checked.dtype(), a.batch, a.pattern_count, a.n, a.state.data(), a.patterns.data(),
        a.grad_loss.data(), a.loss.data(), a.grad_state.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_hebbian_loss_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.batch, a.pattern_count, a.n, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("state", a.state, {a.batch, a.n})
        .buffer("patterns", a.patterns, {a.pattern_count, a.n})
        .buffer("loss", a.loss, {a.batch, a.pattern_count})
        .buffer("grad_loss", a.grad_loss, {a.batch, a.pattern_count})
        .buffer("grad_state", a.grad_state, {a.batch, a.n});
    return check;
  }
};

// Normalised Hermite polynomials of each value.
struct hermite_features_options {
  std::int64_t degree = 4;  // largest degree
  lk_hermite_features_options c_options() const noexcept {
    lk_hermite_features_options c;
    lk_hermite_features_options_init(&c);
    c.degree = degree;
    return c;
  }
};

struct hermite_features_arguments {
  std::size_t n = 0;  // number of values
  floats x = {};  // [n]: values
  span<float> features = {};  // [n, degree+1]: polynomials of degree 0 to degree
  span<const float> grad_loss = {};  // upstream gradient, of the shape of features; left out = ones
  mutable_floats grad_x = {};  // of the shape of x; may be x itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct hermite_features {
  static constexpr const char *name = "hermite_features";
  using options = hermite_features_options;
  using arguments = hermite_features_arguments;

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
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_hermite_features_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.x.data(), a.features.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_hermite_features_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.x.data(), a.grad_loss.data(), a.grad_x.data(),
        a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_hermite_features_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    detail::Check check(name);
    check.buffer("x", a.x, {a.n})
        .buffer("features", a.features, {a.n, static_cast<std::size_t>(o.degree) + 1})
        .buffer("grad_loss", a.grad_loss, {a.n, static_cast<std::size_t>(o.degree) + 1})
        .buffer("grad_x", a.grad_x, {a.n});
    return check;
  }
};

// The hierarchical target g(p(x)): a polynomial of a quadratic feature.
struct hierarchical_polynomial_options {
  lk_hierarchical_polynomial_options c_options() const noexcept {
    lk_hierarchical_polynomial_options c;
    lk_hierarchical_polynomial_options_init(&c);
    return c;
  }
};

struct hierarchical_polynomial_arguments {
  std::size_t n = 0;  // number of samples
  std::size_t d = 0;  // dimension of the samples
  std::size_t terms = 0;  // coefficients of the outer polynomial: its degree plus 1
  floats x = {};  // [n, d]: samples
  floats a = {};  // [d, d]: the quadratic form
  floats coefficients = {};  // [terms]: of the outer polynomial, that of degree 0 first
  span<float> y = {};  // [n]: the target
  span<float> feature = {};  // [n]: the inner polynomial
  span<float> saved = {};  // [n]: written by forward, spares backward a pass
  span<const float> grad_loss = {};  // upstream gradient, of the shape of y; left out = ones
  mutable_floats grad_x = {};  // of the shape of x
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct hierarchical_polynomial {
  static constexpr const char *name = "hierarchical_polynomial";
  using options = hierarchical_polynomial_options;
  using arguments = hierarchical_polynomial_arguments;

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
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_hierarchical_polynomial_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.d, a.terms, a.x.data(), a.a.data(), a.coefficients.data(),
        a.y.data(), a.feature.data(), a.saved.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_hierarchical_polynomial_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.d, a.terms, a.x.data(), a.a.data(), a.coefficients.data(),
        a.saved.data(), a.grad_loss.data(), a.grad_x.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_hierarchical_polynomial_forward_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.d, a.terms, a.x.data(), a.a.data(), a.coefficients.data(),
        a.grad_loss.data(), a.y.data(), a.feature.data(), a.grad_x.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_hierarchical_polynomial_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, a.d, a.terms, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("x", a.x, {a.n, a.d})
        .buffer("a", a.a, {a.d, a.d})
        .buffer("coefficients", a.coefficients, {a.terms})
        .buffer("y", a.y, {a.n})
        .buffer("feature", a.feature, {a.n})
        .buffer("saved", a.saved, {a.n})
        .buffer("grad_loss", a.grad_loss, {a.n})
        .buffer("grad_x", a.grad_x, {a.n, a.d});
    return check;
  }
};

// One parallel step of the dynamics of a Hopfield network.
struct hopfield_update_options {
  double beta = 0.0;  // inverse temperature; 0 stands for temperature zero
  bool zero_diagonal = true;  // neurons are not coupled to themselves
  std::uint64_t seed = 0;  // key of the random numbers; without draws only
  std::uint64_t offset = 0;  // first counter block of the random numbers
  lk_hopfield_update_options c_options() const noexcept {
    lk_hopfield_update_options c;
    lk_hopfield_update_options_init(&c);
    c.beta = beta;
    c.zero_diagonal = zero_diagonal ? 1 : 0;
    c.seed = seed;
    c.offset = offset;
    return c;
  }
};

struct hopfield_update_arguments {
  std::size_t batch = 0;  // number of states
  std::size_t pattern_count = 0;  // number of patterns
  std::size_t n = 0;  // number of neurons
  floats state = {};  // [batch, n]: states of the network, -1 and +1
  floats patterns = {};  // [pattern_count, n]: stored patterns: -1, 0 or +1
  span<const float> draws = {};  // [batch, n]: uniform numbers, for beta > 0; leave out to draw them
  mutable_floats next_state = {};  // [batch, n]: states after the step, -1 and +1
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct hopfield_update {
  static constexpr const char *name = "hopfield_update";
  using options = hopfield_update_options;
  using arguments = hopfield_update_arguments;

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
    return detail::outcome(lk_hopfield_update_forward(
        ctx.get(), &c, checked.dtype(), a.batch, a.pattern_count, a.n, a.state.data(), a.patterns.data(),
        a.draws.data(), a.next_state.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_hopfield_update_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.batch, a.pattern_count, a.n, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("state", a.state, {a.batch, a.n})
        .buffer("patterns", a.patterns, {a.pattern_count, a.n})
        .buffer("draws", a.draws, {a.batch, a.n})
        .buffer("next_state", a.next_state, {a.batch, a.n});
    return check;
  }
};

// Load balancing of a mixture of experts.
struct load_balancing_loss_options {
  std::int64_t k = 2;  // experts per token; at most experts
  lk_load_balancing_loss_options c_options() const noexcept {
    lk_load_balancing_loss_options c;
    lk_load_balancing_loss_options_init(&c);
    c.k = k;
    return c;
  }
};

struct load_balancing_loss_arguments {
  std::size_t tokens = 0;  // number of tokens
  std::size_t experts = 0;  // number of experts
  floats logits = {};  // [tokens, experts]: scores of the experts
  span<float> loss = {};  // []: the loss
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_logits = {};  // of the shape of logits; may be logits itself
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct load_balancing_loss {
  static constexpr const char *name = "load_balancing_loss";
  using options = load_balancing_loss_options;
  using arguments = load_balancing_loss_arguments;

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
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_load_balancing_loss_forward(
        ctx.get(), &c, checked.dtype(), a.tokens, a.experts, a.logits.data(), a.loss.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_load_balancing_loss_backward(
        ctx.get(), &c, checked.dtype(), a.tokens, a.experts, a.logits.data(), a.grad_loss.data(),
        a.grad_logits.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_load_balancing_loss_forward_backward(
        ctx.get(), &c, checked.dtype(), a.tokens, a.experts, a.logits.data(), a.grad_loss.data(),
        a.loss.data(), a.grad_logits.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_load_balancing_loss_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.tokens, a.experts, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("logits", a.logits, {a.tokens, a.experts})
        .buffer("loss", a.loss, {})
        .buffer("grad_loss", a.grad_loss, {})
        .buffer("grad_logits", a.grad_logits, {a.tokens, a.experts});
    return check;
  }
};

// Ridge regression in closed form: the last stage of layer-wise training.
struct ridge_regression_options {
  double regularization = 0.001;  // weight of the squared weights
  lk_ridge_regression_options c_options() const noexcept {
    lk_ridge_regression_options c;
    lk_ridge_regression_options_init(&c);
    c.regularization = regularization;
    return c;
  }
};

struct ridge_regression_arguments {
  std::size_t n = 0;  // number of samples
  std::size_t m = 0;  // features
  std::size_t k = 0;  // targets of a sample
  floats features = {};  // [n, m]: features of the samples
  floats target = {};  // [n, k]: targets
  span<float> weights = {};  // [m, k]: the weights W
  span<float> loss = {};  // []: what they minimise
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct ridge_regression {
  static constexpr const char *name = "ridge_regression";
  using options = ridge_regression_options;
  using arguments = ridge_regression_arguments;

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
    return detail::outcome(lk_ridge_regression_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.m, a.k, a.features.data(), a.target.data(),
        a.weights.data(), a.loss.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_ridge_regression_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, a.m, a.k, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("features", a.features, {a.n, a.m})
        .buffer("target", a.target, {a.n, a.k})
        .buffer("weights", a.weights, {a.m, a.k})
        .buffer("loss", a.loss, {});
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

// Log-probability of token sequences.
struct sequence_log_prob_options {
  std::int64_t sequences = 1;  // number of sequences
  // tokens with this label (prompt, padding) are not counted and get no gradient
  std::int64_t ignore_index = -100;
  bool average = false;  // mean over the counted tokens of a sequence instead of the sum
  lk_sequence_log_prob_options c_options() const noexcept {
    lk_sequence_log_prob_options c;
    lk_sequence_log_prob_options_init(&c);
    c.sequences = sequences;
    c.ignore_index = ignore_index;
    c.average = average ? 1 : 0;
    return c;
  }
};

struct sequence_log_prob_arguments {
  std::size_t tokens = 0;  // number of tokens of all sequences
  std::size_t classes = 0;  // size of the vocabulary
  std::size_t logits_stride = 0;  // elements from one row of logits to the next; 0 = dense
  floats logits = {};  // [tokens, classes]: scores, one row per token
  span<const std::int64_t> labels = {};  // [tokens]: the token that follows, for each place
  span<const std::int64_t> segments = {};  // [tokens]: sequence that each token belongs to, in any order
  span<float> log_prob = {};  // [sequences]: log-probability of each sequence
  span<float> counts = {};  // [sequences]: counted tokens of each sequence
  span<float> saved = {};  // [tokens, 3]: written by forward, spares backward a pass
  span<const float> grad_loss = {};  // upstream gradient, of the shape of log_prob; left out = ones
  mutable_floats grad_logits = {};  // of the shape of logits; may be logits itself
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct sequence_log_prob {
  static constexpr const char *name = "sequence_log_prob";
  using options = sequence_log_prob_options;
  using arguments = sequence_log_prob_arguments;

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
    return detail::outcome(lk_sequence_log_prob_forward(
        ctx.get(), &c, checked.dtype(), a.tokens, a.classes, a.logits_stride, a.logits.data(),
        a.labels.data(), a.segments.data(), a.log_prob.data(), a.counts.data(), a.saved.data(),
        a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_sequence_log_prob_backward(
        ctx.get(), &c, checked.dtype(), a.tokens, a.classes, a.logits_stride, a.logits.data(),
        a.labels.data(), a.segments.data(), a.saved.data(), a.grad_loss.data(), a.grad_logits.data(),
        a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_sequence_log_prob_forward_backward(
        ctx.get(), &c, checked.dtype(), a.tokens, a.classes, a.logits_stride, a.logits.data(),
        a.labels.data(), a.segments.data(), a.grad_loss.data(), a.log_prob.data(), a.counts.data(),
        a.grad_logits.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_sequence_log_prob_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.tokens, a.classes, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    detail::Check check(name);
    check.buffer("logits", a.logits, {a.tokens, a.classes}, a.logits_stride)
        .buffer("labels", a.labels, {a.tokens})
        .buffer("segments", a.segments, {a.tokens})
        .buffer("log_prob", a.log_prob, {static_cast<std::size_t>(o.sequences)})
        .buffer("counts", a.counts, {static_cast<std::size_t>(o.sequences)})
        .buffer("saved", a.saved, {a.tokens, 3})
        .buffer("grad_loss", a.grad_loss, {static_cast<std::size_t>(o.sequences)})
        .buffer("grad_logits", a.grad_logits, {a.tokens, a.classes}, a.logits_stride);
    return check;
  }
};

// Sparse gates of a mixture of experts.
enum class topk_softmax_gating_order : std::int32_t { topk_then_softmax = 0, softmax_then_topk = 1 };

struct topk_softmax_gating_options {
  std::int64_t k = 2;  // experts per token; at most experts
  // which is done first
  losskit::topk_softmax_gating_order order = losskit::topk_softmax_gating_order::topk_then_softmax;
  lk_topk_softmax_gating_options c_options() const noexcept {
    lk_topk_softmax_gating_options c;
    lk_topk_softmax_gating_options_init(&c);
    c.k = k;
    c.order = static_cast<std::int32_t>(order);
    return c;
  }
};

struct topk_softmax_gating_arguments {
  std::size_t tokens = 0;  // number of tokens
  std::size_t experts = 0;  // number of experts
  floats logits = {};  // [tokens, experts]: scores of the experts
  span<float> gates = {};  // [tokens, k]: weights of the chosen experts
  span<std::int64_t> indices = {};  // [tokens, k]: which they are
  span<const float> grad_loss = {};  // upstream gradient, of the shape of gates; left out = ones
  mutable_floats grad_logits = {};  // of the shape of logits
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct topk_softmax_gating {
  static constexpr const char *name = "topk_softmax_gating";
  using options = topk_softmax_gating_options;
  using arguments = topk_softmax_gating_arguments;

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
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_topk_softmax_gating_forward(
        ctx.get(), &c, checked.dtype(), a.tokens, a.experts, a.logits.data(), a.gates.data(),
        a.indices.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_topk_softmax_gating_backward(
        ctx.get(), &c, checked.dtype(), a.tokens, a.experts, a.logits.data(), a.grad_loss.data(),
        a.grad_logits.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_topk_softmax_gating_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.tokens, a.experts, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    detail::Check check(name);
    check.buffer("logits", a.logits, {a.tokens, a.experts})
        .buffer("gates", a.gates, {a.tokens, static_cast<std::size_t>(o.k)})
        .buffer("indices", a.indices, {a.tokens, static_cast<std::size_t>(o.k)})
        .buffer("grad_loss", a.grad_loss, {a.tokens, static_cast<std::size_t>(o.k)})
        .buffer("grad_logits", a.grad_logits, {a.tokens, a.experts});
    return check;
  }
};

// Voronoi distance between the parameters of two mixtures of experts.
struct voronoi_loss_options {
  bool over_specified = false;  // the slower rates in cells of more than one member
  lk_voronoi_loss_options c_options() const noexcept {
    lk_voronoi_loss_options c;
    lk_voronoi_loss_options_init(&c);
    c.over_specified = over_specified ? 1 : 0;
    return c;
  }
};

struct voronoi_loss_arguments {
  std::size_t m = 0;  // number of fitted components
  std::size_t k = 0;  // number of true components
  std::size_t d = 0;  // features of a sample
  floats gate_bias = {};  // [m]: fitted biases of the gate
  floats gate_weight = {};  // [m, d]: fitted weights of the gate
  floats expert_weight = {};  // [m, d]: fitted weights of the experts' means
  floats expert_bias = {};  // [m]: fitted biases of the experts' means
  floats variance = {};  // [m]: fitted variances
  floats true_gate_bias = {};  // [k]: true biases of the gate
  floats true_gate_weight = {};  // [k, d]: true weights of the gate
  floats true_expert_weight = {};  // [k, d]: true weights of the experts' means
  floats true_expert_bias = {};  // [k]: true biases of the experts' means
  floats true_variance = {};  // [k]: true variances
  span<float> value = {};  // []: the distance
  span<std::int64_t> cells = {};  // [m]: the true component whose cell each fitted one belongs to
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct voronoi_loss {
  static constexpr const char *name = "voronoi_loss";
  using options = voronoi_loss_options;
  using arguments = voronoi_loss_arguments;

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
    return detail::outcome(lk_voronoi_loss_forward(
        ctx.get(), &c, checked.dtype(), a.m, a.k, a.d, a.gate_bias.data(), a.gate_weight.data(),
        a.expert_weight.data(), a.expert_bias.data(), a.variance.data(), a.true_gate_bias.data(),
        a.true_gate_weight.data(), a.true_expert_weight.data(), a.true_expert_bias.data(),
        a.true_variance.data(), a.value.data(), a.cells.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_voronoi_loss_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.m, a.k, a.d, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("gate_bias", a.gate_bias, {a.m})
        .buffer("gate_weight", a.gate_weight, {a.m, a.d})
        .buffer("expert_weight", a.expert_weight, {a.m, a.d})
        .buffer("expert_bias", a.expert_bias, {a.m})
        .buffer("variance", a.variance, {a.m})
        .buffer("true_gate_bias", a.true_gate_bias, {a.k})
        .buffer("true_gate_weight", a.true_gate_weight, {a.k, a.d})
        .buffer("true_expert_weight", a.true_expert_weight, {a.k, a.d})
        .buffer("true_expert_bias", a.true_expert_bias, {a.k})
        .buffer("true_variance", a.true_variance, {a.k})
        .buffer("value", a.value, {})
        .buffer("cells", a.cells, {a.m});
    return check;
  }
};

// ---- Robust and distillation ----

// Learning from bags of which only the mean response is known.
enum class aggregate_response_kind : std::int32_t { squared = 0, logistic = 1 };

struct aggregate_response_options {
  losskit::aggregate_response_kind kind = losskit::aggregate_response_kind::squared;  // which loss
  double instance_weight = 0.5;  // 0 for the bag level, 1 for the instance level
  lk_aggregate_response_options c_options() const noexcept {
    lk_aggregate_response_options c;
    lk_aggregate_response_options_init(&c);
    c.kind = static_cast<std::int32_t>(kind);
    c.instance_weight = instance_weight;
    return c;
  }
};

struct aggregate_response_arguments {
  std::size_t n = 0;  // number of instances
  std::size_t m = 0;  // number of bags
  floats pred = {};  // [n]: predictions; logits if kind is logistic
  span<const std::int64_t> bags = {};  // [n]: bag of each instance
  floats bag_targets = {};  // [m]: mean response of each bag; from 0 to 1 if kind is logistic
  span<float> loss = {};  // []: the two levels together
  span<float> bag_loss = {};  // []: mean over bags
  span<float> instance_loss = {};  // []: mean over instances
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_pred = {};  // of the shape of pred; may be pred itself
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct aggregate_response {
  static constexpr const char *name = "aggregate_response";
  using options = aggregate_response_options;
  using arguments = aggregate_response_arguments;

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
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_aggregate_response_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.m, a.pred.data(), a.bags.data(), a.bag_targets.data(),
        a.loss.data(), a.bag_loss.data(), a.instance_loss.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_aggregate_response_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.m, a.pred.data(), a.bags.data(), a.bag_targets.data(),
        a.grad_loss.data(), a.grad_pred.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_aggregate_response_forward_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.m, a.pred.data(), a.bags.data(), a.bag_targets.data(),
        a.grad_loss.data(), a.loss.data(), a.bag_loss.data(), a.instance_loss.data(), a.grad_pred.data(),
        a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_aggregate_response_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, a.m, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("pred", a.pred, {a.n})
        .buffer("bags", a.bags, {a.n})
        .buffer("bag_targets", a.bag_targets, {a.m})
        .buffer("loss", a.loss, {})
        .buffer("bag_loss", a.bag_loss, {})
        .buffer("instance_loss", a.instance_loss, {})
        .buffer("grad_loss", a.grad_loss, {})
        .buffer("grad_pred", a.grad_pred, {a.n});
    return check;
  }
};

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

// Distillation of each class as a binary decision (BinaryKL).
struct binary_kl_distillation_options {
  double temperature = 2.0;  // divides the logits of both
  Reduction reduction = Reduction::mean;  // mean divides by the number of rows
  lk_binary_kl_distillation_options c_options() const noexcept {
    lk_binary_kl_distillation_options c;
    lk_binary_kl_distillation_options_init(&c);
    c.temperature = temperature;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct binary_kl_distillation_arguments {
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

struct binary_kl_distillation {
  static constexpr const char *name = "binary_kl_distillation";
  using options = binary_kl_distillation_options;
  using arguments = binary_kl_distillation_arguments;

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
    return detail::outcome(lk_binary_kl_distillation_forward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.student.data(), a.teacher.data(),
        a.loss.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_binary_kl_distillation_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.student.data(), a.teacher.data(),
        a.grad_loss.data(), a.grad_student.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_binary_kl_distillation_forward_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.classes, a.student.data(), a.teacher.data(),
        a.grad_loss.data(), a.loss.data(), a.grad_student.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_binary_kl_distillation_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.rows, a.classes, &bytes));
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

// Small-loss selection between two networks.
struct co_teaching_options {
  double forget_rate = 0.2;  // share of the samples that is left out
  lk_co_teaching_options c_options() const noexcept {
    lk_co_teaching_options c;
    lk_co_teaching_options_init(&c);
    c.forget_rate = forget_rate;
    return c;
  }
};

struct co_teaching_arguments {
  std::size_t n = 0;  // number of samples
  floats losses_a = {};  // [n]: loss of each sample by the first network
  floats losses_b = {};  // [n]: by the second network
  span<float> loss = {};  // [2]: of the first network, of the second
  span<std::uint8_t> selected_a = {};  // [n]: 1 where the first network's loss is small
  span<std::uint8_t> selected_b = {};  // [n]: 1 where the second network's loss is small
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_losses_a = {};  // of the shape of losses_a
  mutable_floats grad_losses_b = {};  // of the shape of losses_b
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct co_teaching {
  static constexpr const char *name = "co_teaching";
  using options = co_teaching_options;
  using arguments = co_teaching_arguments;

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
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_co_teaching_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.losses_a.data(), a.losses_b.data(), a.loss.data(),
        a.selected_a.data(), a.selected_b.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_co_teaching_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.losses_a.data(), a.losses_b.data(), a.grad_loss.data(),
        a.grad_losses_a.data(), a.grad_losses_b.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_co_teaching_forward_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.losses_a.data(), a.losses_b.data(), a.grad_loss.data(),
        a.loss.data(), a.selected_a.data(), a.selected_b.data(), a.grad_losses_a.data(),
        a.grad_losses_b.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_co_teaching_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("losses_a", a.losses_a, {a.n})
        .buffer("losses_b", a.losses_b, {a.n})
        .buffer("loss", a.loss, {2})
        .buffer("selected_a", a.selected_a, {a.n})
        .buffer("selected_b", a.selected_b, {a.n})
        .buffer("grad_loss", a.grad_loss, {2})
        .buffer("grad_losses_a", a.grad_losses_a, {a.n})
        .buffer("grad_losses_b", a.grad_losses_b, {a.n});
    return check;
  }
};

// Coordinates exchanged between samples.
struct coordinate_shuffle_options {
  lk_coordinate_shuffle_options c_options() const noexcept {
    lk_coordinate_shuffle_options c;
    lk_coordinate_shuffle_options_init(&c);
    return c;
  }
};

struct coordinate_shuffle_arguments {
  std::size_t n = 0;  // number of samples
  std::size_t d = 0;  // number of coordinates
  floats x = {};  // [n, d]: samples
  span<const std::int64_t> permutation = {};  // [n]: which sample gives the coordinates of the mask
  span<const std::uint8_t> mask = {};  // [d]: 1 for coordinates that are taken from there
  mutable_floats output = {};  // [n, d]: the randomised samples
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct coordinate_shuffle {
  static constexpr const char *name = "coordinate_shuffle";
  using options = coordinate_shuffle_options;
  using arguments = coordinate_shuffle_arguments;

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
    return detail::outcome(lk_coordinate_shuffle_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.d, a.x.data(), a.permutation.data(), a.mask.data(),
        a.output.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_coordinate_shuffle_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, a.d, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("x", a.x, {a.n, a.d})
        .buffer("permutation", a.permutation, {a.n})
        .buffer("mask", a.mask, {a.d})
        .buffer("output", a.output, {a.n, a.d});
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

// Worst case over weights of the samples near a prior.
struct doubly_robust_reweighting_options {
  double temperature = 1.0;  // price of moving away from the prior
  lk_doubly_robust_reweighting_options c_options() const noexcept {
    lk_doubly_robust_reweighting_options c;
    lk_doubly_robust_reweighting_options_init(&c);
    c.temperature = temperature;
    return c;
  }
};

struct doubly_robust_reweighting_arguments {
  std::size_t n = 0;  // number of samples
  floats losses = {};  // [n]: loss of each sample
  span<const float> prior = {};  // [n]: weights to stay near, positive; leave out for equal ones
  span<float> loss = {};  // []: the weighted loss less the price
  span<float> weights = {};  // [n]: weights of the samples, of sum 1
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_losses = {};  // of the shape of losses; may be losses itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct doubly_robust_reweighting {
  static constexpr const char *name = "doubly_robust_reweighting";
  using options = doubly_robust_reweighting_options;
  using arguments = doubly_robust_reweighting_arguments;

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
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_doubly_robust_reweighting_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.losses.data(), a.prior.data(), a.loss.data(),
        a.weights.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_doubly_robust_reweighting_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.losses.data(), a.prior.data(), a.grad_loss.data(),
        a.grad_losses.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_doubly_robust_reweighting_forward_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.losses.data(), a.prior.data(), a.grad_loss.data(),
        a.loss.data(), a.weights.data(), a.grad_losses.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_doubly_robust_reweighting_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("losses", a.losses, {a.n})
        .buffer("prior", a.prior, {a.n})
        .buffer("loss", a.loss, {})
        .buffer("weights", a.weights, {a.n})
        .buffer("grad_loss", a.grad_loss, {})
        .buffer("grad_losses", a.grad_losses, {a.n});
    return check;
  }
};

// Cross entropy of the average of an ensemble.
enum class ensemble_cross_entropy_average : std::int32_t { logits = 0, probabilities = 1 };

struct ensemble_cross_entropy_options {
  // what is averaged
  losskit::ensemble_cross_entropy_average average = losskit::ensemble_cross_entropy_average::logits;
  Reduction reduction = Reduction::mean;  // mean divides by the number of rows
  lk_ensemble_cross_entropy_options c_options() const noexcept {
    lk_ensemble_cross_entropy_options c;
    lk_ensemble_cross_entropy_options_init(&c);
    c.average = static_cast<std::int32_t>(average);
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct ensemble_cross_entropy_arguments {
  std::size_t models = 0;  // number of models
  std::size_t rows = 0;  // number of samples
  std::size_t classes = 0;  // number of classes
  floats logits = {};  // [models, rows, classes]: scores of each model, one row per sample
  span<const std::int64_t> labels = {};  // [rows]: class of each sample
  span<float> loss = {};  // [rows], or one element unless reduction is none: the loss
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_logits = {};  // of the shape of logits
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct ensemble_cross_entropy {
  static constexpr const char *name = "ensemble_cross_entropy";
  using options = ensemble_cross_entropy_options;
  using arguments = ensemble_cross_entropy_arguments;

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
    return detail::outcome(lk_ensemble_cross_entropy_forward(
        ctx.get(), &c, checked.dtype(), a.models, a.rows, a.classes, a.logits.data(), a.labels.data(),
        a.loss.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_ensemble_cross_entropy_backward(
        ctx.get(), &c, checked.dtype(), a.models, a.rows, a.classes, a.logits.data(), a.labels.data(),
        a.grad_loss.data(), a.grad_logits.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_ensemble_cross_entropy_forward_backward(
        ctx.get(), &c, checked.dtype(), a.models, a.rows, a.classes, a.logits.data(), a.labels.data(),
        a.grad_loss.data(), a.loss.data(), a.grad_logits.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_ensemble_cross_entropy_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.models, a.rows, a.classes, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("logits", a.logits, {a.models, a.rows, a.classes})
        .buffer("labels", a.labels, {a.rows})
        .buffer("loss", a.loss, {each ? a.rows : 1})
        .buffer("grad_loss", a.grad_loss, {each ? a.rows : 1})
        .buffer("grad_logits", a.grad_logits, {a.models, a.rows, a.classes});
    return check;
  }
};

// What the next unit of a gradient-boosted network is fitted to.
enum class gradient_boosting_residuals_kind : std::int32_t { squared = 0, logistic = 1, softmax = 2 };

struct gradient_boosting_residuals_options {
  // the loss
  losskit::gradient_boosting_residuals_kind kind = losskit::gradient_boosting_residuals_kind::squared;
  lk_gradient_boosting_residuals_options c_options() const noexcept {
    lk_gradient_boosting_residuals_options c;
    lk_gradient_boosting_residuals_options_init(&c);
    c.kind = static_cast<std::int32_t>(kind);
    return c;
  }
};

struct gradient_boosting_residuals_arguments {
  std::size_t n = 0;  // number of samples
  std::size_t k = 0;  // outputs or classes
  floats pred = {};  // [n, k]: the additive model so far; logits for logistic and softmax
  floats target = {};  // [n, k]: what it should predict
  span<float> residuals = {};  // [n, k]: negative slopes of the losses
  span<float> hessian = {};  // [n, k]: diagonal of the second derivatives
  span<float> losses = {};  // [n]: loss of each sample
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct gradient_boosting_residuals {
  static constexpr const char *name = "gradient_boosting_residuals";
  using options = gradient_boosting_residuals_options;
  using arguments = gradient_boosting_residuals_arguments;

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
    return detail::outcome(lk_gradient_boosting_residuals_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.k, a.pred.data(), a.target.data(), a.residuals.data(),
        a.hessian.data(), a.losses.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_gradient_boosting_residuals_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, a.k, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("pred", a.pred, {a.n, a.k})
        .buffer("target", a.target, {a.n, a.k})
        .buffer("residuals", a.residuals, {a.n, a.k})
        .buffer("hessian", a.hessian, {a.n, a.k})
        .buffer("losses", a.losses, {a.n});
    return check;
  }
};

// Step size of a new unit in a gradient-boosted network.
enum class gradient_boosting_step_kind : std::int32_t { squared = 0, logistic = 1, softmax = 2 };

struct gradient_boosting_step_options {
  losskit::gradient_boosting_step_kind kind = losskit::gradient_boosting_step_kind::squared;  // the loss
  bool per_class = true;  // a step for each output instead of one for all
  lk_gradient_boosting_step_options c_options() const noexcept {
    lk_gradient_boosting_step_options c;
    lk_gradient_boosting_step_options_init(&c);
    c.kind = static_cast<std::int32_t>(kind);
    c.per_class = per_class ? 1 : 0;
    return c;
  }
};

struct gradient_boosting_step_arguments {
  std::size_t n = 0;  // number of samples
  std::size_t k = 0;  // outputs or classes
  floats pred = {};  // [n, k]: the additive model so far; logits for logistic and softmax
  floats target = {};  // [n, k]: what it should predict
  floats direction = {};  // [n, k]: output of the new unit
  span<float> rho = {};  // [k], [] where per_class is not set: step sizes
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct gradient_boosting_step {
  static constexpr const char *name = "gradient_boosting_step";
  using options = gradient_boosting_step_options;
  using arguments = gradient_boosting_step_arguments;

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
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_gradient_boosting_step_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.k, a.pred.data(), a.target.data(), a.direction.data(),
        a.rho.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_gradient_boosting_step_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, a.k, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    detail::Check check(name);
    check.buffer("pred", a.pred, {a.n, a.k})
        .buffer("target", a.target, {a.n, a.k})
        .buffer("direction", a.direction, {a.n, a.k})
        .buffer("rho", a.rho, {(!o.per_class ? 1 : a.k)});
    return check;
  }
};

// Centred kernel alignment of features with targets or other features (linear CKA).
struct kernel_alignment_options {
  bool centered = true;  // take the means of columns away first
  lk_kernel_alignment_options c_options() const noexcept {
    lk_kernel_alignment_options c;
    lk_kernel_alignment_options_init(&c);
    c.centered = centered ? 1 : 0;
    return c;
  }
};

struct kernel_alignment_arguments {
  std::size_t n = 0;  // number of samples
  std::size_t d = 0;  // features
  std::size_t k = 0;  // targets or other features
  floats a = {};  // [n, d]: features
  floats b = {};  // [n, k]: targets, one-hot or values, or other features
  span<float> value = {};  // []: the alignment
  span<const float> grad_loss = {};  // upstream gradient, of the shape of value; left out = ones
  mutable_floats grad_a = {};  // of the shape of a
  mutable_floats grad_b = {};  // of the shape of b
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct kernel_alignment {
  static constexpr const char *name = "kernel_alignment";
  using options = kernel_alignment_options;
  using arguments = kernel_alignment_arguments;

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
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_kernel_alignment_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.d, a.k, a.a.data(), a.b.data(), a.value.data(),
        a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_kernel_alignment_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.d, a.k, a.a.data(), a.b.data(), a.grad_loss.data(),
        a.grad_a.data(), a.grad_b.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_kernel_alignment_forward_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.d, a.k, a.a.data(), a.b.data(), a.grad_loss.data(),
        a.value.data(), a.grad_a.data(), a.grad_b.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_kernel_alignment_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, a.d, a.k, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("a", a.a, {a.n, a.d})
        .buffer("b", a.b, {a.n, a.k})
        .buffer("value", a.value, {})
        .buffer("grad_loss", a.grad_loss, {})
        .buffer("grad_a", a.grad_a, {a.n, a.d})
        .buffer("grad_b", a.grad_b, {a.n, a.k});
    return check;
  }
};

// Mean cross entropy of an output layer over several dropout samples of its features.
struct multi_sample_dropout_cross_entropy_options {
  double dropout = 0.5;  // probability that a feature is dropped
  // dropout samples per row; with masks their first extent, which Python takes from them
  std::int64_t samples = 8;
  std::uint64_t seed = 0;  // key of the random numbers
  std::uint64_t offset = 0;  // first counter block of the random numbers
  Reduction reduction = Reduction::mean;  // of the losses of the rows
  lk_multi_sample_dropout_cross_entropy_options c_options() const noexcept {
    lk_multi_sample_dropout_cross_entropy_options c;
    lk_multi_sample_dropout_cross_entropy_options_init(&c);
    c.dropout = dropout;
    c.samples = samples;
    c.seed = seed;
    c.offset = offset;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct multi_sample_dropout_cross_entropy_arguments {
  std::size_t rows = 0;  // number of samples of the batch
  std::size_t d = 0;  // features of a row
  std::size_t classes = 0;  // number of classes
  floats features = {};  // [rows, d]: features before dropout, one row per sample of the batch
  floats weight = {};  // [classes, d]: weights of the output layer, one row per class
  floats bias = {};  // [classes]: bias of each class; leave out for none
  span<const std::int64_t> labels = {};  // [rows]: class of each row
  // [samples, rows, d]: 1 where a feature is kept; leave out: drawn from seed and offset
  span<const std::uint8_t> masks = {};
  span<float> loss = {};  // [rows], or one element unless reduction is none: the loss
  span<float> saved = {};  // [rows*samples, 3]: written by forward, spares backward a pass
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_features = {};  // of the shape of features
  mutable_floats grad_weight = {};  // of the shape of weight
  mutable_floats grad_bias = {};  // of the shape of bias
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct multi_sample_dropout_cross_entropy {
  static constexpr const char *name = "multi_sample_dropout_cross_entropy";
  using options = multi_sample_dropout_cross_entropy_options;
  using arguments = multi_sample_dropout_cross_entropy_arguments;

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
    return detail::outcome(lk_multi_sample_dropout_cross_entropy_forward(
        ctx.get(), &c, checked.dtype(), a.rows, a.d, a.classes, a.features.data(), a.weight.data(),
        a.bias.data(), a.labels.data(), a.masks.data(), a.loss.data(), a.saved.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_multi_sample_dropout_cross_entropy_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.d, a.classes, a.features.data(), a.weight.data(),
        a.bias.data(), a.labels.data(), a.masks.data(), a.saved.data(), a.grad_loss.data(),
        a.grad_features.data(), a.grad_weight.data(), a.grad_bias.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_multi_sample_dropout_cross_entropy_forward_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.d, a.classes, a.features.data(), a.weight.data(),
        a.bias.data(), a.labels.data(), a.masks.data(), a.grad_loss.data(), a.loss.data(),
        a.grad_features.data(), a.grad_weight.data(), a.grad_bias.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_multi_sample_dropout_cross_entropy_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.rows, a.d, a.classes, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("features", a.features, {a.rows, a.d})
        .buffer("weight", a.weight, {a.classes, a.d})
        .buffer("bias", a.bias, {a.classes})
        .buffer("labels", a.labels, {a.rows})
        .buffer("masks", a.masks, {static_cast<std::size_t>(o.samples), a.rows, a.d})
        .buffer("loss", a.loss, {each ? a.rows : 1})
        .buffer("saved", a.saved, {a.rows * static_cast<std::size_t>(o.samples), 3})
        .buffer("grad_loss", a.grad_loss, {each ? a.rows : 1})
        .buffer("grad_features", a.grad_features, {a.rows, a.d})
        .buffer("grad_weight", a.grad_weight, {a.classes, a.d})
        .buffer("grad_bias", a.grad_bias, {a.classes});
    return check;
  }
};

// Dropout of all channels from some place on.
struct nested_dropout_options {
  lk_nested_dropout_options c_options() const noexcept {
    lk_nested_dropout_options c;
    lk_nested_dropout_options_init(&c);
    return c;
  }
};

struct nested_dropout_arguments {
  std::size_t rows = 0;  // number of samples
  std::size_t channels = 0;  // number of features of each
  floats features = {};  // [rows, channels]: features
  span<const std::int64_t> keep = {};  // [rows]: channels to keep of each sample, from 0 to channels
  mutable_floats output = {};  // [rows, channels]: features with zeros
  span<const float> grad_loss = {};  // upstream gradient, of the shape of output; left out = ones
  mutable_floats grad_features = {};  // of the shape of features
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct nested_dropout {
  static constexpr const char *name = "nested_dropout";
  using options = nested_dropout_options;
  using arguments = nested_dropout_arguments;

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
    return detail::outcome(lk_nested_dropout_forward(
        ctx.get(), &c, checked.dtype(), a.rows, a.channels, a.features.data(), a.keep.data(),
        a.output.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_nested_dropout_backward(
        ctx.get(), &c, checked.dtype(), a.rows, a.channels, a.features.data(), a.keep.data(),
        a.grad_loss.data(), a.grad_features.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_nested_dropout_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.rows, a.channels, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("features", a.features, {a.rows, a.channels})
        .buffer("keep", a.keep, {a.rows})
        .buffer("output", a.output, {a.rows, a.channels})
        .buffer("grad_loss", a.grad_loss, {a.rows, a.channels})
        .buffer("grad_features", a.grad_features, {a.rows, a.channels});
    return check;
  }
};

// How many channels nested dropout keeps.
enum class nested_dropout_sample_distribution : std::int32_t { uniform = 0, geometric = 1 };

struct nested_dropout_sample_options {
  // of the numbers
  losskit::nested_dropout_sample_distribution distribution = losskit::nested_dropout_sample_distribution::uniform;
  double rate = 0.1;  // chance to stop after each channel; geometric only
  std::uint64_t seed = 0;  // key of the random numbers
  std::uint64_t offset = 0;  // first counter block of the random numbers
  lk_nested_dropout_sample_options c_options() const noexcept {
    lk_nested_dropout_sample_options c;
    lk_nested_dropout_sample_options_init(&c);
    c.distribution = static_cast<std::int32_t>(distribution);
    c.rate = rate;
    c.seed = seed;
    c.offset = offset;
    return c;
  }
};

struct nested_dropout_sample_arguments {
  std::size_t rows = 0;  // number of samples
  std::size_t channels = 0;  // number of features of each
  span<std::int64_t> keep = {};  // [rows]: channels to keep of each sample
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct nested_dropout_sample {
  static constexpr const char *name = "nested_dropout_sample";
  using options = nested_dropout_sample_options;
  using arguments = nested_dropout_sample_arguments;

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
    return detail::outcome(lk_nested_dropout_sample_forward(
        ctx.get(), &c, checked.dtype(), a.rows, a.channels, a.keep.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_nested_dropout_sample_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.rows, a.channels, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("keep", a.keep, {a.rows});
    return check;
  }
};

// Area under the receiver operating characteristic.
struct roc_auc_options {
  lk_roc_auc_options c_options() const noexcept {
    lk_roc_auc_options c;
    lk_roc_auc_options_init(&c);
    return c;
  }
};

struct roc_auc_arguments {
  std::size_t n = 0;  // number of samples
  floats scores = {};  // [n]: the larger, the more positive
  span<const std::uint8_t> labels = {};  // [n]: 0 for negatives
  span<float> value = {};  // []: the area, between 0 and 1
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct roc_auc {
  static constexpr const char *name = "roc_auc";
  using options = roc_auc_options;
  using arguments = roc_auc_arguments;

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
    return detail::outcome(lk_roc_auc_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.scores.data(), a.labels.data(), a.value.data(),
        a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_roc_auc_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("scores", a.scores, {a.n})
        .buffer("labels", a.labels, {a.n})
        .buffer("value", a.value, {});
    return check;
  }
};

// Mask of the weights with the largest gradients.
struct saliency_mask_options {
  double fraction = 0.5;  // of the weights to keep in the mask
  lk_saliency_mask_options c_options() const noexcept {
    lk_saliency_mask_options c;
    lk_saliency_mask_options_init(&c);
    c.fraction = fraction;
    return c;
  }
};

struct saliency_mask_arguments {
  std::size_t n = 0;  // number of weights
  floats gradient = {};  // [n]: gradient of the loss on what is to be forgotten, at the original weights
  span<std::uint8_t> mask = {};  // [n]: 1 for salient weights
  span<float> threshold = {};  // []: smallest magnitude kept
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct saliency_mask {
  static constexpr const char *name = "saliency_mask";
  using options = saliency_mask_options;
  using arguments = saliency_mask_arguments;

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
    return detail::outcome(lk_saliency_mask_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.gradient.data(), a.mask.data(), a.threshold.data(),
        a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_saliency_mask_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("gradient", a.gradient, {a.n})
        .buffer("mask", a.mask, {a.n})
        .buffer("threshold", a.threshold, {});
    return check;
  }
};

// Synthetic data with simple and complex coordinates.
struct slab_features_options {
  double margin = 0.1;  // distance between the classes
  std::uint64_t seed = 0;  // key of the random numbers; without uniforms only
  std::uint64_t offset = 0;  // first counter block of the random numbers
  lk_slab_features_options c_options() const noexcept {
    lk_slab_features_options c;
    lk_slab_features_options_init(&c);
    c.margin = margin;
    c.seed = seed;
    c.offset = offset;
    return c;
  }
};

struct slab_features_arguments {
  std::size_t n = 0;  // number of samples
  std::size_t coordinates = 0;  // coordinates of a sample
  floats target = {};  // [n]: +1 or -1
  span<const float> uniforms = {};  // [n, coordinates]: uniform numbers; leave out to draw them
  span<const std::int64_t> slabs = {};  // [coordinates]: slabs of each coordinate, odd
  span<float> features = {};  // [n, coordinates]: the samples
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct slab_features {
  static constexpr const char *name = "slab_features";
  using options = slab_features_options;
  using arguments = slab_features_arguments;

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
    return detail::outcome(lk_slab_features_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.coordinates, a.target.data(), a.uniforms.data(),
        a.slabs.data(), a.features.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_slab_features_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, a.coordinates, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("target", a.target, {a.n})
        .buffer("uniforms", a.uniforms, {a.n, a.coordinates})
        .buffer("slabs", a.slabs, {a.coordinates})
        .buffer("features", a.features, {a.n, a.coordinates});
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

// Unlearning by random labels: forget some samples, retain others.
struct unlearning_cross_entropy_options {
  double retain_weight = 1.0;  // weight of what is retained
  lk_unlearning_cross_entropy_options c_options() const noexcept {
    lk_unlearning_cross_entropy_options c;
    lk_unlearning_cross_entropy_options_init(&c);
    c.retain_weight = retain_weight;
    return c;
  }
};

struct unlearning_cross_entropy_arguments {
  std::size_t n = 0;  // number of samples to forget
  std::size_t m = 0;  // number of samples to retain
  std::size_t classes = 0;  // number of classes
  floats forget_logits = {};  // [n, classes]: scores of samples to forget
  span<const std::int64_t> random_labels = {};  // [n]: random classes for them
  floats retain_logits = {};  // [m, classes]: scores of samples to retain
  span<const std::int64_t> retain_labels = {};  // [m]: their classes
  span<float> loss = {};  // []: the loss
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_forget_logits = {};  // of the shape of forget_logits; may be forget_logits itself
  mutable_floats grad_retain_logits = {};  // of the shape of retain_logits; may be retain_logits itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct unlearning_cross_entropy {
  static constexpr const char *name = "unlearning_cross_entropy";
  using options = unlearning_cross_entropy_options;
  using arguments = unlearning_cross_entropy_arguments;

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
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_unlearning_cross_entropy_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.m, a.classes, a.forget_logits.data(),
        a.random_labels.data(), a.retain_logits.data(), a.retain_labels.data(), a.loss.data(),
        a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_unlearning_cross_entropy_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.m, a.classes, a.forget_logits.data(),
        a.random_labels.data(), a.retain_logits.data(), a.retain_labels.data(), a.grad_loss.data(),
        a.grad_forget_logits.data(), a.grad_retain_logits.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_unlearning_cross_entropy_forward_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.m, a.classes, a.forget_logits.data(),
        a.random_labels.data(), a.retain_logits.data(), a.retain_labels.data(), a.grad_loss.data(),
        a.loss.data(), a.grad_forget_logits.data(), a.grad_retain_logits.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_unlearning_cross_entropy_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, a.m, a.classes, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("forget_logits", a.forget_logits, {a.n, a.classes})
        .buffer("random_labels", a.random_labels, {a.n})
        .buffer("retain_logits", a.retain_logits, {a.m, a.classes})
        .buffer("retain_labels", a.retain_labels, {a.m})
        .buffer("loss", a.loss, {})
        .buffer("grad_loss", a.grad_loss, {})
        .buffer("grad_forget_logits", a.grad_forget_logits, {a.n, a.classes})
        .buffer("grad_retain_logits", a.grad_retain_logits, {a.m, a.classes});
    return check;
  }
};

// Unlearning of a diffusion model by mismatched concepts.
struct unlearning_mse_options {
  double retain_weight = 1.0;  // weight of what is retained
  lk_unlearning_mse_options c_options() const noexcept {
    lk_unlearning_mse_options c;
    lk_unlearning_mse_options_init(&c);
    c.retain_weight = retain_weight;
    return c;
  }
};

struct unlearning_mse_arguments {
  std::size_t n = 0;  // number of elements to forget
  std::size_t m = 0;  // number of elements to retain
  floats forget_pred = {};  // [n]: predictions for the concept to forget
  floats mismatched_target = {};  // [n]: predictions for another concept
  floats retain_pred = {};  // [m]: predictions for concepts to retain
  floats retain_target = {};  // [m]: their targets
  span<float> loss = {};  // []: the loss
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_forget_pred = {};  // of the shape of forget_pred; may be forget_pred itself
  mutable_floats grad_retain_pred = {};  // of the shape of retain_pred; may be retain_pred itself
  void *workspace = nullptr;  // memory of the device; not needed on the CPU
  std::size_t workspace_bytes = 0;
};

struct unlearning_mse {
  static constexpr const char *name = "unlearning_mse";
  using options = unlearning_mse_options;
  using arguments = unlearning_mse_arguments;

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
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_unlearning_mse_forward(
        ctx.get(), &c, checked.dtype(), a.n, a.m, a.forget_pred.data(), a.mismatched_target.data(),
        a.retain_pred.data(), a.retain_target.data(), a.loss.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_unlearning_mse_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.m, a.forget_pred.data(), a.mismatched_target.data(),
        a.retain_pred.data(), a.retain_target.data(), a.grad_loss.data(), a.grad_forget_pred.data(),
        a.grad_retain_pred.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_unlearning_mse_forward_backward(
        ctx.get(), &c, checked.dtype(), a.n, a.m, a.forget_pred.data(), a.mismatched_target.data(),
        a.retain_pred.data(), a.retain_target.data(), a.grad_loss.data(), a.loss.data(),
        a.grad_forget_pred.data(), a.grad_retain_pred.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_unlearning_mse_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.n, a.m, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("forget_pred", a.forget_pred, {a.n})
        .buffer("mismatched_target", a.mismatched_target, {a.n})
        .buffer("retain_pred", a.retain_pred, {a.m})
        .buffer("retain_target", a.retain_target, {a.m})
        .buffer("loss", a.loss, {})
        .buffer("grad_loss", a.grad_loss, {})
        .buffer("grad_forget_pred", a.grad_forget_pred, {a.n})
        .buffer("grad_retain_pred", a.grad_retain_pred, {a.m});
    return check;
  }
};

// ---- Segmentation ----

// Betti matching: topological loss that compares features where they lie in the image.
struct betti_matching_loss_options {
  Reduction reduction = Reduction::mean;  // over images; mean divides by batch
  lk_betti_matching_loss_options c_options() const noexcept {
    lk_betti_matching_loss_options c;
    lk_betti_matching_loss_options_init(&c);
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct betti_matching_loss_arguments {
  std::size_t batch = 0;  // number of images
  std::size_t depth = 0;  // voxels along z; 1 for planes
  std::size_t height = 0;  // voxels along y
  std::size_t width = 0;  // voxels along x
  floats pred = {};  // [batch, depth, height, width]: foreground probabilities, or any values
  floats target = {};  // [batch, depth, height, width]: truth, usually 0 and 1
  span<float> loss = {};  // [batch], or one element unless reduction is none: the loss
  // [batch]: matched pairs of bars of each image, with that of the bars that never die
  span<std::int64_t> matched = {};
  span<std::int64_t> unmatched = {};  // [batch]: unmatched bars of pred and target together
  span<float> saved = {};  // [batch, depth*height*width]: written by forward, spares backward a pass
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_pred = {};  // of the shape of pred; may be pred itself
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct betti_matching_loss {
  static constexpr const char *name = "betti_matching_loss";
  using options = betti_matching_loss_options;
  using arguments = betti_matching_loss_arguments;

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
    return detail::outcome(lk_betti_matching_loss_forward(
        ctx.get(), &c, checked.dtype(), a.batch, a.depth, a.height, a.width, a.pred.data(),
        a.target.data(), a.loss.data(), a.matched.data(), a.unmatched.data(), a.saved.data(),
        a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_betti_matching_loss_backward(
        ctx.get(), &c, checked.dtype(), a.batch, a.depth, a.height, a.width, a.pred.data(),
        a.target.data(), a.saved.data(), a.grad_loss.data(), a.grad_pred.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_betti_matching_loss_forward_backward(
        ctx.get(), &c, checked.dtype(), a.batch, a.depth, a.height, a.width, a.pred.data(),
        a.target.data(), a.grad_loss.data(), a.loss.data(), a.matched.data(), a.unmatched.data(),
        a.grad_pred.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_betti_matching_loss_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.batch, a.depth, a.height, a.width, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("pred", a.pred, {a.batch, a.depth, a.height, a.width})
        .buffer("target", a.target, {a.batch, a.depth, a.height, a.width})
        .buffer("loss", a.loss, {each ? a.batch : 1})
        .buffer("matched", a.matched, {a.batch})
        .buffer("unmatched", a.unmatched, {a.batch})
        .buffer("saved", a.saved, {a.batch, a.depth * a.height * a.width})
        .buffer("grad_loss", a.grad_loss, {each ? a.batch : 1})
        .buffer("grad_pred", a.grad_pred, {a.batch, a.depth, a.height, a.width});
    return check;
  }
};

// Persistence barcode of an image or volume, by superlevel sets.
struct cubical_persistence_options {
  lk_cubical_persistence_options c_options() const noexcept {
    lk_cubical_persistence_options c;
    lk_cubical_persistence_options_init(&c);
    return c;
  }
};

struct cubical_persistence_arguments {
  std::size_t depth = 0;  // voxels along z; 1 for a plane
  std::size_t height = 0;  // voxels along y
  std::size_t width = 0;  // voxels along x
  std::size_t bars = 0;  // room of the outputs; 2*depth*height*width is always enough
  floats image = {};  // [depth, height, width]: values
  span<float> births = {};  // [bars]: value at which each bar is born; the first count are written
  // [bars]: value at which it dies; -inf for the bar that never does; the first count are written
  span<float> deaths = {};
  // [bars]: 0 component, 1 loop, 2 hollow; the first count are written
  span<std::int64_t> dimensions = {};
  // [bars]: flat index of the voxel that it is born with; the first count are written
  span<std::int64_t> birth_voxels = {};
  // [bars]: flat index of the voxel that it dies with; -1 for the bar that never does; the first count are written
  span<std::int64_t> death_voxels = {};
  span<std::int64_t> count = {};  // []: number of bars
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct cubical_persistence {
  static constexpr const char *name = "cubical_persistence";
  using options = cubical_persistence_options;
  using arguments = cubical_persistence_arguments;

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
    return detail::outcome(lk_cubical_persistence_forward(
        ctx.get(), &c, checked.dtype(), a.depth, a.height, a.width, a.bars, a.image.data(),
        a.births.data(), a.deaths.data(), a.dimensions.data(), a.birth_voxels.data(),
        a.death_voxels.data(), a.count.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_cubical_persistence_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.depth, a.height, a.width, a.bars, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("image", a.image, {a.depth, a.height, a.width})
        .buffer("births", a.births, {a.bars})
        .buffer("deaths", a.deaths, {a.bars})
        .buffer("dimensions", a.dimensions, {a.bars})
        .buffer("birth_voxels", a.birth_voxels, {a.bars})
        .buffer("death_voxels", a.death_voxels, {a.bars})
        .buffer("count", a.count, {});
    return check;
  }
};

// Soft Dice, Tversky, focal Tversky and Jaccard loss of segmentations.
enum class dice_loss_activation : std::int32_t { softmax = 0, sigmoid = 1, none = 2 };

struct dice_loss_options {
  // what makes probabilities of pred: softmax over the classes, sigmoid, or nothing
  losskit::dice_loss_activation activation = losskit::dice_loss_activation::softmax;
  double alpha = 0.5;  // weight of false positives
  double beta = 0.5;  // weight of false negatives
  double smooth = 1e-5;  // added to numerator and denominator
  double gamma = 1.0;  // focal exponent
  bool squared = false;  // sums of squares for P and T
  bool include_background = true;  // whether class 0 counts where there is more than one
  bool batch = false;  // whether the sums run over all images
  std::int64_t ignore_index = -100;  // pixels with this label count as absent in prediction and truth
  // over images and classes; mean divides by the number of losses that count
  Reduction reduction = Reduction::mean;
  lk_dice_loss_options c_options() const noexcept {
    lk_dice_loss_options c;
    lk_dice_loss_options_init(&c);
    c.activation = static_cast<std::int32_t>(activation);
    c.alpha = alpha;
    c.beta = beta;
    c.smooth = smooth;
    c.gamma = gamma;
    c.squared = squared ? 1 : 0;
    c.include_background = include_background ? 1 : 0;
    c.batch = batch ? 1 : 0;
    c.ignore_index = ignore_index;
    c.reduction = static_cast<std::int32_t>(reduction);
    return c;
  }
};

struct dice_loss_arguments {
  std::size_t batch = 0;  // number of images
  std::size_t classes = 0;  // number of classes
  std::size_t pixels = 0;  // number of pixels or voxels of an image
  floats pred = {};  // [batch, classes, pixels]: scores, or probabilities where activation is none
  // [batch, pixels]: class of each pixel; leave out if target is given
  span<const std::int64_t> labels = {};
  // [batch, classes, pixels]: share of each class in each pixel, in [0, 1]; leave out if labels are given
  floats target = {};
  // [batch, classes], [classes] where batch is set, or one element unless reduction is none: the loss
  span<float> loss = {};
  span<float> saved = {};  // [batch, classes, 4]: written by forward, spares backward a pass
  span<const float> grad_loss = {};  // upstream gradient, of the shape of loss; left out = ones
  mutable_floats grad_pred = {};  // of the shape of pred; may be pred itself
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct dice_loss {
  static constexpr const char *name = "dice_loss";
  using options = dice_loss_options;
  using arguments = dice_loss_arguments;

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
    return detail::outcome(lk_dice_loss_forward(
        ctx.get(), &c, checked.dtype(), a.batch, a.classes, a.pixels, a.pred.data(), a.labels.data(),
        a.target.data(), a.loss.data(), a.saved.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_dice_loss_backward(
        ctx.get(), &c, checked.dtype(), a.batch, a.classes, a.pixels, a.pred.data(), a.labels.data(),
        a.target.data(), a.saved.data(), a.grad_loss.data(), a.grad_pred.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_forward_backward(const Context &ctx, const arguments &a, const options &o = {}) {
    const detail::Check checked = check(a, o);
    if (!checked.status().ok()) return checked.status();
    const auto c = o.c_options();
    return detail::outcome(lk_dice_loss_forward_backward(
        ctx.get(), &c, checked.dtype(), a.batch, a.classes, a.pixels, a.pred.data(), a.labels.data(),
        a.target.data(), a.grad_loss.data(), a.loss.data(), a.grad_pred.data(), a.workspace,
        a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_dice_loss_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.batch, a.classes, a.pixels, &bytes));
  }

 private:
  static detail::Check check(const arguments &a, const options &o) {
    const bool each = o.reduction == Reduction::none;
    detail::Check check(name);
    check.buffer("pred", a.pred, {a.batch, a.classes, a.pixels})
        .buffer("labels", a.labels, {a.batch, a.pixels})
        .buffer("target", a.target, {a.batch, a.classes, a.pixels})
        .buffer("loss", a.loss, {each ? (o.batch ? 1 : a.batch) : 1, each ? a.classes : 1})
        .buffer("saved", a.saved, {a.batch, a.classes, 4})
        .buffer("grad_loss", a.grad_loss, {each ? (o.batch ? 1 : a.batch) : 1, each ? a.classes : 1})
        .buffer("grad_pred", a.grad_pred, {a.batch, a.classes, a.pixels});
    return check;
  }
};

// Exact Euclidean distance of every voxel to the nearest zero.
struct distance_transform_options {
  lk_distance_transform_options c_options() const noexcept {
    lk_distance_transform_options c;
    lk_distance_transform_options_init(&c);
    return c;
  }
};

struct distance_transform_arguments {
  std::size_t batch = 0;  // number of images
  std::size_t depth = 0;  // voxels along z; 1 for planes
  std::size_t height = 0;  // voxels along y
  std::size_t width = 0;  // voxels along x
  span<const std::uint8_t> mask = {};  // [batch, depth, height, width]: 0 background, else foreground
  span<float> distance = {};  // [batch, depth, height, width]: distance to the nearest zero
  void *workspace = nullptr;  // of the size that workspace_size() tells
  std::size_t workspace_bytes = 0;
};

struct distance_transform {
  static constexpr const char *name = "distance_transform";
  using options = distance_transform_options;
  using arguments = distance_transform_arguments;

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
    return detail::outcome(lk_distance_transform_forward(
        ctx.get(), &c, checked.dtype(), a.batch, a.depth, a.height, a.width, a.mask.data(),
        a.distance.data(), a.workspace, a.workspace_bytes));
  }
  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,
                                   const options &o = {}) {
    const auto c = o.c_options();
    return detail::outcome(
        lk_distance_transform_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), a.batch, a.depth, a.height, a.width, &bytes));
  }

 private:
  static detail::Check check(const arguments &a) {
    detail::Check check(name);
    check.buffer("mask", a.mask, {a.batch, a.depth, a.height, a.width})
        .buffer("distance", a.distance, {a.batch, a.depth, a.height, a.width});
    return check;
  }
};

}  // namespace losskit

#endif  // LOSSKIT_ENTRIES_HPP
