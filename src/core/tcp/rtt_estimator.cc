#include "core/tcp/rtt_estimator.h"

#include <algorithm>

namespace us {
namespace {

// A clock that has not moved between send and ACK still means "some time": zero would divide the pacing rate.
constexpr Duration kRttMin = Duration::micros(1);

Duration distance(Duration a, Duration b) { return a > b ? a - b : b - a; }

}  // namespace

void WindowedMin::on_sample(Duration value, Instant now) {
  const Duration age = now - bucket_start_;
  if (age >= half_ * 2) {
    previous_ = current_ = Duration::infinite();
    bucket_start_ = now;
  } else if (age >= half_) {
    previous_ = current_;
    current_ = Duration::infinite();
    bucket_start_ += half_;
  }
  current_ = std::min(current_, value);
}

std::optional<Duration> WindowedMin::get() const {
  const Duration min = std::min(current_, previous_);
  if (min == Duration::infinite()) return std::nullopt;
  return min;
}

void RttEstimator::on_sample(Duration rtt, uint32_t samples_per_round, Instant now) {
  rtt = std::clamp(rtt, kRttMin, config_.rto_max);
  latest_ = rtt;
  on_min_sample(rtt, now);
  if (!has_sample_) {  // RFC 6298 (2.2)
    has_sample_ = true;
    srtt_ = rtt;
    rttvar_ = rtt / 2;
    return;
  }
  // RFC 6298 (2.3), alpha = 1/8 and beta = 1/4, both divided by the expected samples (RFC 7323 appendix G) so that
  // the history stays as long in round trips when every ACK gives a sample.
  const int64_t n = std::max<uint32_t>(samples_per_round, 1);
  rttvar_ += (distance(srtt_, rtt) - rttvar_) / (4 * n);
  srtt_ += (rtt - srtt_) / (8 * n);
}

void RttEstimator::on_min_sample(Duration rtt, Instant now) { min_.on_sample(std::max(rtt, kRttMin), now); }

Duration RttEstimator::rto() const {
  if (!has_sample_) return std::min(config_.rto_initial, config_.rto_max);
  return std::min(srtt_ + std::max(config_.rto_min, rttvar_ * 4), config_.rto_max);
}

}  // namespace us
