// Story: everything about a run that is decided before it begins, from its seed.
#pragma once

#include <optional>
#include <vector>

#include "core/tcp/flow.h"
#include "core/tcp/relay.h"
#include "sim/relay/tcp_end.h"

namespace us::sim::relay {

struct LinkQuality {
  Duration delay = Duration::millis(2);
  Duration jitter = Duration::micros(200);
  double loss = 0, twice = 0, late = 0, damaged = 0;
  Duration late_by = Duration::millis(20);
};

enum class FaultKind : uint8_t {
  kKill,         // the primary ends; its standby takes over
  kLinkLost,     // the stream between the hosts ends; after a while the primary goes on alone, or is taken over
  kLinkStalls,   // nothing passes on it for a while
  kNetworkCut,   // nothing passes between host and clients
  kNetworkBad,   // half of it is lost
  kGuestPaused,  // stopped, its rings with it
  kOptions,      // the modes of the relay change
  kEnable,       // new connections are relayed no longer, or again
};
inline constexpr size_t kFaultKinds = 8;

struct Fault {
  Duration at;
  FaultKind kind = FaultKind::kKill;
  Duration length;
  uint64_t number = 0;  // what else it needs to know
};

struct Connection {
  bool guest_opens = false;
  EndConfig guest, client;
  AppPlan guest_app, client_app;
  Duration start;
};

struct Story {
  std::vector<Connection> connections;
  LinkQuality network;                           // between host and clients
  Duration replication = Duration::micros(300);  // one way
  Duration replication_jitter = Duration::micros(100);
  Duration epoch = Duration::millis(25);
  Duration pause = Duration::millis(2);  // of the guest, for a cut
  int epochs_in_flight_max = 2;
  Duration join = Duration::millis(5);  // until there is a standby again
  Duration takeover = Duration::millis(20);
  Duration faults_for = Duration::millis(1500);
  RelayLimits limits;
  RelayOptions options;
  size_t log_backlog_max = RelayLog::kBacklogBytesMax;
  std::vector<Fault> faults;
};

Story random_story(uint64_t seed);

}  // namespace us::sim::relay
