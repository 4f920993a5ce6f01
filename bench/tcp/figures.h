// Figures: what the rounds have measured, and how it is shown: a table for a person, records for a program.  Pure.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tcp/plan.h"

namespace us::bench {

// One number from one run of a load.  `name` is added to the scenario: "request" + "-p99"; empty for a load with one.
struct Quantity {
  std::string name;
  std::string unit;
  double value = 0;
};

// All rounds of one quantity of one load in one setting.
struct Figure {
  std::string scenario;
  Load load;
  Setting setting;
  std::string unit;
  std::vector<double> values;
  std::vector<double> unprotected;  // of the same rounds; empty: there is no such quantity

  double value() const;                     // median
  std::optional<double> reference() const;  // median of `unprotected`
  std::optional<double> ratio() const;      // median of each round's own ratio
};

class Figures {
 public:
  // `unprotected`: what that setting gave in the same round; the same object for itself.
  void add(const Load& load, const Setting& setting, const std::vector<Quantity>& measured,
           const std::vector<Quantity>& unprotected);

  const std::vector<Figure>& all() const { return figures_; }
  const Figure* find(const std::string& scenario, const Load& load, const Setting& setting) const;

  // One record per figure (docs/benchmarks.md).
  nlohmann::json records(const std::string& cc) const;
  std::string table() const;
  // What of the goals of docs/benchmarks.md `accelerated` reaches, a line each.
  std::string goals() const;

 private:
  std::vector<Figure> figures_;
};

double median(std::vector<double> values);

}  // namespace us::bench
