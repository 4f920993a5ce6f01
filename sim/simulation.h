// Simulation: one run, from a seed to a verdict.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sim/faults.h"

namespace us::sim {

// What happens beside the faults.
enum class Story { kPlain, kSwitchover, kShutdown, kTakeover };
std::string_view to_string(Story story);
std::optional<Story> story_from(std::string_view name);

// A fault at an exact place: after this many events.
struct PlacedFault {
  uint64_t step = 0;
  FaultKind kind = FaultKind::kKillPrimary;
  Duration length = Duration::millis(250);
};

struct RunOptions {
  uint64_t seed = 1;
  // Random faults, times, clocks.  Without: the fixed story, the fixed times, and only the faults that are placed.
  bool random = true;
  // The guest's disk is `shared`; random runs have one with every third seed.
  bool shared_disk = false;
  Story story = Story::kPlain;
  std::vector<PlacedFault> faults;
  // Without random faults: what else happens, arranged before the first event.
  std::function<void(Lab&)> script;
  bool keep_trace = false;  // even of a run that passes
};

struct RunResult {
  bool passed = false;
  std::string violation;
  std::vector<std::string> trace;
  uint64_t steps = 0;
  uint64_t fault_steps = 0;  // until faults stop
  uint64_t releases = 0, takeovers = 0, commits = 0;
  bool lost = false, ended = false;
};

RunResult run(const RunOptions& options);

// The command that repeats it.
std::string repeat_command(const RunOptions& options);

}  // namespace us::sim
