// RelayReplica: what the standby knows of the primary's relays: the flows as of the last committed epoch, and the log.
//
//   RelayLogChunk ──► apply() ──► position to acknowledge      the records of before the cut are the committed state's,
//   side state ──► stage_cut() ──► (Ack) ──► commit()          those after it are `later`
//                                      │
//                                 take_over() ──► RestoredFlow: state, bytes, later ingress
//
// What is kept of each flow: replica_flow.h.
//
// Exactness.  Before it is acknowledged a cut is held against the log: the log has come as far as the cut says; every
// byte that a state refers to is here; the end of what the guest said is `committed`; every record of before the state
// is contained in it, so that none is lost between state and `later`; nothing goes back; every opened flow is there.
// All or nothing: after stage_cut() has said yes, commit() cannot fail.
//
// Flows that were opened in the log but in no committed epoch: the guest of that epoch is still in the handshake.  If
// the peer opened it, the guest is in SYN-RECEIVED and has yet to get all bytes: the flow is restored from its initial
// state.  If the guest opened it, it is in SYN-SENT, and the relay may not have said anything to the peer: dropped.
// Flows that ended after the committed epoch are still there.
//
// Errors are ErrorKind::kProtocol; after one nothing more is accepted, but what was committed can be taken over.
// Memory: bytes_max for the bytes of all flows, the list of their records, and the ranges in their states.  A primary
// trims its buffers as soon as it can, the replica only at a commit: it needs up to twice as much.  flows_max counts
// those that have ended since the committed epoch, too.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "core/replica/wire.h"
#include "core/tcp/relay_buffer.h"
#include "core/tcp/relay_cut.h"
#include "core/tcp/relay_record.h"
#include "core/tcp/replica_flow.h"

namespace us {

struct ReplicaLimits {
  size_t flows_max = 131072;
  uint32_t capacity_max = 64u << 20;  // of one direction of one flow; at most 2^29
  size_t bytes_max = size_t{1} << 30;
};

class RelayReplica {
 public:
  explicit RelayReplica(const ReplicaLimits& limits);
  RelayReplica(const RelayReplica&) = delete;
  RelayReplica& operator=(const RelayReplica&) = delete;

  // A primary's session begins: everything of an earlier one is forgotten.
  void begin_session();

  // Takes the records of a frame; returns the position to acknowledge.  One record is taken whole or not at all.
  Result<LogPosition> apply(const RelayLogChunk& chunk);
  LogPosition applied() const { return applied_; }

  // The relays' side state of an epoch that is otherwise whole, before it is acknowledged.  Empty is right as long as
  // there is no flow.  Replaces what was staged before.
  Status stage_cut(ByteSpan side_state);
  // The staged cut is committed.
  void commit();
  void discard_staged();

  // The flows that go on here.  The bytes stay in this object, which must not change while they are in use.
  std::vector<RestoredFlow> take_over() const;

  size_t flows() const { return flows_.size(); }
  size_t bytes() const;  // as bytes_max counts them

 private:
  struct Key {
    uint8_t nic;
    FlowId id;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const noexcept { return std::hash<uint64_t>{}(key.id.value() * 257 + key.nic); }
  };
  struct Entry {
    ReplicaFlow flow;
    uint64_t named_in = 0;  // number of the stage_cut() that named it last
  };
  using Flows = std::unordered_map<Key, Entry, KeyHash>;
  struct StagedState {
    Flows::value_type* entry;
    FlowState state;
  };
  struct Staged {
    LogPosition position;
    std::vector<StagedState> changed;
    std::vector<Key> ended;
  };

  Status take(const RelayRecord& record, LogPosition at);
  Status take_open(const OpenRecord& record, LogPosition at);
  Result<Flows::value_type*> find(uint8_t nic, FlowId id);
  // Lets `step` change a flow, and keeps the books.
  template <typename Step>
  Status change(Flows::value_type& entry, Step step);
  Status try_stage_cut(ByteSpan side_state);
  Result<Staged> judge(RelayCut&& cut);
  Result<Flows::value_type*> name(uint8_t nic, FlowId id, LogPosition cut);
  Status judge_complete(LogPosition cut);
  void drop(const Key& key);

  ReplicaLimits limits_;
  ChunkPool pool_;
  LogPosition applied_;
  LogPosition cut_;  // of the last committed epoch
  bool failed_ = false;
  bool has_committed_ = false;
  size_t list_bytes_ = 0;  // of all flows
  Flows flows_;
  std::map<LogPosition, Key> uncommitted_;  // flows with records that are in no committed state, by the first of them
  uint64_t cuts_named_ = 0;
  std::optional<Staged> staged_;
};

}  // namespace us
