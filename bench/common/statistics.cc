#include "common/statistics.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>

namespace us::bench {
namespace {

constexpr double kBinRatio = 1.01;

}  // namespace

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

std::optional<double> quantile(std::vector<double> values, double share) {
  const double rank = std::ceil(share * static_cast<double>(values.size()));
  const size_t at = rank < 1 ? 0 : static_cast<size_t>(rank) - 1;
  if (at + kBeyond >= values.size()) return std::nullopt;
  std::nth_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(at), values.end());
  return values[at];
}

double fairness(const std::vector<double>& shares) {
  double sum = 0, squares = 0;
  for (const double share : shares) {
    sum += share;
    squares += share * share;
  }
  return squares == 0 ? 0 : sum * sum / (static_cast<double>(shares.size()) * squares);
}

std::vector<std::pair<double, uint64_t>> bins(const std::vector<double>& values) {
  std::map<int, uint64_t> counts;
  uint64_t none = 0;
  for (const double value : values) {
    if (value > 0)
      ++counts[static_cast<int>(std::ceil(std::log(value) / std::log(kBinRatio) - 1e-9))];
    else
      ++none;
  }
  std::vector<std::pair<double, uint64_t>> list;
  if (none > 0) list.emplace_back(0, none);
  for (const auto& [power, count] : counts) list.emplace_back(std::pow(kBinRatio, power), count);
  return list;
}

}  // namespace us::bench
