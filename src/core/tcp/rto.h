// RetransmitTimer: the retransmission timeout, its back-off, and when to give the peer up.
// Source: RFC 6298 section 5 (numbers in comments), Karn's algorithm (RFC 6298 section 3), RFC 9293 section 3.8.3 (R2).
//
// The timeout itself comes from the RTT estimator.  15 retries, as in Linux, are about 15 minutes at 200 ms.
#pragma once

#include <cstdint>
#include <optional>

#include "base/time.h"

namespace us {

class RetransmitTimer {
 public:
  RetransmitTimer(uint32_t retries_max, Duration rto_max) : retries_max_(retries_max), rto_max_(rto_max) {}

  void restart(Instant now, Duration rto) { deadline_ = now + backed_off(rto); }  // (5.3)
  void start_if_idle(Instant now, Duration rto) {                                 // (5.1)
    if (!deadline_) restart(now, rto);
  }
  void stop() { deadline_.reset(); }  // (5.2)
  std::optional<Instant> deadline() const { return deadline_; }

  void on_expiry(Instant now, Duration rto);  // (5.5), (5.6)
  void on_progress() { retries_ = 0; }        // the peer acknowledged something new
  void on_rtt_sample() { backoff_ = 0; }      // an unambiguous one: only this ends the back-off (Karn)
  void on_peer_alive();                       // an answer while nothing can be acknowledged (zero window)

  Duration backed_off(Duration rto) const;
  uint32_t retries() const { return retries_; }  // expiries without progress
  bool gave_up() const { return retries_ > retries_max_; }

 private:
  uint32_t retries_max_;
  uint32_t retries_ = 0;
  uint32_t backoff_ = 0;  // doublings
  Duration rto_max_;
  std::optional<Instant> deadline_;
};

}  // namespace us
