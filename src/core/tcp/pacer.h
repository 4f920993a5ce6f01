// Pacer: spreads what the window allows over the round trip instead of sending it at once.
//
// The rate is a factor times cwnd / srtt, as Linux: 2 while the window may double per round trip, 1.2 after, so that
// pacing alone is never the limit.  Segments are super-segments of about a millisecond's worth, and a timer that comes
// up to a millisecond late is made good, so that an event loop with 1 ms timers reaches the full rate.
#pragma once

#include <cstdint>

#include "base/time.h"

namespace us {

class Pacer {
 public:
  explicit Pacer(bool enabled) : enabled_(enabled) {}

  void set_enabled(bool enabled) { enabled_ = enabled; }
  bool enabled() const { return enabled_; }
  // Bytes per second; 0: no limit (no RTT sample yet).
  void set_rate(uint64_t bytes_per_second) { rate_ = bytes_per_second; }
  uint64_t rate() const { return rate_; }
  static uint64_t rate_for(uint64_t window_bytes, Duration srtt, bool window_may_double);

  bool may_send(Instant now) const { return !limits() || now >= next_; }
  Instant next_send() const { return next_; }  // when !may_send()
  void on_sent(uint64_t bytes, Instant now);
  // How long one super-segment should be: a multiple of mss of at least two, at most `limit`.
  uint32_t burst_bytes(uint32_t mss, uint32_t limit) const;

 private:
  bool limits() const { return enabled_ && rate_ > 0; }

  bool enabled_;
  uint64_t rate_ = 0;
  Instant next_;
};

}  // namespace us
