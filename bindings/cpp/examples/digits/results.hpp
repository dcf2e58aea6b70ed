// What the runs gave: curves per loss, storage type and seed; their means; the table.
#pragma once

#include "train.hpp"

#include <cstdio>

struct Mean {
  double mean, deviation;  // sample standard deviation
  bool single;             // one value has none
};

inline Mean mean_of(const std::vector<double> &values) {
  const auto n = static_cast<double>(values.size());
  double sum = 0, squares = 0;
  for (double v : values) sum += v;
  for (double v : values) squares += (v - sum / n) * (v - sum / n);
  return {sum / n, values.size() < 2 ? 0 : std::sqrt(squares / (n - 1)), values.size() < 2};
}

constexpr const char *STORAGE[2] = {"f32", "bf16"};

struct Results {
  std::vector<Objective> objectives;
  std::vector<std::vector<double>> curves;  // accuracy in percent; index: see at()
  std::size_t seeds, epochs;

  std::vector<double> &at(std::size_t objective, std::size_t storage, std::size_t seed) {
    return curves[(objective * 2 + storage) * seeds + seed];
  }
  const std::vector<double> &at(std::size_t objective, std::size_t storage, std::size_t seed) const {
    return curves[(objective * 2 + storage) * seeds + seed];
  }
  // Over the seeds.
  Mean after(std::size_t objective, std::size_t storage, std::size_t epoch) const {
    std::vector<double> values;
    for (std::size_t s = 0; s < seeds; s++) values.push_back(at(objective, storage, s)[epoch - 1]);
    return mean_of(values);
  }
  Mean final(std::size_t objective, std::size_t storage) const { return after(objective, storage, epochs); }
  // bf16 minus f32, seed by seed.
  Mean difference(std::size_t objective) const {
    std::vector<double> values;
    for (std::size_t s = 0; s < seeds; s++)
      values.push_back(at(objective, 1, s).back() - at(objective, 0, s).back());
    return mean_of(values);
  }
  std::size_t best_epoch(std::size_t objective) const {
    std::size_t best = 1;
    for (std::size_t e = 2; e <= epochs; e++) {
      if (after(objective, 0, e).mean > after(objective, 0, best).mean) best = e;
    }
    return best;
  }
};

// In 12 columns, which printf could not count: the sign has two bytes.
inline std::string plus_minus(Mean m, bool sign = false) {
  char text[32];
  std::snprintf(text, sizeof text, sign ? "%+5.1f ± %4.1f" : "%5.1f ± %4.1f", m.mean, m.deviation);
  return m.single ? std::string(text, 5) + std::string(7, ' ') : text;
}

inline std::string table(const Results &results) {
  std::string text =
      "loss                        f32            bf16           bf16 - f32     highest (f32)\n";
  char line[160];
  for (std::size_t k = 0; k < results.objectives.size(); k++) {
    const std::size_t best = results.best_epoch(k);
    std::snprintf(line, sizeof line, "%-26s%s   %s   %s   %5.1f, epoch %zu\n",
                  results.objectives[k].name.c_str(), plus_minus(results.final(k, 0)).c_str(),
                  plus_minus(results.final(k, 1)).c_str(), plus_minus(results.difference(k), true).c_str(),
                  results.after(k, 0, best).mean, best);
    text += line;
  }
  return text;
}

inline std::string table_csv(const Results &results) {
  std::string text = "loss,storage,accuracy_mean,accuracy_std\n";
  char line[160];
  for (std::size_t k = 0; k < results.objectives.size(); k++) {
    for (std::size_t d = 0; d < 2; d++) {
      const Mean m = results.final(k, d);
      std::snprintf(line, sizeof line, "\"%s\",%s,%.3f,%.3f\n", results.objectives[k].name.c_str(),
                    STORAGE[d], m.mean, m.deviation);
      text += line;
    }
  }
  return text;
}

inline std::string curves_csv(const Results &results) {
  std::string text = "loss,storage,seed,epoch,accuracy\n";
  char line[160];
  for (std::size_t k = 0; k < results.objectives.size(); k++) {
    for (std::size_t d = 0; d < 2; d++) {
      for (std::size_t s = 0; s < results.seeds; s++) {
        for (std::size_t e = 1; e <= results.epochs; e++) {
          std::snprintf(line, sizeof line, "\"%s\",%s,%zu,%zu,%.3f\n", results.objectives[k].name.c_str(),
                        STORAGE[d], s + 1, e, results.at(k, d, s)[e - 1]);
          text += line;
        }
      }
    }
  }
  return text;
}
