// NodeContext: what a node knows for as long as it runs, whatever its role.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "config/vm_config.h"
#include "core/replica/failover_config.h"
#include "host/directory_arbiter.h"
#include "host/dirty_page_fault.h"
#include "os/socket.h"
#include "os/unique_fd.h"
#include "qemu/command_line.h"

namespace us {

struct NodeContext {
  VmConfig config;
  Accelerator accelerator = Accelerator::kTcg;
  std::string accelerator_reason;  // why this one
  std::string node;                // our entry of replication.hosts, as text
  ReplicaAddress own_host;         // the same, as configured
  SocketAddress self;
  std::vector<SocketAddress> others;  // where a primary looks for a standby
  std::string runtime_directory;
  int qemu_log = -1;
  std::shared_ptr<DirectoryArbiter> arbiter;
  DirtyPageFault dirty_page_fault;  // for the first role as primary
  UniqueFd listener;                // TCP, on `self`
  UniqueFd heartbeats;              // UDP, on `self`

  FailoverConfig failover() const {
    FailoverConfig times;
    times.heartbeat = config.replication.heartbeat;
    times.detection = config.replication.detection;
    times.primary_delay = config.arbiter.primary_delay;
    return times;
  }
};

// Why a role ended.
enum class RoleEnd {
  kGuestEnded,  // by its user; nothing to protect any more
  kHandedOver,  // the other host runs it
  kFenced,      // the other host was given the VM, or must be presumed to have it
  kTookOver,    // a standby that is the primary from here on
  kStopped,     // this process was asked to end
  kFailed,      // this host cannot go on
};

struct RoleOutcome {
  RoleEnd end;
  std::string text;  // for a person
};

// One takeover or hand-over, as seen by the host that received the VM.
struct TakeoverRecord {
  Generation generation;
  bool planned = false;
  Duration detection;    // last sign of life until the decision to claim
  Duration arbitration;  // until the arbiter granted
  Duration restore;      // until QEMU had the epoch's state
  Epoch epoch;           // the one it continued from
  Instant decided;       // on this host's clock: when the claim began; the times above follow from here
  Instant restored;
};

}  // namespace us
