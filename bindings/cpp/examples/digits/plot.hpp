// The results as an SVG: accuracy against epoch above, final accuracy in f32 and bf16 below.
#pragma once

#include "results.hpp"

#include <numeric>

class Plot {
 public:
  explicit Plot(const Results &results) : results_(results) {
    lowest_ = 100;
    for (std::size_t k = 0; k < results.objectives.size(); k++) {
      for (std::size_t d = 0; d < 2; d++) {
        const Mean m = results.final(k, d);
        lowest_ = std::min(lowest_, m.mean - m.deviation);
      }
    }
    lowest_ = std::max(0.0, 10 * std::floor(lowest_ / 10));
  }

  std::string svg(const std::string &title, const std::string &subtitle) {
    order_.resize(results_.objectives.size());
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    std::stable_sort(order_.begin(), order_.end(), [&](std::size_t a, std::size_t b) {
      return results_.final(a, 0).mean > results_.final(b, 0).mean;
    });
    const double rows = static_cast<double>(order_.size());
    bars_bottom_ = BARS_TOP + ROW * rows;
    const int height = static_cast<int>(bars_bottom_ + 72);
    add("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 990 %d\" width=\"990\" height=\"%d\" "
        "font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\" font-size=\"15\" fill=\"#222\">\n"
        "<rect width=\"990\" height=\"%d\" fill=\"white\"/>\n",
        height, height, height);
    text(LEFT - 56, 34, "start", title, "font-size=\"20\" font-weight=\"bold\"");
    text(LEFT - 56, 58, "start", subtitle, "fill=\"#555\"");
    curves();
    bars();
    return out_ + "</svg>\n";
  }

 private:
  static constexpr double LEFT = 76, RIGHT = 720, TOP = 112, BOTTOM = 452;
  static constexpr double BARS_LEFT = 276, BARS_RIGHT = 720, BARS_TOP = 560, ROW = 40;

  // Okabe and Ito's colours, told apart by the colour-blind too.
  static const char *colour(std::size_t k) {
    static const char *const colours[] = {"#000000", "#E69F00", "#0072B2", "#009E73", "#D55E00", "#CC79A7"};
    return colours[k % 6];
  }

  template <class... T>
  void add(const char *format, T... values) {
    char text[512];
    std::snprintf(text, sizeof text, format, values...);
    out_ += text;
  }
  void text(double x, double y, const char *anchor, const std::string &words, const char *more = "") {
    add("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" %s>", x, y, anchor, more);
    out_ += words + "</text>\n";
  }
  void line(double x1, double y1, double x2, double y2, const char *stroke, double width = 1) {
    add("<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" stroke-width=\"%.1f\"/>\n", x1,
        y1, x2, y2, stroke, width);
  }

  double x(double epoch) const {
    return LEFT + (RIGHT - LEFT) * (epoch - 1) / std::max(1.0, static_cast<double>(results_.epochs) - 1);
  }
  double y(double accuracy) const {
    return BOTTOM - (BOTTOM - TOP) * (std::max(accuracy, lowest_) - lowest_) / (100 - lowest_);
  }
  double bar_x(double accuracy) const {
    const double clipped = std::min(100.0, std::max(accuracy, lowest_));
    return BARS_LEFT + (BARS_RIGHT - BARS_LEFT) * (clipped - lowest_) / (100 - lowest_);
  }

  void curves() {
    text(LEFT - 56, TOP - 20, "start", "While training, in f32", "font-weight=\"bold\"");
    for (double a = lowest_; a <= 100; a += 10) {
      line(LEFT, y(a), RIGHT, y(a), "#ddd");
      text(LEFT - 10, y(a) + 5, "end", std::to_string(static_cast<int>(a)));
    }
    const std::size_t every = results_.epochs <= 10    ? 1
                              : results_.epochs <= 30  ? 5
                              : results_.epochs <= 100 ? 10
                                                       : 50;
    for (std::size_t e = 1; e <= results_.epochs; e++) {
      if (e != 1 && e % every != 0) continue;
      const double at = x(static_cast<double>(e));
      line(at, BOTTOM, at, BOTTOM + 5, "#888");
      text(at, BOTTOM + 22, "middle", std::to_string(e));
    }
    text((LEFT + RIGHT) / 2, BOTTOM + 46, "middle", "epoch");
    add("<text transform=\"translate(%.1f %.1f) rotate(-90)\" text-anchor=\"middle\">"
        "accuracy on clean test digits, %%</text>\n",
        LEFT - 48, (TOP + BOTTOM) / 2);
    add("<clipPath id=\"frame\"><rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/></clipPath>\n",
        LEFT, TOP, RIGHT - LEFT, BOTTOM - TOP);

    out_ += "<g clip-path=\"url(#frame)\">\n";
    for (std::size_t k : order_) {
      band(k);
    }
    for (std::size_t k : order_) {
      out_ += "<polyline fill=\"none\" stroke-width=\"2.4\" stroke-linejoin=\"round\" stroke=\"";
      out_ += std::string(colour(k)) + "\" points=\"";
      for (std::size_t e = 1; e <= results_.epochs; e++) {
        const double accuracy = results_.after(k, 0, e).mean;
        // Below the axis as far as it goes: the frame clips it.
        const double at = BOTTOM - (BOTTOM - TOP) * (accuracy - lowest_) / (100 - lowest_);
        add("%.1f,%.1f ", x(static_cast<double>(e)), at);
      }
      out_ += "\"/>\n";
    }
    out_ += "</g>\n";
    labels();
  }

  // One standard deviation to both sides.
  void band(std::size_t k) {
    std::string back;
    out_ +=
        "<polygon stroke=\"none\" fill-opacity=\"0.09\" fill=\"" + std::string(colour(k)) + "\" points=\"";
    for (std::size_t e = 1; e <= results_.epochs; e++) {
      const Mean m = results_.after(k, 0, e);
      const double at = x(static_cast<double>(e));
      char corner[48];
      std::snprintf(corner, sizeof corner, "%.1f,%.1f ", at, y(m.mean - m.deviation));
      back = corner + back;
      add("%.1f,%.1f ", at, y(std::min(100.0, m.mean + m.deviation)));
    }
    out_ += back + "\"/>\n";
  }

  // Beside the ends of the lines, moved apart where these are close.
  void labels() {
    std::vector<double> at;
    for (std::size_t k : order_) at.push_back(y(results_.final(k, 0).mean));
    for (int pass = 0; pass < 200; pass++) {
      for (std::size_t i = 0; i + 1 < at.size(); i++) {
        const double missing = 20 - (at[i + 1] - at[i]);
        if (missing > 0) at[i] -= missing / 2, at[i + 1] += missing / 2;
      }
    }
    for (std::size_t i = 0; i < order_.size(); i++) {
      const std::size_t k = order_[i];
      const double from = y(results_.final(k, 0).mean);
      line(RIGHT + 3, from, RIGHT + 20, at[i], colour(k), 1.2);
      const std::string fill = std::string("font-weight=\"bold\" fill=\"") + colour(k) + "\"";
      text(RIGHT + 24, at[i] + 5, "start", results_.objectives[k].name, fill.c_str());
    }
  }

  void bars() {
    text(LEFT - 56, BARS_TOP - 16, "start",
         "After the last epoch, logits and their gradients stored as f32 or as bf16",
         "font-weight=\"bold\"");
    for (std::size_t d = 0; d < 2; d++) {
      mark(column(d) + 6, BARS_TOP - 21, "#222", d == 1);
      text(column(d) + 20, BARS_TOP - 16, "start", STORAGE[d], "font-weight=\"bold\"");
    }
    for (double a = lowest_; a <= 100; a += 10) {
      line(bar_x(a), BARS_TOP, bar_x(a), bars_bottom_, "#ddd");
      text(bar_x(a), bars_bottom_ + 22, "middle", std::to_string(static_cast<int>(a)));
    }
    text((BARS_LEFT + BARS_RIGHT) / 2, bars_bottom_ + 46, "middle",
         "accuracy on clean test digits, % (mean ± standard deviation)");
    for (std::size_t i = 0; i < order_.size(); i++) {
      const std::size_t k = order_[i];
      const double middle = BARS_TOP + ROW * (static_cast<double>(i) + 0.5);
      text(BARS_LEFT - 14, middle + 5, "end", results_.objectives[k].name);
      for (std::size_t d = 0; d < 2; d++) {
        const Mean m = results_.final(k, d);
        const double at = middle + (d == 0 ? -7 : 7);
        line(bar_x(m.mean - m.deviation), at, bar_x(m.mean + m.deviation), at, colour(k), 2);
        mark(bar_x(m.mean), at, colour(k), d == 1);
        text(column(d), middle + 5, "start", plus_minus(m));
      }
    }
  }

  // Of the figures beside the marks.
  static double column(std::size_t storage) { return RIGHT + 24 + 110 * static_cast<double>(storage); }

  void mark(double x, double y, const char *stroke, bool hollow) {
    add("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"5\" stroke=\"%s\" stroke-width=\"2\" fill=\"%s\"/>\n", x, y,
        stroke, hollow ? "white" : stroke);
  }

  const Results &results_;
  std::vector<std::size_t> order_;  // by final accuracy, highest first
  double lowest_, bars_bottom_ = 0;
  std::string out_;
};
