// DaemonStatus: what `understudy status NAME --json` says, as far as the demo and the tests need it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace us::demo {

struct TakeoverStatus {
  uint64_t generation = 0;
  double detection_ms = 0;  // from the last sign of the old primary to the decision that it is gone
  double arbitration_ms = 0;
  double restore_ms = 0;
  double announce_ms = 0;
  double total_ms = 0;
};

struct DaemonStatus {
  std::string name;
  std::string role;         // "primary", "standby", "fenced" or "ended"
  std::string state;        // "solo", "syncing", "protected", ...
  std::string accelerator;  // "kvm" or "tcg"
  std::string accelerator_reason;
  std::string dirty_tracker;  // "userfaultfd" or "soft-dirty"
  uint64_t generation = 0;
  uint64_t epoch = 0;
  uint64_t committed_epoch = 0;
  double sync_progress = 0;  // 0 to 1
  std::optional<double> pause_p50_ms;
  std::optional<double> pause_p99_ms;
  uint64_t audits = 0;  // done by this primary
  uint64_t audit_differences = 0;
  uint64_t guest_resets = 0;
  uint64_t resets_in_pauses = 0;  // between stop and save of a cut
  std::vector<TakeoverStatus> takeovers;

  bool is_protected() const { return role == "primary" && state == "protected"; }
};

// Error: this is not the JSON of a daemon's status.  Keys that are missing keep their defaults.
Result<DaemonStatus> parse_daemon_status(std::string_view json);

}  // namespace us::demo
