// AckPolicy: when an acknowledgement is due (RFC 5681 section 4.2, RFC 9293 section 3.8.6.3).
//
// At once: at the start of a connection, for every second full segment (counted in bytes, so that a super-segment
// counts as what it was on the wire), and whenever the owner says so: data ahead of a hole, a hole filled, a
// duplicate, FIN, a new congestion mark.  Otherwise at most kDelay after the first byte that waits.
#pragma once

#include <cstdint>

#include "base/time.h"

namespace us {

struct AckPolicyState {
  uint8_t quick_acks = 0;
  bool now = false;
  bool delayed = false;
  Duration delay_left;  // while delayed
  bool operator==(const AckPolicyState&) const = default;
};

class AckPolicy {
 public:
  static constexpr Duration kDelay = Duration::millis(40);
  // Linux starts in the same way: a sender in slow start is not to wait for a timer.
  static constexpr uint8_t kQuickAcks = 16;

  AckPolicy() = default;
  static AckPolicy restore(const AckPolicyState& state, Instant now);
  AckPolicyState snapshot(Instant now) const;

  // In-order data came; `unacked` bytes in all may be acknowledged and are not.  `segment_bytes`: a full segment.
  void on_data(uint32_t unacked, uint32_t segment_bytes, Instant now);
  void ack_now() { now_ = true; }
  void on_ack_sent();

  bool due(Instant now) const { return now_ || now >= deadline_; }
  Instant deadline() const { return deadline_; }  // far_future() when nothing waits

 private:
  Instant deadline_ = Instant::far_future();
  uint8_t quick_acks_ = kQuickAcks;
  bool now_ = false;
};

}  // namespace us
