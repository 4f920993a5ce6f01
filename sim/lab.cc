#include "sim/lab.h"

#include "sim/host.h"
#include "sim/judge.h"

namespace us::sim {

Lab::Lab(uint64_t seed) : world(seed), network(world), arbiter(world) {}
Lab::~Lab() = default;

}  // namespace us::sim
