// Loads of the disk benchmark: what runs in the guest, and how its report is read.  Pure.
//
// fio and pgbench measure with the guest's clock, which stands still while the guest is paused for a cut (under TCG,
// and with kvmclock).  So what they report has the pauses taken out already; `wall` puts them in again.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace us::bench {

struct DiskLoad {
  std::string name;      // "random-read", "pgbench", …
  std::string commands;  // shell, in the guest; prints one report
  double seconds = 0;    // how long it takes
};

struct DiskQuantity {
  std::string metric;
  std::string unit;
  double value = 0;
  bool is_rate = false;  // more is better, and pauses take their share of it
};

// All loads, each of about `seconds`.
std::vector<DiskLoad> disk_loads(double seconds);
// Writes the file that fio uses, once for each machine, so that no load has to allocate its blocks.
std::string fio_file_commands();

// What the report of a load says.  Error (kProtocol): it is not one.
Result<std::vector<DiskQuantity>> read_disk_report(const DiskLoad& load, std::string_view report);

// A rate in the guest's time as one of the wall clock, when the guest was paused for `paused` (0 to 1) of that.
inline double wall_rate(double rate, double paused) { return rate * (1 - paused); }

}  // namespace us::bench
