// ManyGuests: hosts with many guests each, in virtual time.  Each guest has the product's own EpochPolicy and
// PrimaryCore; they share the host's cores, the replication link, and the standby's cores.
//
// Of each epoch: a core for the pause, a core to encode, the link, a core of the standby to apply, half a round trip
// back.  What traffic costs (the log on the link, the relay on cores) is taken off the link and the cores beforehand.
// Requests come at random times; a request is answered at once, and the answer waits for the commit of its epoch.
//
// Not modelled: memory bandwidth and caches, interrupts, NUMA, the guests' own need of the cores (they have theirs).
#pragma once

#include <vector>

#include "sim/scale/parameters.h"

namespace us::sim::scale {

struct Load {
  int guests = 1;
  int cores = 8;          // of each host, for all that is not a guest
  double link_gbit = 10;  // replication, shared
  double epoch_ms = 25;
  bool cut_on_output = true;
  double requests = 0;        // a second and guest
  double mbit = 0;            // of each guest's connections, both directions together
  double pages = 0;           // that a guest dirties in a second beside what traffic dirties
  double working_set = 4096;  // pages: no epoch dirties more
  double seconds = 3;
  uint64_t seed = 1;
};

struct HostResult {
  std::vector<double> hold_ms;    // of answers: from the guest's saying it to its leaving
  std::vector<double> commit_ms;  // from the cut to the acknowledgement
  double pause_share = 0;         // of a guest's time, 0 to 1
  double epochs_per_second = 0;   // of a guest
  double link_share = 0;          // busy, 0 to 1; log included
  double core_share = 0;          // busy, relay included
  double waiting_mb = 0;          // output of connections that waits for commits, all guests, mean
  bool overloaded = false;        // the log or the relay alone wants more than there is
};

HostResult run_host(const Parameters& costs, const Load& load);

}  // namespace us::sim::scale
