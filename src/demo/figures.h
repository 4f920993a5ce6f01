// DemoFigures: what a run of the demo has measured, its verdict, and how both are told to a person and to a program.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "demo/daemon_status.h"

namespace us::demo {

enum class Fault { kKill, kCutNetwork };

// Of a guest with a replicated disk.
struct DiskFigures {
  uint64_t transactions = 0;  // of the ledger (ledger.h), acknowledged
  uint64_t transactions_lost = 0;
  // After the end of the guest.
  bool amcheck_clean = false;  // pg_amcheck on all databases, in the guest, before its end
  bool fsck_clean = false;     // e2fsck -fn on both images
  bool images_equal = false;   // byte by byte
};

struct DemoFigures {
  Fault fault = Fault::kKill;
  uint64_t seed = 0;
  std::string memory;
  std::string epoch;
  uint64_t rounds_wanted = 0;

  // Of the clients' connections.
  uint64_t connections = 0;
  uint64_t connections_survived = 0;
  uint64_t acknowledged_writes = 0;
  uint64_t acknowledged_writes_lost = 0;
  uint64_t downloads = 0;
  uint64_t download_bytes = 0;
  bool download_sha256_ok = false;
  double ping_p50_ms = 0;  // round trip while protected

  // One entry for each takeover.
  std::vector<double> stall_ms;
  std::vector<TakeoverStatus> takeovers;

  std::optional<DiskFigures> disk;  // nothing: the guest has none

  uint64_t epochs = 0;         // committed, of all generations
  uint64_t audits = 0;         // one before each fault: both hosts' copies of the guest's RAM, compared page by page
  uint64_t audited_pages = 0;  // all equal, or there is a failure
  // Of the generation whose pauses were longest; nothing if none was ever seen.
  std::optional<double> pause_p50_ms;
  std::optional<double> pause_p99_ms;

  std::vector<std::string> failures;  // what went wrong, a sentence each

  // Adds to `failures` what the numbers themselves show to be wrong.
  void judge();
  bool green() const { return failures.empty(); }
};

std::string to_json(const DemoFigures& figures);

// Several lines; `colour` marks the verdict with ANSI colours.
std::string to_text(const DemoFigures& figures, bool colour);

}  // namespace us::demo
