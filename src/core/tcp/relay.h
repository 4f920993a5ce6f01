// Relay: all relayed connections of one NIC.  It decides which frames belong to a flow, gives the flows their turns and
// their time, and speaks for them to epochs and replication.
//
//   from the guest ──► on_guest_frame() ──┬─ a flow's: taken ──────────────► poll_to_uplink()
//                                         └─ anything else: pass it through the plain gate
//   from the uplink ─► on_uplink_frame() ─┬─ a flow's: taken ──────────────► poll_to_guest()
//                                         └─ anything else: give it to the guest as it is
//
// Pure and single-threaded.  Bounded: flows, half-open connections and buffer memory have limits, beyond which a new
// connection goes unrelayed.  Output of flows obeys the same gate as every frame: the owner polls only while the host
// may speak.  A flow that has been silent for kSilence sleeps (flow_slot.h).
#pragma once

#include <deque>
#include <memory>
#include <set>
#include <unordered_map>
#include <vector>

#include "core/tcp/flow_slot.h"
#include "core/tcp/handshake.h"
#include "core/tcp/packet_too_big.h"

namespace us {

struct RelayLimits {
  size_t flows_max = 32768;
  size_t buffer_bytes_max = size_t{256} << 20;
  size_t unrelayed_listed_max = 64;
  HandshakeLimits handshake;
};

// A connection that goes through the plain gate.
struct Unrelayed {
  FlowKey key;
  RelayObstacle obstacle = RelayObstacle::kNone;  // kNone: beyond a limit
};

struct RelayCounters {
  uint64_t opened = 0;
  uint64_t ended = 0;
  uint64_t not_relayed = 0;  // completed handshakes with an obstacle
  uint64_t over_limit = 0;   // completed handshakes beyond flows_max
  uint64_t bad_checksum = 0;
  uint64_t packets_too_big = 0;  // ICMP reports about a segment of a flow
  uint64_t slept = 0;
  RelayObstacle last_obstacle = RelayObstacle::kNone;
};

class Relay {
 public:
  enum class Disposition { kPass, kTaken };
  static constexpr Duration kSilence = Duration::seconds(10);

  Relay(uint8_t nic, const RelayLimits& limits, uint64_t hash_secret, RelayLog& log);

  // `frame` begins with the Ethernet header and is whole.
  Disposition on_guest_frame(const VnetHeader& vnet, ByteSpan frame, Instant now);
  // Of the latest of these frames, if it was taken.
  GuestSaid guest_said() const { return guest_said_; }
  Disposition on_uplink_frame(const VnetHeader& vnet, ByteSpan frame, Instant now);

  // Off: new connections are not relayed; those that are stay so until they end.
  void set_enabled(bool enabled) {
    enabled_ = enabled;
    if (!enabled) handshakes_.clear();
  }
  void set_options(const RelayOptions& options, Instant now);
  void set_solo(bool solo, Instant now);

  // The running epoch ends as `epoch`: marks what the guest has said.  Takes the states of flows that changed since the
  // previous cut, and the ids of those that ended.
  void on_cut(Epoch epoch, Instant now, std::vector<FlowState>& changed, std::vector<FlowId>& ended);
  void on_commit(Epoch epoch, Instant now);
  void on_open_durable(FlowId id, Instant now);
  void on_ingress_durable(FlowId id, SeqRange range, Instant now);
  void on_clock_bound_durable(FlowId id, uint32_t bound, Instant now);
  // A standby's session begins; the log is enabled already.
  void begin_session(Instant now);
  // After a takeover.  Flows that cannot be restored are left out and counted as ended; their endpoints get no answer.
  void restore(const std::vector<RestoredFlow>& flows, Instant now);

  // The frame's payload stays valid until the next input.
  std::optional<FlowFrame> poll_to_uplink(Instant now);
  std::optional<FlowFrame> poll_to_guest(Instant now);
  void on_deadline(Instant now);
  Instant next_deadline() const;

  size_t size() const { return by_id_.size(); }
  size_t half_open() const { return handshakes_.size(); }
  const RelayCounters& counters() const { return counters_; }
  // The guest has said something on a flow that no committed epoch contains yet.
  bool holds_uncommitted() const { return uncommitted_; }
  template <typename Visit>
  void for_each_flow(Visit visit) const {
    for (const auto& [id, entry] : by_id_) visit(entry->key, static_cast<const FlowSlot&>(entry->slot));
  }
  // The latest of them, oldest first.
  const std::deque<Unrelayed>& unrelayed() const { return unrelayed_; }
  size_t pool_bytes() const { return pool_.bytes_in_use(); }

 private:
  struct Entry {
    FlowKey key;
    FlowSlot slot;
    bool active = true;                     // since the last sweep
    bool ready_to_peer = false;             // in ready_to_peer_
    bool ready_to_guest = false;            // in ready_to_guest_
    bool changed = false;                   // in changed_
    bool marked = false;                    // in marked_
    Instant timer = Instant::far_future();  // as in timers_
  };
  using ReadyList = std::deque<FlowId>;

  Disposition dispatch(const VnetHeader& vnet, ByteSpan frame, bool from_guest, Instant now);
  Disposition watch_handshake(const FlowKey& key, const FrameView& view, Gather payload, bool from_guest, Instant now);
  Disposition on_report(const PacketTooBig& report, Instant now);
  bool intact(const FrameView& view, Gather payload);
  void refuse(const FlowKey& key, RelayObstacle obstacle);
  void deliver(Entry& entry, const FrameView& view, Gather payload, bool from_guest, Instant now);
  Entry* find(FlowId id);
  Entry& add(const FlowKey& key, std::unique_ptr<Flow> flow);
  void touch(Entry& entry);
  void note_changed(Entry& entry);
  void rearm(Entry& entry);
  void finish(Entry& entry);
  Flow& awake(Entry& entry, Instant now);
  void sweep(Instant now);
  std::optional<FlowFrame> poll(ReadyList& list, bool to_guest, Instant now);

  RelayLimits limits_;
  RelayOptions options_;
  SenderConfig peer_sender_;
  SenderConfig guest_sender_;
  ChunkPool pool_;
  FlowContext context_;
  bool enabled_ = true;
  bool uncommitted_ = false;
  GuestSaid guest_said_ = GuestSaid::kNothing;
  HandshakeTracker handshakes_;
  uint64_t next_id_ = 1;
  std::unordered_map<FlowKey, std::unique_ptr<Entry>, FlowKeyHash> by_key_;
  std::unordered_map<FlowId, Entry*> by_id_;
  ReadyList ready_to_peer_;
  ReadyList ready_to_guest_;
  std::vector<FlowId> changed_;
  std::vector<FlowId> marked_;
  std::vector<FlowId> ended_;
  std::set<std::pair<Instant, FlowId>> timers_;
  Instant next_sweep_ = Instant::far_future();  // set while a flow is awake
  std::deque<Unrelayed> unrelayed_;
  RelayCounters counters_;
};

}  // namespace us
