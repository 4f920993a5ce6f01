// measure(): one run of one load against the machine that was prepared for it.
#pragma once

#include <string>
#include <vector>

#include "tcp/figures.h"
#include "tcp/systems.h"

namespace us::bench {

struct SampleSet {
  std::string metric;
  std::string unit;
  std::vector<double> values;
};

struct Measured {
  std::vector<Quantity> quantities;
  std::vector<SampleSet> samples;
};

Result<Measured> measure(Systems& systems, const Load& load);

}  // namespace us::bench
