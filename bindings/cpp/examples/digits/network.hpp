// A small multilayer perceptron with ReLU, trained by stochastic gradient descent with momentum. It ends in
// logits: what the training makes of them is the loss's affair.
#pragma once

#include "random.hpp"

#include <algorithm>
#include <vector>

inline float dot(const float *a, const float *b, std::size_t n) {
  float lanes[8] = {};  // partial sums that the compiler can keep in one vector
  std::size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (std::size_t k = 0; k < 8; k++) lanes[k] += a[i + k] * b[i + k];
  }
  float sum = 0;
  for (float lane : lanes) sum += lane;
  for (; i < n; i++) sum += a[i] * b[i];
  return sum;
}

// y = x W + b
class Linear {
 public:
  Linear(std::size_t inputs, std::size_t outputs, Random &random)
      : inputs_(inputs),
        outputs_(outputs),
        weights_(inputs * outputs),
        bias_(outputs),
        weight_gradient_(weights_.size()),
        bias_gradient_(outputs),
        weight_speed_(weights_.size()),
        bias_speed_(outputs) {
    const double scale = std::sqrt(2.0 / static_cast<double>(inputs));
    for (float &w : weights_) w = static_cast<float>(scale * random.normal());
  }
  std::size_t outputs() const { return outputs_; }

  void forward(std::size_t rows, const float *x, float *y) const {
    for (std::size_t r = 0; r < rows; r++, x += inputs_, y += outputs_) {
      std::copy(bias_.begin(), bias_.end(), y);
      for (std::size_t i = 0; i < inputs_; i++) {
        const float *w = &weights_[i * outputs_];
        for (std::size_t o = 0; o < outputs_; o++) y[o] += x[i] * w[o];
      }
    }
  }

  // Takes the gradient at y, keeps that of the weights, gives that at x unless it is null.
  void backward(std::size_t rows, const float *x, const float *dy, float *dx) {
    std::fill(weight_gradient_.begin(), weight_gradient_.end(), 0.0f);
    std::fill(bias_gradient_.begin(), bias_gradient_.end(), 0.0f);
    for (std::size_t r = 0; r < rows; r++, x += inputs_, dy += outputs_) {
      for (std::size_t o = 0; o < outputs_; o++) bias_gradient_[o] += dy[o];
      for (std::size_t i = 0; i < inputs_; i++) {
        float *dw = &weight_gradient_[i * outputs_];
        if (x[i] != 0) {
          for (std::size_t o = 0; o < outputs_; o++) dw[o] += x[i] * dy[o];
        }
        if (dx != nullptr) dx[r * inputs_ + i] = dot(dy, &weights_[i * outputs_], outputs_);
      }
    }
  }

  double squared_gradient() const {
    double sum = 0;
    for (float g : weight_gradient_) sum += static_cast<double>(g * g);
    for (float g : bias_gradient_) sum += static_cast<double>(g * g);
    return sum;
  }

  void step(float learning_rate, float momentum, float gradient_scale) {
    descend(weights_, weight_gradient_, weight_speed_, learning_rate, momentum, gradient_scale);
    descend(bias_, bias_gradient_, bias_speed_, learning_rate, momentum, gradient_scale);
  }

 private:
  static void descend(std::vector<float> &w, const std::vector<float> &g, std::vector<float> &v, float rate,
                      float momentum, float scale) {
    for (std::size_t i = 0; i < w.size(); i++) {
      v[i] = momentum * v[i] + scale * g[i];
      w[i] -= rate * v[i];
    }
  }

  std::size_t inputs_, outputs_;
  std::vector<float> weights_, bias_, weight_gradient_, bias_gradient_, weight_speed_, bias_speed_;
};

class Network {
 public:
  Network(std::vector<std::size_t> widths, std::size_t most_rows, Random &random) : input_(nullptr) {
    for (std::size_t k = 0; k + 1 < widths.size(); k++) {
      layers_.emplace_back(widths[k], widths[k + 1], random);
      values_.emplace_back(most_rows * widths[k + 1]);
      gradients_.emplace_back(most_rows * widths[k + 1]);
    }
  }

  // The logits, [rows, classes]; valid until the next call.
  const float *forward(std::size_t rows, const float *x) {
    input_ = x;
    for (std::size_t k = 0; k < layers_.size(); k++) {
      float *y = values_[k].data();
      layers_[k].forward(rows, x, y);
      if (k + 1 < layers_.size()) {
        for (std::size_t i = 0; i < rows * layers_[k].outputs(); i++) y[i] = std::max(y[i], 0.0f);
      }
      x = y;
    }
    return x;
  }

  // After forward on the same rows, with the gradient of the loss at the logits.
  void backward(std::size_t rows, const float *logit_gradient) {
    const float *dy = logit_gradient;
    for (std::size_t k = layers_.size(); k-- > 1;) {
      float *dx = gradients_[k - 1].data();
      const std::vector<float> &x = values_[k - 1];
      layers_[k].backward(rows, x.data(), dy, dx);
      for (std::size_t i = 0; i < rows * layers_[k - 1].outputs(); i++) dx[i] = x[i] > 0 ? dx[i] : 0;
      dy = dx;
    }
    layers_[0].backward(rows, input_, dy, nullptr);
  }

  // A gradient longer than `longest` is shortened to it: one bad batch cannot throw the weights far off.
  void step(float learning_rate, float momentum, float longest) {
    double squares = 0;
    for (const Linear &layer : layers_) squares += layer.squared_gradient();
    const auto length = static_cast<float>(std::sqrt(squares));
    const float scale = length > longest ? longest / length : 1;
    for (Linear &layer : layers_) layer.step(learning_rate, momentum, scale);
  }

 private:
  std::vector<Linear> layers_;
  std::vector<std::vector<float>> values_, gradients_;
  const float *input_;
};
