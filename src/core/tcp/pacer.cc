#include "core/tcp/pacer.h"

#include <algorithm>

namespace us {
namespace {

constexpr Duration kTimerLag = Duration::millis(1);
constexpr uint64_t kBurstsPerSecond = 1000;
constexpr uint32_t kBurstSegmentsMin = 2;
constexpr double kRateMax = 1e12;

}  // namespace

uint64_t Pacer::rate_for(uint64_t window_bytes, Duration srtt, bool window_may_double) {
  if (srtt <= Duration()) return 0;
  const double factor = window_may_double ? 2.0 : 1.2;
  const double rate = factor * static_cast<double>(window_bytes) / srtt.to_seconds();
  return static_cast<uint64_t>(std::clamp(rate, 1.0, kRateMax));
}

void Pacer::on_sent(uint64_t bytes, Instant now) {
  if (!limits()) return;
  const double wait_ns = static_cast<double>(bytes) * 1e9 / static_cast<double>(rate_);
  next_ = std::max(next_, now - kTimerLag) + Duration::nanos(static_cast<int64_t>(wait_ns));
}

uint32_t Pacer::burst_bytes(uint32_t mss, uint32_t limit) const {
  const uint64_t most = std::max(limit / mss, 1u);
  if (!limits()) return static_cast<uint32_t>(most) * mss;
  const uint64_t segments = std::max<uint64_t>(rate_ / kBurstsPerSecond / mss, kBurstSegmentsMin);
  return static_cast<uint32_t>(std::min(segments, most)) * mss;
}

}  // namespace us
