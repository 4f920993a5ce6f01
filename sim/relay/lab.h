// Lab: everything that one run consists of, as its parts see each other.
#pragma once

#include <memory>

#include "sim/relay/guest.h"
#include "sim/relay/story.h"
#include "sim/relay/trace.h"
#include "sim/world.h"

namespace us::sim::relay {

class Judge;
class Network;
class Primary;
class Standby;

struct Counts {
  uint64_t takeovers = 0, commits = 0, flows = 0, frames = 0, bytes = 0, restored = 0, unheard = 0;
};

struct Lab {
  Lab(const Story& of, uint64_t seed);
  ~Lab();

  Story story;
  World world;
  Trace trace;
  Counts counts;
  std::unique_ptr<Judge> judge;
  std::unique_ptr<Network> network;
  // The host that runs the guest, and the one that follows it; null while there is none.
  std::unique_ptr<Primary> primary;
  std::unique_ptr<Standby> standby;
  bool calm = false;
  uint64_t sessions = 0;

  Instant now() const { return world.now(); }
  size_t connections() const { return story.connections.size(); }
};

}  // namespace us::sim::relay
