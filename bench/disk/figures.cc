#include "disk/figures.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/statistics.h"
#include "disk/systems.h"

namespace us::bench {
namespace {

constexpr double kGoal = 0.85;

std::vector<double> values_of(const std::map<int, double>& by_round) {
  std::vector<double> out;
  for (const auto& [round, value] : by_round) out.push_back(value);
  return out;
}

}  // namespace

void DiskFigures::add(const std::string& load, const std::string& mode, int round,
                      const std::vector<DiskQuantity>& quantities, double paused) {
  if (std::find(loads_.begin(), loads_.end(), load) == loads_.end()) loads_.push_back(load);
  for (const DiskQuantity& quantity : quantities) {
    Series& series = series_[{load, quantity.metric, mode}];
    series.unit = quantity.unit;
    series.is_rate = quantity.is_rate;
    series.values[round] = quantity.value;
    series.paused[round] = paused;
  }
}

double DiskFigures::ratio_to_stock(const Where& where, const Series& series, bool wall) const {
  const auto stock = series_.find({where.load, where.metric, "stock"});
  if (stock == series_.end()) return 0;
  std::vector<double> ratios;
  for (const auto& [round, value] : series.values) {
    const auto reference = stock->second.values.find(round);
    if (reference == stock->second.values.end() || reference->second <= 0) continue;
    ratios.push_back((wall ? wall_rate(value, series.paused.at(round)) : value) / reference->second);
  }
  return median(ratios);
}

std::string DiskFigures::table() const {
  std::string out = fmt::format("{:<18}{:<14}{:<13}{:>12} {:<6}{:>10}{:>12}{:>9}\n", "load", "metric", "mode", "median",
                                "", "of stock", "by the wall", "paused");
  for (const std::string& load : loads_)
    for (const auto& [where, series] : series_) {
      if (where.load != load) continue;
      out += fmt::format("{:<18}{:<14}{:<13}{:>12.2f} {:<6}{:>10.2f}", where.load, where.metric, where.mode,
                         median(values_of(series.values)), series.unit, ratio_to_stock(where, series, false));
      if (series.is_rate)
        out += fmt::format("{:>12.2f}{:>8.1f}%", ratio_to_stock(where, series, true),
                           100 * median(values_of(series.paused)));
      out += "\n";
    }
  return out;
}

std::string DiskFigures::goals() const {
  std::string out;
  for (const std::string& load : loads_)
    for (const auto& [where, series] : series_) {
      if (where.load != load || where.mode != "replicated" || !series.is_rate || where.metric == "throughput") continue;
      const double ratio = ratio_to_stock(where, series, false);
      if (ratio <= 0) continue;
      out += fmt::format("  {:<18}{:.2f} of stock, goal {:.2f}: {}\n", load, ratio, kGoal,
                         ratio >= kGoal ? "reached" : "MISSED");
    }
  return out;
}

}  // namespace us::bench
