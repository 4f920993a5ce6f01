#include "core/tcp/ack_policy.h"

#include <algorithm>

namespace us {

AckPolicy AckPolicy::restore(const AckPolicyState& state, Instant now) {
  AckPolicy out;
  out.quick_acks_ = std::min(state.quick_acks, kQuickAcks);
  out.now_ = state.now;
  if (state.delayed) out.deadline_ = now + std::clamp(state.delay_left, Duration(), kDelay);
  return out;
}

AckPolicyState AckPolicy::snapshot(Instant now) const {
  AckPolicyState out{quick_acks_, now_, deadline_ != Instant::far_future(), Duration()};
  if (out.delayed) out.delay_left = std::max(deadline_ - now, Duration());
  return out;
}

void AckPolicy::on_data(uint32_t unacked, uint32_t segment_bytes, Instant now) {
  if (quick_acks_ > 0 || unacked >= 2 * segment_bytes) {
    now_ = true;
  } else if (deadline_ == Instant::far_future()) {
    deadline_ = now + kDelay;
  }
}

void AckPolicy::on_ack_sent() {
  if (quick_acks_ > 0) --quick_acks_;
  now_ = false;
  deadline_ = Instant::far_future();
}

}  // namespace us
