// Receiver: the receive half of a relayed connection toward one endpoint, guest or client.
// Single-threaded; performs no I/O; owns no bytes.
//
//   on_segment() ──► judged (RFC 9293 section 3.10.7.4, RFC 5961, RFC 7323) ──► bytes in the RelayBuffer
//        │                                                                        │ `stored`: log them
//        └──► verdict: what the flow has to do                     on_ackable() ◄─┘ the log is durable
//                                                                       │
//                     poll_ack() ◄── delayed ACKs, SACK, window ◄───────┘
//
// Sequence space:
//
//   last_ack_sent()      ackable()        next()                    right_edge()
//   ------[==================|===============)- - - -[=====)- - - - - -]------
//          may be acknowledged   taken, waits         held             offered window
//
// What may be acknowledged: everything taken, or (config.ack_waits) only what on_ackable() has named, in the order in
// which on_segment() returned it.  SACK blocks and D-SACK obey the same limit (tcp.md, rule 1).
//
// The RelayBuffer of this direction is the owner's and is passed in; only this object may append to it.  The owner
// trims it, and polls for an ACK after every input and after trimming (a window update may be due).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/tcp/ack_policy.h"
#include "core/tcp/reassembly.h"
#include "core/tcp/receive_window.h"
#include "core/tcp/receiver_state.h"
#include "core/tcp/relay_buffer.h"
#include "core/tcp/sack_generator.h"
#include "core/tcp/segment.h"
#include "core/tcp/timestamps.h"

namespace us {

enum class ReceiveVerdict : uint8_t {
  kAccepted,
  kReset,      // a valid RST: the connection is gone
  kKeepAlive,  // a probe, not answered here
  kUrgent,     // urgent data; nothing was taken, so that the flow may end the relay first
  // Dropped; where an answer is due, poll_ack() gives it:
  kOutOfWindow,    // old or beyond the window
  kOldTimestamp,   // PAWS, RFC 7323 section 5
  kNoTimestamp,    // RFC 7323 section 3.2
  kBlindReset,     // a RST that does not name RCV.NXT (RFC 5961 section 3.2)
  kUnexpectedSyn,  // RFC 5961 section 4.2
  kBadAck,         // acknowledges what was never sent, or too old (RFC 5961 section 5.2)
  kNoAck,          // no ACK flag
  kMalformed,      // options
};
std::string_view to_string(ReceiveVerdict);

// Which ACKs make sense: [SND.UNA - the largest window the peer has offered, what was sent].  After a takeover
// `highest` is what is committed (tcp.md, rule 4).
struct AckBounds {
  SeqNum lowest;
  SeqNum highest;
};

struct Received {
  explicit Received(ReceiveVerdict v, bool valid = false) : verdict(v), ack_valid(valid) {}
  ReceiveVerdict verdict;
  bool ack_valid;  // ACK, window and SACK of the segment are for the sender half
  // New sequence numbers taken: bytes from `stored.start` on are in the buffer (peek_stored()), and if `fin`, the
  // last number is the FIN.  Bytes between that had come before may be among them.
  SeqRange stored;
  bool fin = false;
  bool complete = true;  // false: some of the bytes found no room and were dropped
};

struct AckOut {
  SeqNum ack;
  uint16_t window = 0;  // as in the header
  bool ece = false;
  std::optional<uint32_t> timestamp_echo;
  TcpOptions sack;  // its SACK blocks alone

  // Makes `segment` carry this; `timestamp` is our TSval.
  void write_to(Segment& segment, uint32_t timestamp) const;
};

class Receiver {
 public:
  // `next`: RCV.NXT.  `right_edge`: what the endpoint that we stand for has offered so far.  `recent_timestamp`:
  // TS.Recent, the latest TSval of the handshake.
  Receiver(const ReceiverConfig& config, SeqNum next, SeqNum right_edge, uint32_t recent_timestamp, Instant now);
  // `buffer` holds the stream up to its end, and state.held ahead of it.
  static Result<Receiver> restore(const ReceiverState& untrusted, const RelayBuffer& buffer, Instant now);
  ReceiverState snapshot(Instant now) const;

  // `payload` is segment.payload_length bytes; its checksum was verified.
  Received on_segment(const Segment& segment, Gather payload, const AckBounds& acks, RelayBuffer& buffer, Instant now);
  // `range`, which on_segment() returned as stored, may be acknowledged.  In the order in which they were returned.
  void on_ackable(SeqRange range, Instant now);
  void on_fin_ackable(Instant now);
  // An ACK is to go out at once (a keep-alive was answered by the other side, a path changed …).
  void request_ack() { policy_.ack_now(); }
  // From now on taken bytes wait for on_ackable(), or no longer (solo mode, `ack-guest`, `ack-peer`).
  void set_ack_waits(bool waits, Instant now);

  // Takeover, client side: bytes that the log has beyond the restored state, as on_segment() returned them; then
  // take_over() once.  All are acknowledgeable: they are durable where we are.
  // Fails if they do not fit there: then this connection cannot be carried on.
  Status on_logged(SeqRange stored, bool fin, Gather bytes, RelayBuffer& buffer);
  // The old primary may have acknowledged all that was logged and offered all that the buffer has room for.
  void take_over(const RelayBuffer& buffer, Instant now);

  // An ACK that is due now.
  std::optional<AckOut> poll_ack(const RelayBuffer& buffer, Instant now);
  // The ACK fields of a segment that is sent anyway.
  AckOut take_ack(const RelayBuffer& buffer, Instant now);
  std::optional<Instant> next_deadline() const;

  SeqNum next() const { return reassembly_.next(); }
  SeqNum ackable() const { return ackable_; }  // FIN included, if taken
  SeqNum last_ack_sent() const { return last_ack_sent_; }
  SeqNum right_edge() const { return window_.right_edge(); }
  bool finished() const { return reassembly_.finished(); }     // all data and the FIN were taken
  const RangeSet& held() const { return reassembly_.held(); }  // with the number of a FIN
  std::optional<SeqNum> fin() const { return reassembly_.fin(); }
  const ReceiverConfig& config() const { return config_; }

 private:
  Receiver(const ReceiverConfig& config, Reassembly reassembly, ReceiveWindow window, TimestampEcho echo);

  std::optional<ReceiveVerdict> judge_timestamp(const Segment&, Instant now);
  std::optional<ReceiveVerdict> judge_probe(const Segment&) const;
  ReceiveVerdict judge_reset(const Segment&, Instant now);
  bool in_window(const Segment&) const;
  Received out_of_window(const Segment&, const AckBounds&, Instant now);
  std::optional<ReceiveVerdict> judge_ack(const Segment&, const AckBounds&, Instant now);
  SeqRange wanted_part(const Segment&, const RelayBuffer&) const;
  void take_text(const Segment&, Gather payload, RelayBuffer&, Received& out);
  void take_fin(SeqNum at, Received& out);
  void on_ecn(const Segment&);
  void on_duplicate(SeqRange range);
  void answer(const Segment&, Instant now);
  void challenge(Instant now);
  void advance_ackable(SeqNum to, Instant now);
  SeqNum ack_number() const;
  void release_all(Instant now);
  struct Room {
    SeqNum capacity_edge;
    SeqNum hard_edge;
    uint32_t step;
  };
  Room room_in(const RelayBuffer&) const;

  ReceiverConfig config_;
  bool fin_ackable_ = false;
  bool congestion_seen_ = false;
  bool ack_when_ackable_ = false;  // something came that wants an immediate ACK, but only with a larger number
  uint16_t segment_bytes_;         // of a full wire segment, as seen so far
  SeqNum ackable_;
  SeqNum last_ack_sent_;
  Reassembly reassembly_;
  RangeSet ahead_;  // of what is held, what may be acknowledged
  ReceiveWindow window_;
  SackGenerator sack_;
  AckPolicy policy_;
  TimestampEcho echo_;
  Instant next_answer_;  // rate limit of answers to what may be forged
};

}  // namespace us
