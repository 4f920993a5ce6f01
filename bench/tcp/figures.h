// Figures: what the rounds have measured, shown as a table to a person.  Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tcp/plan.h"

namespace us::bench {

// One number from one run of a load.
struct Quantity {
  std::string metric;
  std::string unit;
  double value = 0;
};

// All rounds of one quantity of one load in one setting.
struct Figure {
  Load load;
  std::string metric;
  Setting setting;
  std::string unit;
  std::vector<double> values;
  std::vector<std::optional<double>> unprotected;  // of the same rounds

  double value() const;                     // median
  std::optional<double> reference() const;  // median of `unprotected`
  std::optional<double> ratio() const;      // median of each round's own ratio
};

class Figures {
 public:
  // `unprotected`: what that setting gave in the same round.
  void add(const Load& load, const Setting& setting, const std::vector<Quantity>& measured,
           const std::vector<Quantity>& unprotected);

  std::string table() const;
  // What of the goals of docs/benchmarks.md `accelerated` reaches, a line each.
  std::string goals() const;

 private:
  const Figure* find(const Load& load, const std::string& metric, const Setting& setting) const;

  std::vector<Figure> figures_;
};

}  // namespace us::bench
