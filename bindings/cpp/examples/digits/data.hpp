// The handwritten digits: 8 x 8 pixels each, and which digit it is.
#pragma once

#include "random.hpp"

#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

constexpr std::size_t PIXELS = 64, CLASSES = 10;

struct Digits {
  std::vector<float> images;  // [size, PIXELS], in [0, 1]
  std::vector<std::int64_t> labels;

  std::size_t size() const { return labels.size(); }
  const float *image(std::size_t i) const { return &images[i * PIXELS]; }
  void add(const float *image, std::int64_t label) {
    images.insert(images.end(), image, image + PIXELS);
    labels.push_back(label);
  }
};

// One digit a line: 64 pixels from 0 to 16, then the label.
inline Digits load_digits(const std::string &path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  Digits digits;
  float image[PIXELS];
  int value;
  char comma;
  while (file >> value) {
    for (float &pixel : image) {
      pixel = static_cast<float>(value) / 16;
      file >> comma >> value;
    }
    if (!file || value < 0 || value > 9) throw std::runtime_error(path + ": not the expected format");
    digits.add(image, value);
  }
  return digits;
}

struct Split {
  Digits train, test;
};

// Three quarters for training, the rest for testing. A share `noise` of the training labels, and no
// test label, becomes one of the other nine digits.
inline Split split_digits(const Digits &digits, double noise, Random &random) {
  std::vector<std::size_t> order(digits.size());
  for (std::size_t i = 0; i < order.size(); i++) order[i] = i;
  random.shuffle(order);
  const std::size_t train = digits.size() * 3 / 4;
  const auto wrong = static_cast<std::size_t>(noise * static_cast<double>(train) + 0.5);
  Split split;
  for (std::size_t i = 0; i < order.size(); i++) {
    std::int64_t label = digits.labels[order[i]];
    if (i < wrong) label = (label + 1 + static_cast<std::int64_t>(random.below(CLASSES - 1))) % 10;
    (i < train ? split.train : split.test).add(digits.image(order[i]), label);
  }
  return split;
}
