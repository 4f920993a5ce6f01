// What is computed from the samples of one measurement.  Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace us::bench {

double median(std::vector<double> values);  // 0 of none

// The sample that `share` of all are not above (nearest rank).  Nothing if fewer than kBeyond samples lie above it:
// such a quantile would be the luck of one or two.
inline constexpr size_t kBeyond = 5;
std::optional<double> quantile(std::vector<double> values, double share);

// Jain's fairness index (Jain, Chiu, Hawe: DEC-TR-301, 1984): 1 when all have the same, 1/n when one has all.
// 0 of none, or when all are 0.
double fairness(const std::vector<double>& shares);

// Samples as (upper edge, count) of bins each of which is 1 % wider than the one before, in ascending order; those that
// are 0 or less are in a bin at 0.
std::vector<std::pair<double, uint64_t>> bins(const std::vector<double>& values);

}  // namespace us::bench
