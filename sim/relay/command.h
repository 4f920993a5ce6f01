// The command line of this simulation: understudy_sim --relay.
#pragma once

#include <cstdint>

namespace us::sim::relay {

// Runs with the seeds `seed`, `seed` + 1, ...; prints a line now and then, and at a violation the rule, the end of the
// trace and the command that repeats it.  False: a violation.
bool run_many(uint64_t runs, uint64_t seed, bool verbose);

}  // namespace us::sim::relay
