// Trains a small network on handwritten digits of which a share has a wrong label, under several losses of
// losskit side by side, and shows how well each withstands the wrong labels.
#include "plot.hpp"

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <mutex>
#include <thread>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
static bool is_terminal() {
  return isatty(1) != 0;
}
#else
static bool is_terminal() {
  return false;
}
#endif

namespace {

const char USAGE[] =
    "usage: digits DATA OUTPUT_DIRECTORY [--noise 0.4] [--epochs 60] [--seeds 5] [--batch 32]\n"
    "              [--learning-rate 0.02] [--threads N]\n";

// A line about the run that reported last, renewed in place; a line per finished run where the output is
// not a terminal.
class Display {
 public:
  Display(std::size_t runs, const Settings &settings) : runs_(runs), settings_(settings) {}

  void epoch(const Objective &objective, std::size_t storage, std::size_t seed, const Progress &progress) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const bool done = progress.epoch == settings_.epochs;
    finished_ += done;
    const auto now = std::chrono::steady_clock::now();
    if (terminal_ ? !done && now - shown_ < std::chrono::milliseconds(100) : !done) return;
    shown_ = now;
    std::printf(
        "%s%3zu/%zu runs  %-24s %-4s seed %zu  epoch %3zu/%zu  training loss %7.3f  test accuracy %5.1f "
        "%%%s",
        terminal_ ? "\r" : "", finished_, runs_, objective.name.c_str(), STORAGE[storage], seed + 1,
        progress.epoch, settings_.epochs, progress.loss, 100 * progress.accuracy,
        terminal_ && finished_ < runs_ ? "  " : "\n");
    std::fflush(stdout);
  }

 private:
  std::size_t runs_, finished_ = 0;
  Settings settings_;
  bool terminal_ = is_terminal();
  std::chrono::steady_clock::time_point shown_;
  std::mutex mutex_;
};

Results run_all(const Digits &digits, const Settings &settings, unsigned threads) {
  Results results{objectives(), {}, settings.seeds, settings.epochs};
  const std::size_t runs = results.objectives.size() * 2 * settings.seeds;
  results.curves.resize(runs);
  Display display(runs, settings);
  std::atomic<std::size_t> next{0};
  std::exception_ptr failure;
  std::mutex failed;
  const auto work = [&] {
    try {
      for (std::size_t run; (run = next++) < runs;) {
        const std::size_t seed = run % settings.seeds, storage = run / settings.seeds % 2;
        const std::size_t k = run / settings.seeds / 2;
        const Objective &objective = results.objectives[k];
        const auto report = [&](const Progress &p) { display.epoch(objective, storage, seed, p); };
        std::vector<double> curve =
            storage == 0 ? train<float>(objective, digits, settings, seed + 1, report)
                         : train<losskit::bf16>(objective, digits, settings, seed + 1, report);
        for (double &accuracy : curve) accuracy *= 100;
        results.at(k, storage, seed) = curve;
      }
    } catch (...) {
      const std::lock_guard<std::mutex> lock(failed);
      failure = std::current_exception();
      next = runs;
    }
  };
  std::vector<std::thread> workers;
  for (unsigned t = 0; t < threads; t++) workers.emplace_back(work);
  for (std::thread &worker : workers) worker.join();
  if (failure) std::rethrow_exception(failure);
  return results;
}

void write(const std::string &path, const std::string &text) {
  std::ofstream file(path);
  if (!(file << text)) throw std::runtime_error("cannot write " + path);
}

bool parse(int count, char **words, Settings &settings, unsigned &threads) {
  if (count < 3 || count % 2 == 0) return false;
  for (int i = 3; i < count; i += 2) {
    const std::string name = words[i];
    char *end = nullptr;
    const double value = std::strtod(words[i + 1], &end);
    if (*end != '\0' || !(value >= 0)) return false;
    if (name == "--noise" && value <= 1) {
      settings.noise = value;
    } else if (name == "--learning-rate") {
      settings.learning_rate = static_cast<float>(value);
    } else if (value < 1) {
      return false;
    } else if (name == "--epochs") {
      settings.epochs = static_cast<std::size_t>(value);
    } else if (name == "--seeds") {
      settings.seeds = static_cast<std::size_t>(value);
    } else if (name == "--batch") {
      settings.batch = static_cast<std::size_t>(value);
    } else if (name == "--threads") {
      threads = static_cast<unsigned>(value);
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace

int main(int count, char **words) {
  Settings settings;
  unsigned threads = std::max(1u, std::thread::hardware_concurrency());
  if (!parse(count, words, settings, threads)) {
    std::cerr << USAGE;
    return 2;
  }
  try {
    const Digits digits = load_digits(words[1]);
    const std::string out = words[2];
    const std::size_t train = digits.size() * 3 / 4;
    const auto start = std::chrono::steady_clock::now();
    char about[256], title[128];
    std::snprintf(title, sizeof title, "Handwritten digits, %.0f %% of the training labels wrong",
                  100 * settings.noise);
    std::snprintf(
        about, sizeof about, "%zu training and %zu clean test digits, network 64-128-64-10, %zu %s%s",
        train, digits.size() - train, settings.seeds,
        settings.seeds == 1 ? "seed" : "seeds: ", settings.seeds == 1 ? "" : "mean ± standard deviation");
    std::printf("%s\n%s\nlosskit %s, %u threads\n\n", title, about, lk_version(), threads);

    const Results results = run_all(digits, settings, threads);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    char heading[128];
    std::snprintf(heading, sizeof heading, "Accuracy on clean test digits after epoch %zu, %%\n\n",
                  settings.epochs);
    const std::string report = std::string(title) + "\n" + about + "\n" + heading + table(results);
    write(out + "/table.txt", report);
    write(out + "/table.csv", table_csv(results));
    write(out + "/curves.csv", curves_csv(results));
    write(out + "/accuracy.svg", Plot(results).svg(title, about));
    std::printf(
        "\n%s%s\n%.0f s. Table, curves and plot: %s/{table.txt,table.csv,curves.csv,accuracy.svg}\n",
        heading, table(results).c_str(), seconds, out.c_str());
  } catch (const std::exception &e) {
    std::cerr << "\ndigits: " << e.what() << "\n";
    return 1;
  }
}
