// One training run.
#pragma once

#include "network.hpp"
#include "objectives.hpp"

#include <functional>

struct Settings {
  double noise = 0.4;
  std::size_t epochs = 60, batch = 32, seeds = 5;
  float learning_rate = 0.02f, momentum = 0.9f, longest_gradient = 1;
};

// After each epoch.
struct Progress {
  std::size_t epoch;
  double loss, accuracy;
};

inline double test_accuracy(Network &network, const Digits &test, std::size_t most_rows) {
  std::size_t right = 0;
  for (std::size_t start = 0; start < test.size(); start += most_rows) {
    const std::size_t rows = std::min(most_rows, test.size() - start);
    const float *logits = network.forward(rows, test.image(start));
    for (std::size_t r = 0; r < rows; r++, logits += CLASSES) {
      right += std::max_element(logits, logits + CLASSES) - logits == test.labels[start + r];
    }
  }
  return static_cast<double>(right) / static_cast<double>(test.size());
}

// Weights are f32; T is what logits and their gradient are stored as between network and loss.
// Returns the accuracy on clean test labels after each epoch. All losses see the same split, the same wrong
// labels, the same first weights and the same order of batches for a seed.
template <class T>
std::vector<double> train(const Objective &objective, const Digits &digits, const Settings &settings,
                          std::uint64_t seed, const std::function<void(const Progress &)> &report) {
  Random random(seed);
  const Split split = split_digits(digits, settings.noise, random);
  Network network({PIXELS, 128, 64, CLASSES}, settings.batch, random);
  const losskit::Context ctx = losskit::Context::cpu(1);

  std::vector<std::size_t> order(split.train.size());
  for (std::size_t i = 0; i < order.size(); i++) order[i] = i;
  std::vector<float> images(settings.batch * PIXELS), gradient(settings.batch * CLASSES);
  Batch<T> batch;
  batch.logits.resize(settings.batch * CLASSES);
  batch.gradient.resize(settings.batch * CLASSES);
  batch.labels.resize(settings.batch);

  std::vector<double> curve;
  for (std::size_t epoch = 0; epoch < settings.epochs; epoch++) {
    double loss = 0;
    random.shuffle(order);
    for (std::size_t start = 0; start < order.size(); start += settings.batch) {
      batch.rows = std::min(settings.batch, order.size() - start);
      for (std::size_t r = 0; r < batch.rows; r++) {
        const std::size_t i = order[start + r];
        std::copy_n(split.train.image(i), PIXELS, &images[r * PIXELS]);
        batch.labels[r] = split.train.labels[i];
      }
      const float *logits = network.forward(batch.rows, images.data());
      for (std::size_t i = 0; i < batch.rows * CLASSES; i++) batch.logits[i] = T(logits[i]);
      loss += loss_and_gradient(objective, ctx, batch) * static_cast<double>(batch.rows);
      for (std::size_t i = 0; i < batch.rows * CLASSES; i++) gradient[i] = batch.gradient[i];
      network.backward(batch.rows, gradient.data());
      network.step(settings.learning_rate, settings.momentum, settings.longest_gradient);
    }
    curve.push_back(test_accuracy(network, split.test, settings.batch));
    report({epoch + 1, loss / static_cast<double>(order.size()), curve.back()});
  }
  return curve;
}
