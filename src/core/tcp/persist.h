// PersistTimer: probes a peer whose window lets nothing out, for the segment that opens the window again may be lost.
// Source: RFC 9293 section 3.8.6.1; the same timer is the override of the sender's silly window avoidance (3.8.6.2.1).
//
// Runs only while there is something to send, the window forbids it, and nothing is in flight.  A peer that answers is
// probed for ever (a stalled reader is not dead); one that is silent is given up like at a retransmission timeout.
#pragma once

#include <cstdint>
#include <optional>

#include "base/time.h"

namespace us {

class PersistTimer {
 public:
  PersistTimer(uint32_t unanswered_max, Duration interval_max)
      : unanswered_max_(unanswered_max), interval_max_(interval_max) {}

  void start_if_idle(Instant now, Duration rto) {
    if (!deadline_) deadline_ = now + interval(rto);
  }
  // Sending is possible again.
  void stop();
  std::optional<Instant> deadline() const { return deadline_; }

  void on_probe(Instant now, Duration rto);  // one was sent: the next interval is twice as long
  void on_answer() { unanswered_ = 0; }      // any acceptable ACK
  bool gave_up() const { return unanswered_ > unanswered_max_; }

 private:
  Duration interval(Duration rto) const;

  uint32_t unanswered_max_;
  uint32_t unanswered_ = 0;
  uint32_t backoff_ = 0;
  Duration interval_max_;
  std::optional<Instant> deadline_;
};

}  // namespace us
