// CwndUsage: was the congestion window the limit?  A window that was not used has not been validated and must not grow
// (RFC 7661, RFC 9438 section 5.8).  Judged per round trip, as Linux does.
#pragma once

#include <cstdint>

#include "core/tcp/seq_num.h"

namespace us {

class CwndUsage {
 public:
  // After a burst: `blocked` when the congestion window forbade more.
  void on_burst(SeqNum una, SeqNum nxt, uint64_t inflight, bool blocked) {
    if (una.before(round_end_) && !blocked && (blocked_ || inflight <= inflight_most_)) return;
    blocked_ = blocked;
    inflight_most_ = inflight;
    round_end_ = nxt;
  }
  // In slow start half a window in use is enough: the next round would need it all.
  bool limited(bool slow_start, uint64_t cwnd) const { return blocked_ || (slow_start && cwnd < 2 * inflight_most_); }

 private:
  bool blocked_ = false;
  uint64_t inflight_most_ = 0;
  SeqNum round_end_;
};

}  // namespace us
