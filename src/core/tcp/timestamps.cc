#include "core/tcp/timestamps.h"

#include <algorithm>

namespace us {

namespace {
// An age above this says no more than that TS.Recent is not valid.
constexpr Duration kAgeMax = TimestampEcho::kRecentValid * 2;

// a comes before b on the circle of timestamps.
bool before(uint32_t a, uint32_t b) { return static_cast<int32_t>(b - a) > 0; }
}  // namespace

TimestampClock::TimestampClock(uint32_t last_seen, Instant now)
    : own_from_(now), start_(now), first_(last_seen), bound_(last_seen) {}

Result<TimestampClock> TimestampClock::restore(const TimestampClockState& untrusted, Instant now) {
  if (untrusted.bound - untrusted.value > kLeaseTicksMax)
    return fail(ErrorKind::kProtocol, "timestamp clock: value and bound do not belong together");
  TimestampClock out(untrusted.value, now);
  out.bound_ = untrusted.bound;
  return out;
}

uint32_t TimestampClock::value(Instant now) const {
  const int64_t ticks = std::max<int64_t>((now - start_).to_millis(), 0);
  return first_ + static_cast<uint32_t>(std::min<int64_t>(ticks, bound_ - first_));
}

std::optional<uint32_t> TimestampClock::wanted_bound(Instant now) const {
  if (bound_ - value(now) > kLeaseTicks / 2) return std::nullopt;
  return value(now) + kLeaseTicks;
}

void TimestampClock::rebase(Instant now) {
  const uint32_t passed = value(now) - first_;
  first_ += passed;
  // At the bound the clock has stood still, and goes on from now.
  start_ = first_ == bound_ ? now : start_ + Duration::millis(passed);
}

void TimestampClock::on_bound_durable(uint32_t bound, Instant now) {
  if (!before(bound_, bound) || bound - bound_ > kLeaseTicksMax) return;
  rebase(now);
  bound_ = bound;
}

void TimestampClock::take_over(Instant now) {
  first_ = bound_ + 1;
  start_ = own_from_ = now;
  bound_ = first_;
}

bool TimestampClock::is_own(uint32_t echo, Instant now) const {
  return !before(value(now), echo) && age(echo, now) <= now - own_from_ + Duration::millis(1);
}

Duration TimestampClock::age(uint32_t echo, Instant now) const {
  return Duration::millis(static_cast<int64_t>(value(now) - echo));
}

TimestampEchoState TimestampEcho::snapshot(Instant now) const {
  return {recent_, std::min(now - recent_at_, kAgeMax), waiting_count_, waiting_};
}

Result<TimestampEcho> TimestampEcho::restore(const TimestampEchoState& untrusted, Instant now) {
  if (untrusted.waiting_count > untrusted.waiting.size() || untrusted.age < Duration())
    return fail(ErrorKind::kProtocol, "timestamp echo: out of range");
  TimestampEcho out(untrusted.recent, now - std::min(untrusted.age, kAgeMax));
  out.waiting_ = untrusted.waiting;
  out.waiting_count_ = untrusted.waiting_count;
  return out;
}

bool TimestampEcho::acceptable(uint32_t value, Instant now) const {
  return !before(value, recent_) || now - recent_at_ > kRecentValid;
}

void TimestampEcho::take(uint32_t value, Instant now) {
  // RFC 7323 section 4.3 (2): the value never goes back, unless it had become invalid.
  if (!acceptable(value, now)) return;
  recent_ = value;
  recent_at_ = now;
}

void TimestampEcho::on_segment(SeqNum seq, uint32_t value, SeqNum last_ack_sent, bool waits, Instant now) {
  if (!waits || seq.at_or_before(last_ack_sent)) {
    if (seq.at_or_before(last_ack_sent)) take(value, now);
    return;
  }
  if (waiting_count_ < waiting_.size()) waiting_[waiting_count_++] = {seq, value};
}

void TimestampEcho::on_ackable(SeqNum to, SeqNum last_ack_sent, Instant now) {
  uint8_t passed = 0;
  for (; passed < waiting_count_ && waiting_[passed].seq.before(to); ++passed)
    if (waiting_[passed].seq.at_or_before(last_ack_sent)) take(waiting_[passed].value, now);
  if (passed == 0) return;
  const auto left = std::copy(waiting_.begin() + passed, waiting_.begin() + waiting_count_, waiting_.begin());
  std::fill(left, waiting_.end(), Waiting());  // equal states are equal bytes
  waiting_count_ = static_cast<uint8_t>(waiting_count_ - passed);
}

}  // namespace us
