// Flow: one relayed connection: two half-connections joined by two byte buffers, with the sequence numbers of the two
// real endpoints left as they are (the design and its rules: docs/tcp-relay.md).
//
//   guest ──► from_guest ──► [ egress buffer ] ──► to_peer ──► peer
//                             una   committed   taken
//                       ------[=========)---------)-----
//   guest ◄── to_guest ◄── [ ingress buffer ] ◄── from_peer ◄── peer
//
// Egress: the guest's bytes are taken and ACKed to it at once; only bytes of committed epochs go on.  Ingress: the
// peer's bytes go to the guest at once, and are ACKed to the peer when the standby has them.
//
// Pure: inputs on_*(), outputs poll_*(), a deadline.  Poll both sides after every input.  Owned by Relay (relay.h),
// which finds the flow of a frame and knows the epochs; the log, the chunk pool and the options are the Relay's.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "core/tcp/flow_state.h"
#include "core/tcp/frame.h"
#include "core/tcp/receiver.h"
#include "core/tcp/relay_buffer.h"
#include "core/tcp/relay_log.h"
#include "core/tcp/relay_replica.h"
#include "core/tcp/segment_builder.h"
#include "core/tcp/sender.h"
#include "core/tcp/timestamps.h"

namespace us {

// The optimizations, each of which can be measured alone.
struct RelayOptions {
  bool ack_guest = true;  // the guest's data is ACKed to it at once; else when the peer has ACKed it
  bool ack_peer = true;   // the peer's data is ACKed when durable; else when the guest's own ACK has committed
  bool recovery = true;   // CUBIC, RACK-TLP and pacing toward the peer; else whatever the window allows, at once
  bool offload = true;    // super-segments (TSO); else one frame a segment
  bool operator==(const RelayOptions&) const = default;
};

struct FlowContext {
  ChunkPool& pool;
  RelayLog& log;
  const RelayOptions& options;
  const SenderConfig& peer_sender;
  const SenderConfig& guest_sender;
  uint8_t nic = 0;
  // No standby: what the guest says is committed and what the peer says is durable at once.
  bool solo = true;
};

// A frame to be sent: headers, then payload pieces that stay valid until the flow's next input.
struct FlowFrame {
  BuiltHeader header;
  RelayBuffer::Spans payload;
};

enum class FlowEnd : uint8_t {
  kOpen,
  kClosed,  // both directions finished
  kPeerReset,
  kGuestReset,
  kPeerDead,   // the relay gave up on the peer; the guest was told
  kGuestDead,  // the guest takes no data any more; the peer was told
};
const char* to_string(FlowEnd end);

// Whether what a segment of the guest brought waits for its epoch to commit, and somebody for it.
enum class GuestSaid : uint8_t {
  kNothing,   // nothing waits for it: no news, or an ACK whose data the peer has been told of already
  kBulk,      // of a long burst: whoever reads it has enough to read until the epoch ends by itself
  kResponse,  // of a burst of at most kBurstMax, or its end; or a buffer is half full of what only a commit moves on
};
// A burst begins when the peer has acknowledged everything; one that goes on without end may grow by so much a second.
inline constexpr uint64_t kBurstMax = 2u << 20;
inline constexpr uint64_t kBurstLeakPerSecond = 4u << 20;

struct FlowCounters {
  uint64_t egress_bytes = 0;      // taken from the guest
  uint64_t ingress_bytes = 0;     // taken from the peer
  uint32_t dropped_segments = 0;  // of either side, by the receivers' verdicts
  uint32_t urgent_cleared = 0;    // segments whose urgent pointer was taken away (RFC 6093)
};

class Flow {
 public:
  // A connection that is being established, or that has just been; `state` as Relay makes it from the handshake.
  static Result<std::unique_ptr<Flow>> open(const FlowContext& context, const FlowState& state, Instant now);
  // After a sleep (flow_slot.h): `state` is a snapshot() of a flow at rest.
  static Result<std::unique_ptr<Flow>> wake(const FlowContext& context, const FlowState& state,
                                            const FlowCounters& counters, Instant now);
  // After a takeover.
  static Result<std::unique_ptr<Flow>> restore(const FlowContext& context, const RestoredFlow& restored, Instant now);

  // The relay begins, or begins again: both sides hear where the other stands (the last ACK of the handshake among it).
  void greet(Instant now);
  // The frame's TCP checksum has been verified.
  GuestSaid on_guest_segment(const FrameView& frame, Gather payload, Instant now);
  void on_peer_segment(const FrameView& frame, Gather payload, Instant now);
  void on_packet_too_big(uint32_t ip_bytes, SeqNum quoted);

  // The running epoch ends as `epoch`; what was taken so far belongs to it.
  void on_cut(Epoch epoch);
  void on_commit(Epoch epoch, Instant now);
  // The standby knows the flow; has this part of the ingress (as it was logged), or this bound of the clock.
  void on_open_durable();
  void on_ingress_durable(SeqRange range, Instant now);
  void on_clock_bound_durable(uint32_t bound, Instant now) { peer_clock_.on_bound_durable(bound, now); }
  // `solo` or the options have changed.
  void on_policy_changed(Instant now);
  // A standby's session begins: everything it needs of this flow is logged.
  void log_everything(Instant now);

  std::optional<FlowFrame> poll_to_peer(Instant now);
  std::optional<FlowFrame> poll_to_guest(Instant now);
  void on_deadline(Instant now);
  // Of the side toward the peer, and of the one toward the guest: a side that cannot be polled now needs no timer.
  Instant peer_deadline() const;
  Instant guest_deadline() const;

  FlowId id() const { return id_; }
  FlowEnd end() const { return end_; }
  bool ended() const { return end_ != FlowEnd::kOpen; }
  // Nothing is under way, due, or waited for: what snapshot() says is all there is.
  bool at_rest() const;
  // An epoch has been cut that has not committed yet.
  bool has_marks() const { return !marks_.empty(); }
  // Something that an epoch carries has changed since the last snapshot().
  bool changed() const { return changed_; }
  FlowState snapshot(Instant now);

  FrameTemplate as_guest() const { return as_guest_.snapshot(); }
  const Sender& to_peer() const { return to_peer_; }
  const Receiver& from_peer() const { return from_peer_; }
  const FlowCounters& counters() const { return counters_; }
  uint32_t uncommitted_bytes() const { return to_peer_.committed().distance_to(egress_.end()); }
  uint32_t undurable_bytes() const { return from_peer_.ackable().distance_to(from_peer_.next()); }
  size_t memory_bytes() const;

 private:
  // What the guest had said when an epoch was cut.
  struct Mark {
    Epoch epoch;
    SeqNum taken;
    SeqNum guest_acked;
    bool fin;
    bool reset;
    bool keep_alive;
  };

  Flow(const FlowContext& context, const FlowState& state, Sender to_peer, Sender to_guest, Receiver from_guest,
       Receiver from_peer, RelayBuffer egress, RelayBuffer ingress, TimestampClock peer_clock,
       TimestampClock guest_clock);

  AckInfo ack_info(const Segment& segment, const TimestampClock& clock, Instant now) const;
  AckBounds bounds_of(const Sender& sender) const;
  void take_from_guest(const Received& received, SeqNum end_before, const Segment& segment, Instant now);
  void note_burst(bool was_empty, uint64_t bytes, Instant now);
  GuestSaid judge_data() const;
  GuestSaid judge_ack() const;
  void take_from_peer(const Received& received, const Segment& segment, Instant now);
  void on_guest_ack(const Segment& segment, Instant now);
  void on_peer_ack(const Segment& segment, Instant now);
  void note_guest_said(Instant now);
  void apply_mark(const Mark& mark, Instant now);
  void on_guest_acked(SeqNum acked, Instant now);
  void postpone_reset(Instant now);
  void check_finished();
  void want_clock_bound(Instant now);
  bool may_speak_to_peer() const { return !embargo_ && !peer_reset_; }

  Segment segment_to_peer(Instant now) const;
  FlowFrame build_to_peer(Segment& segment, const AckOut& ack, const RelayBuffer::Spans& payload, Instant now);
  FlowFrame build_to_guest(Segment& segment, const AckOut& ack, const RelayBuffer::Spans& payload, Instant now);
  FlowFrame reset_to_peer(Instant now);
  FlowFrame reset_to_guest(Instant now);
  FlowFrame keep_alive_to_peer(Instant now);

  const FlowContext& context_;
  FlowId id_;
  bool guest_opened_;
  bool timestamps_;
  SegmentBuilder as_guest_;
  SegmentBuilder as_peer_;
  Sender to_peer_;
  Sender to_guest_;
  Receiver from_guest_;
  Receiver from_peer_;
  RelayBuffer egress_;
  RelayBuffer ingress_;
  TimestampClock peer_clock_;
  TimestampClock guest_clock_;

  std::vector<Mark> marks_;  // oldest first; a handful
  FlowEnd end_ = FlowEnd::kOpen;
  bool changed_ = true;
  // The peer must not hear of the relay yet: the standby may not know that there is one, and its guest could not keep
  // what the relay would promise; or the guest has opened the connection and that has not committed.
  bool embargo_;
  bool guest_reset_ = false;              // seen; said to the peer once committed, and once the peer has all before it
  bool peer_reset_ = false;               // seen; said to the guest once it has what came before a FIN
  bool reset_peer_ = false;               // due
  bool reset_guest_ = false;              // due
  bool keep_alive_ = false;               // seen; passed on once committed
  bool probe_peer_ = false;               // due
  bool awaiting_answer_ = false;          // to a passed-on probe
  SeqNum guest_acked_;                    // as of the latest committed epoch
  std::optional<Instant> reset_peer_at_;  // the guest's reset has committed: said then at the latest
  std::optional<uint32_t> bound_on_its_way_;
  FlowCounters counters_;
  uint64_t burst_bytes_ = 0;
  Instant burst_at_;  // when that was right
};

}  // namespace us
