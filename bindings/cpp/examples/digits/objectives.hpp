// The losses that are compared, each a call of losskit: logits and labels in, loss and gradient out.
#pragma once

#include "data.hpp"

#include <losskit.hpp>

#include <string>
#include <vector>

// What goes into a loss and comes out of it, stored as T: float or losskit::bf16.
template <class T>
struct Batch {
  std::size_t rows;
  std::vector<T> logits;             // [rows, CLASSES]
  std::vector<std::int64_t> labels;  // [rows]
  std::vector<T> gradient;           // [rows, CLASSES]
};

enum class Kind { cross_entropy, comp_sum, z_loss, one_vs_rest };

struct Objective {
  std::string name;
  Kind kind;
  double tau;
};

inline std::vector<Objective> objectives() {
  return {{"cross entropy", Kind::cross_entropy, 1},
          {"comp-sum, tau = 0.5", Kind::comp_sum, 0.5},
          {"comp-sum, tau = 1.5", Kind::comp_sum, 1.5},
          {"comp-sum, tau = 2 (MAE)", Kind::comp_sum, 2},
          {"Z-loss", Kind::z_loss, 0},
          {"one-vs-rest BCE", Kind::one_vs_rest, 0}};
}

// Any entry that takes logits and one label per row.
template <class Loss, class T>
float on_labels(const losskit::Context &ctx, Batch<T> &batch, const typename Loss::options &options) {
  float loss = 0;
  typename Loss::arguments call;
  call.rows = batch.rows, call.classes = CLASSES;
  call.logits = batch.logits, call.labels = batch.labels;
  call.loss = {&loss, 1}, call.grad_logits = batch.gradient;
  Loss::forward_backward(ctx, call, options);
  return loss;
}

// Ten yes-or-no questions per image, their losses summed.
template <class T>
float on_one_hot(const losskit::Context &ctx, Batch<T> &batch) {
  std::vector<T> target(batch.rows * CLASSES, T(0.0f));
  for (std::size_t r = 0; r < batch.rows; r++) {
    target[r * CLASSES + static_cast<std::size_t>(batch.labels[r])] = T(1.0f);
  }
  const float questions = CLASSES;  // the mean is over rows and questions; the sum over questions is wanted
  float loss = 0;
  losskit::bce_with_logits::arguments call;
  call.rows = batch.rows, call.classes = CLASSES;
  call.logits = batch.logits, call.target = target;
  call.grad_loss = {&questions, 1};
  call.loss = {&loss, 1}, call.grad_logits = batch.gradient;
  losskit::bce_with_logits::forward_backward(ctx, call);
  return questions * loss;
}

template <class T>
float loss_and_gradient(const Objective &objective, const losskit::Context &ctx, Batch<T> &batch) {
  switch (objective.kind) {
    case Kind::comp_sum: {
      losskit::comp_sum_cross_entropy::options options;
      options.tau = objective.tau;
      return on_labels<losskit::comp_sum_cross_entropy>(ctx, batch, options);
    }
    case Kind::z_loss: {
      losskit::z_loss::options options;
      options.a = 1;
      options.b = 3;  // the highest standardised score among ten logits: sqrt(10 - 1)
      return on_labels<losskit::z_loss>(ctx, batch, options);
    }
    case Kind::one_vs_rest:
      return on_one_hot(ctx, batch);
    default:
      return on_labels<losskit::token_cross_entropy>(ctx, batch, {});
  }
}
