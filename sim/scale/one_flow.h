// OneFlow: one connection through the product's own Relay, RelayLog, EpochPolicy and PrimaryCore in virtual time, at
// rates that no machine here can carry.  The guest sends as fast as the relay's window lets it; the client acknowledges
// all it gets.
//
//   guest ─► data path (one core: what the relay costs) ─► line of `gbit`, round trip ─► client
//               │ log                                                    ▲
//               └─► replication link ─► standby ─► acknowledgement ──────┘ commit
//
// Charged: the relay's cost for each frame and byte, pauses, the sender's encoding of pages, the replication link for
// log and pages.  Not charged: virtqueues, tap and network card; the guest's own work.  So these are upper bounds of
// the rates.
#pragma once

#include "sim/scale/parameters.h"

namespace us::sim::scale {

struct FlowLoad {
  double gbit = 10;  // of the client's line
  double replication_gbit = 10;
  double rtt_ms = 0.2;  // of the client's line
  double epoch_ms = 25;
  bool is_protected = true;
  double buffer_mb = 8;  // of the relay, for each direction
  double seconds = 0.3;  // measured, after a third as much
};

struct FlowResult {
  double gbit = 0;            // payload at the client
  double buffer_mb = 0;       // the most that the relay held
  double log_backlog_mb = 0;  // the most that the standby had not acknowledged
  double core_share = 0;      // of the data path
  double replication_share = 0;
  double pause_share = 0;
  double epochs_per_second = 0;
  double commit_ms = 0;  // mean
};

FlowResult run_flow(const Parameters& costs, const FlowLoad& load);

}  // namespace us::sim::scale
