// brief_run: starts a program, gathers what it prints and waits for its end, all within a time limit.
//
// For probes and version queries.  The program is killed when the limit passes.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace us {

struct BriefRun {
  std::string output;               // standard output and error, the first 64 KiB
  std::optional<std::string> exit;  // as ChildProcess says it ("exited with status 0"); nothing: it was killed by us
};

struct BriefRunOptions {
  std::vector<std::string> argv;
  std::vector<std::pair<int, int>> inherited;  // as SpawnOptions
  Duration limit = Duration::seconds(3);
  std::string_view stop_at;  // killed at once when this appears in its output; empty: not used
};

// Fails only when the program cannot be started.
Result<BriefRun> brief_run(const BriefRunOptions& options);

}  // namespace us
