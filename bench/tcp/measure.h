// measure(): one run of one load against the machine that was prepared for it.
#pragma once

#include <atomic>
#include <vector>

#include "tcp/figures.h"
#include "tcp/options.h"
#include "tcp/systems.h"

namespace us::bench {

Result<std::vector<Quantity>> measure(Systems& systems, const Load& load, const Options& options,
                                      const std::atomic<bool>& interrupted);

}  // namespace us::bench
