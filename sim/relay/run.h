// Run: one story from its seed to a verdict.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sim/relay/lab.h"

namespace us::sim::relay {

struct Verdict {
  bool passed = false;
  std::string violation;
  std::vector<std::string> trace;
  uint64_t steps = 0;
  Duration time;
  Counts counts;
};

struct RunSettings {
  uint64_t seed = 1;
  bool keep_trace = false;             // even of a run that passes
  std::function<void(Story&)> change;  // of the random story
};

Verdict run(const RunSettings& settings);

}  // namespace us::sim::relay
