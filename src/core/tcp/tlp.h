// TailLossProbe: sends one segment when ACKs stay out, so that a loss at the end of a flight is found by an ACK after
// about two round trips and not by the retransmission timeout.  Source: RFC 8985 section 7.
//
// The sender decides when a probe may be scheduled (SACK is on, no recovery, nothing SACKed) and what it contains
// (new data, else the last segment again).
#pragma once

#include <cstdint>
#include <optional>

#include "base/time.h"
#include "core/tcp/seq_num.h"

namespace us {

class TailLossProbe {
 public:
  // `probe_min`: no probe sooner than this, for timers are coarse and hosts pause.
  explicit TailLossProbe(Duration probe_min) : probe_min_(probe_min) {}

  // Section 7.2.  `srtt` is zero when unknown; `one_segment`: no more than one segment is in flight, whose ACK may be
  // delayed.  Not later than the retransmission timer.
  void schedule(Instant now, Duration srtt, bool one_segment, Instant rto_deadline);
  void cancel() { deadline_.reset(); }
  std::optional<Instant> deadline() const { return deadline_; }

  // Section 7.3; `nxt` after the probe.  Until its fate is known there is no other.
  void on_probe_sent(SeqNum nxt, bool retransmission);
  bool outstanding() const { return outstanding_; }
  void reset();  // a timeout or a takeover ends the episode

  struct Ack {
    SeqNum ack{};
    std::optional<SeqNum> dsack_end{};  // end of the range that it reported as duplicate
    bool plain_duplicate = false;       // a duplicate ACK without SACK
  };
  // Section 7.4.2.  True: the probe repaired a loss that nothing else has noticed, which wants a congestion response.
  bool on_ack(const Ack& ack);

 private:
  Duration probe_min_;
  std::optional<Instant> deadline_;
  SeqNum end_;  // TLP.end_seq
  bool outstanding_ = false;
  bool retransmission_ = false;
};

}  // namespace us
