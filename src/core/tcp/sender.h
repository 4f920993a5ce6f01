// Sender: the sending half of one side of a relayed connection.  It decides which bytes to send when, from what the
// peer acknowledges; the bytes themselves are in the relay buffer, which knows nothing of this.
//
//          una                  nxt             committed (+ FIN)
//    -------[====================)---------------)-----------------
//     acked   sent, see scoreboard  may be sent    not committed: never sent
//
// Peer side: congestion control, RACK-TLP, PRR, pacing.  Guest side: the same class with SenderConfig::for_guest(),
// where only the guest's window limits.  Single-threaded, no I/O, no clock; allocates for the scoreboard only.
//
// Use: give inputs (on_*), then call poll_segment() until it gives nothing, then arm a timer for next_deadline(). After
// a pause give the ACKs that wait before on_deadline(), or they count as missing.  Trim the relay buffer to una().
// `config` must outlive the sender.
//
// Every ACK must have passed the receiver half's check of its sequence number (RFC 9293 section 3.10.7.4).
// Everything in it is untrusted otherwise.  The parts, and where their sources are cited: sender_ack.cc (what an ACK
// changes), sender_poll.cc (what is sent next), sender_timers.cc (what happens without ACKs).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/result.h"
#include "base/time.h"
#include "core/tcp/congestion_control.h"
#include "core/tcp/cwnd_usage.h"
#include "core/tcp/dupack_counter.h"
#include "core/tcp/frto.h"
#include "core/tcp/pacer.h"
#include "core/tcp/peer_window.h"
#include "core/tcp/persist.h"
#include "core/tcp/pmtu.h"
#include "core/tcp/prr.h"
#include "core/tcp/rack.h"
#include "core/tcp/rto.h"
#include "core/tcp/rtt_estimator.h"
#include "core/tcp/scoreboard.h"
#include "core/tcp/sender_state.h"
#include "core/tcp/seq_num.h"
#include "core/tcp/tlp.h"
#include "core/tcp/undo.h"

namespace us {

struct AckInfo {
  SeqNum seq{};  // of the segment that carried the ACK
  SeqNum ack{};
  uint16_t window = 0;  // as in the header, not scaled
  bool pure = true;     // no payload, SYN or FIN: may count as a duplicate ACK
  bool ece = false;
  std::span<const SeqRange> sack{};  // as in the option, unjudged; a DSACK comes first
  std::optional<EchoTime> echo{};    // when the echoed timestamp was sent; absent without timestamps
};

enum class AckVerdict : uint8_t {
  kAccepted,
  kStale,         // older than what is known; nothing but its SACK blocks was looked at
  kUnacceptable,  // for bytes never sent, or too old: drop the segment, answer with an ACK (RFC 5961 section 5.2),
                  // at a limited rate (its section 7), which is the owner's
};

struct SegmentOut {
  SeqNum seq{};
  uint32_t length = 0;  // payload bytes; more than mss: a super-segment of mss each
  uint32_t mss = 0;
  bool fin = false;
  bool push = false;  // no more committed data waits behind it
  bool retransmission = false;
  bool ect = false;  // set ECT(0) in the IP header
  bool cwr = false;
};

enum class SenderVerdict : uint8_t {
  kAlive,
  kPeerDead,  // too many timeouts or window probes without an answer: the guest gets a reset (tcp.md, rule 6)
};

struct SenderStats {
  uint64_t bytes_sent = 0;  // first transmissions
  uint64_t bytes_retransmitted = 0;
  uint64_t bytes_delivered = 0;  // ACKed and SACKed, each byte once
  uint32_t recoveries = 0;       // fast recoveries begun
  uint32_t timeouts = 0;
  uint32_t tail_probes = 0;
  uint32_t window_probes = 0;
  uint32_t spurious = 0;  // reductions undone
  uint32_t ecn_reductions = 0;
  uint32_t renegings = 0;
  uint32_t acks_unacceptable = 0;
};

class Sender {
 public:
  // Of a connection whose bytes from una on have never been sent.
  static Result<Sender> create(const SenderState& state, const SenderConfig& config);
  // After a takeover (tcp.md, rule 4): any ACK up to `committed` is valid, the window starts from scratch, and what is
  // not acknowledged is sent again from una on, at once.
  static Result<Sender> restore(const SenderState& untrusted, const SenderConfig& config);
  SenderState snapshot() const;

  // Inputs.
  void on_committed(SeqNum committed);  // never backward, never after on_fin()
  void on_fin();                        // a FIN behind the last committed byte is committed
  AckVerdict on_ack(const AckInfo& info, Instant now);
  // An ICMP report: segments of more than `mss` payload bytes do not pass; `quoted` is the sequence number in the
  // report, which must be of a byte in flight (RFC 5927 section 4).  True when the segment size was lowered.
  bool on_packet_too_big(uint32_t mss, SeqNum quoted);
  void on_deadline(Instant now);
  void set_pacing(bool enabled) { pacer_.set_enabled(enabled); }
  void set_congestion_control(CongestionKind kind);  // starts from the initial window

  // Outputs.
  std::optional<SegmentOut> poll_segment(Instant now);
  std::optional<Instant> next_deadline() const;
  SenderVerdict verdict() const { return verdict_; }

  SeqNum una() const { return una_; }
  SeqNum nxt() const { return board_.end(); }  // end of what was sent, or may have been before a takeover
  SeqNum committed() const { return committed_; }
  bool fin_committed() const { return fin_; }
  bool fin_acked() const { return fin_ && una_ == limit(); }
  uint32_t unacked_bytes() const { return una_.distance_to(limit()); }  // FIN included
  // Nothing to send and nothing to wait for.  An owner with many idle flows may keep snapshot() alone and create() it
  // again: what is lost is the RTT and a window that RFC 5681 section 4.1 distrusts after a silence anyway.
  bool idle() const { return unacked_bytes() == 0; }

  // For the flow table's listing and for tests.
  const SenderStats& stats() const { return stats_; }
  const RttEstimator& rtt() const { return rtt_; }
  const PeerWindow& peer_window() const { return peer_; }
  uint32_t mss() const { return pmtu_.mss(); }
  uint64_t cwnd() const { return window(); }
  uint64_t ssthresh() const { return cc_->ssthresh(); }
  uint64_t inflight_bytes() const;
  uint64_t delivery_rate() const { return delivery_rate_; }  // bytes per second over the last round trip; 0 is unknown
  uint64_t pacing_rate() const { return pacer_.rate(); }
  bool in_recovery() const { return state_ == State::kFast || state_ == State::kTimeout; }
  size_t memory_bytes() const;  // this object, its scoreboard, its congestion control

 private:
  enum class State : uint8_t {
    kOpen,
    kReduced,  // the window goes down for an ECN mark or a probe that repaired a loss; nothing is lost
    kFast,     // fast recovery
    kTimeout,  // recovery after a retransmission timeout
  };
  enum class Forced : uint8_t { kNone, kTailProbe, kTimeoutHead, kWindowProbe };
  struct AckWork;

  Sender(const SenderState& state, const SenderConfig& config);
  SeqNum limit() const { return fin_ ? committed_ + 1 : committed_; }
  uint64_t window() const;
  Rack::Path path() const;
  void set_state(State to);
  void reduce_window(Instant now, uint64_t delivered);
  void update_pacing();

  // sender_ack.cc
  AckVerdict judge(SeqNum ack) const;
  void take_cumulative(AckWork& work);
  void take_sack(AckWork& work);
  void note_delivered(const SentRun& run, AckWork& work, bool cumulative);
  void take_duplicate(AckWork& work);
  void take_rtt(const AckWork& work);
  void take_evidence(const AckWork& work);
  void take_ecn(const AckWork& work);
  void leave_recovery();
  void find_losses(AckWork& work);
  void on_loss(Instant now, uint64_t delivered, bool retransmission_lost);
  void undo_reduction(Instant now);
  void adjust_window(const AckWork& work);
  void adjust_timers(const AckWork& work);
  bool may_restart_timeout() const;

  // sender_poll.cc
  std::optional<SegmentOut> poll_forced(Instant now);
  std::optional<SegmentOut> poll_retransmission(Instant now);
  std::optional<SegmentOut> poll_new(Instant now);
  std::optional<SegmentOut> poll_for_frto(Instant now);
  std::optional<SegmentOut> send_tail_probe(Instant now);
  std::optional<SegmentOut> send_timeout_head(Instant now);
  std::optional<SegmentOut> send_window_probe(Instant now);
  SegmentOut send(SeqRange range, bool retransmission, Instant now);
  uint32_t room_in_peer_window(SeqNum from) const;
  uint32_t fit_into_window(uint32_t length);
  uint32_t new_length(uint32_t most) const;
  bool paced_out(Instant now);
  void restart_after_idle(Instant now);
  void when_nothing_was_sent(Instant now);

  // sender_timers.cc
  void on_reordering_timer(Instant now);
  void on_tail_probe_timer(Instant now);
  void on_timeout(Instant now);
  void on_persist_timer(Instant now);
  bool may_probe_tail() const;
  void schedule_tail_probe(Instant now);

  const SenderConfig* config_;
  SeqNum una_;
  SeqNum committed_;
  bool fin_;
  bool sack_;
  bool ecn_;

  State state_ = State::kOpen;
  SenderVerdict verdict_ = SenderVerdict::kAlive;
  Forced forced_ = Forced::kNone;
  bool cwr_pending_ = false;
  bool window_override_ = false;  // send what fits, however little (RFC 9293 section 3.8.6.2.1)
  bool blocked_by_cwnd_ = false;  // in this round of poll_segment()
  bool had_recovery_ = false;     // recover_ is valid: una has not passed it
  bool partial_acked_ = false;    // in this fast recovery
  bool ecn_reacted_ = false;      // ecn_recover_ is valid
  SeqNum recover_;                // nxt when the latest reduction began
  SeqNum ecn_recover_;            // no second reaction to ECE until una is beyond
  Instant reduced_at_;            // latest reduction
  std::optional<Instant> last_sent_at_;
  std::optional<Instant> paced_until_;
  std::optional<uint32_t> frto_new_bytes_;  // F-RTO step 2b until the next ACK: that much new data, no retransmission
  uint64_t delivery_rate_ = 0;

  PeerWindow peer_;
  Scoreboard board_;
  RttEstimator rtt_;
  std::unique_ptr<CongestionControl> cc_;
  CwndUsage usage_;
  Rack rack_;
  TailLossProbe tlp_;
  DupAckCounter dup_;
  Prr prr_;
  Undo undo_;
  Frto frto_;
  RetransmitTimer rto_;
  PersistTimer persist_;
  Pacer pacer_;
  PathMtu pmtu_;
  SenderStats stats_;
};

}  // namespace us
