// RelayCut: what an epoch carries of the relays (SideKind::kRelay): the states of the flows that changed since the cut
// before, and the ids of those that ended.  Idle flows cost nothing.
//
// Rules, which the standby enforces (relay_replica.h):
//   * every flow that was opened in the log since the cut before is in it, changed or ended; so the first cut of a
//     session has all of them
//   * `position` is the log's at the cut; no state in it is of a later one
//   * a flow that has ended appears in no record and no cut any more
// Byte table: docs/wire/relay.md.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "core/tcp/flow_state.h"

namespace us {

struct NicCut {
  uint8_t nic = 0;
  std::vector<FlowState> changed;
  std::vector<FlowId> ended;
  bool operator==(const NicCut&) const = default;
};

struct RelayCut {
  LogPosition position;      // of the relay log when the epoch was cut
  std::vector<NicCut> nics;  // ascending
  bool operator==(const RelayCut&) const = default;
};

Bytes encode(const RelayCut& cut);
// Errors are ErrorKind::kProtocol.  What the states say of each other and of the log, RelayReplica judges.
Result<RelayCut> decode_relay_cut(ByteSpan bytes);

}  // namespace us
