// The runs of understudy_scale: which hosts and flows are simulated, and what is written of them (docs/model.md).
#pragma once

#include "common/results.h"
#include "sim/scale/parameters.h"

namespace us::sim::scale {

// One connection at 10, 40 and 100 Gbit/s; then hosts with 1 to 100 guests.  `quick`: fewer of each.
void run_all(const Parameters& costs, bool quick, bench::Results& results);

}  // namespace us::sim::scale
