// What the rounds of the disk benchmark have measured, and the table for a person.  Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "disk/load.h"

namespace us::bench {

class DiskFigures {
 public:
  // `paused`: the share (0 to 1) of the measurement for which the guest stood still.
  void add(const std::string& load, const std::string& mode, int round, const std::vector<DiskQuantity>& quantities,
           double paused);

  // For each load and mode: median, and the median of the rounds' ratios to `stock`, in the guest's time and by the
  // wall clock.
  std::string table() const;
  // The goal: `replicated` reaches 85 % of `stock` in every rate, pauses taken out.  A line for each load.
  std::string goals() const;

 private:
  struct Series {
    std::string unit;
    bool is_rate = false;
    std::map<int, double> values;  // by round
    std::map<int, double> paused;
  };
  struct Where {
    std::string load, metric, mode;
    auto operator<=>(const Where&) const = default;
  };
  double ratio_to_stock(const Where& where, const Series& series, bool wall) const;  // 0: nothing to compare with

  std::map<Where, Series> series_;
  std::vector<std::string> loads_;  // in the order of their first measurement
};

}  // namespace us::bench
