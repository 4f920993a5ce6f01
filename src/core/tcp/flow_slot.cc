#include "core/tcp/flow_slot.h"

#include <algorithm>

#include "base/check.h"

namespace us {
namespace {

// What went on while nobody looked.  A clock may not pass its bound (timestamps.h).
void pass(Duration slept, TimestampClockState& clock) {
  const int64_t room = clock.bound - clock.value;
  clock.value += static_cast<uint32_t>(std::min(slept.to_millis(), room));
}

}  // namespace

bool FlowSlot::sleep(Instant now) {
  if (!flow_ || !flow_->at_rest()) return false;
  counters_ = flow_->counters();
  Bytes encoded;
  ByteWriter out(encoded);
  encode(flow_->snapshot(now), out);
  state_ = Bytes(encoded.begin(), encoded.end());
  asleep_since_ = now;
  flow_.reset();
  return true;
}

Flow& FlowSlot::wake(const FlowContext& context, Instant now) {
  if (flow_) return *flow_;
  ByteReader in(state_);
  Result<FlowState> state = decode_flow_state(in);
  US_CHECK(state.has_value());  // our own
  const Duration slept = now - asleep_since_;
  state->from_guest.echo.age = state->from_guest.echo.age + slept;
  state->from_peer.echo.age = state->from_peer.echo.age + slept;
  pass(slept, state->peer_clock);
  pass(slept, state->guest_clock);
  Result<std::unique_ptr<Flow>> flow = Flow::wake(context, *state, counters_, now);
  US_CHECK(flow.has_value());
  flow_ = std::move(*flow);
  state_ = Bytes();
  return *flow_;
}

}  // namespace us
