#include "core/tcp/hystart.h"

#include <algorithm>

namespace us {
namespace {

// RFC 9406 section 4.3.
constexpr Duration kThresholdMin = Duration::millis(4);
constexpr Duration kThresholdMax = Duration::millis(16);
constexpr int64_t kMinRttDivisor = 8;
constexpr uint32_t kSamplesMin = 8;
constexpr uint64_t kConservativeDivisor = 4;
constexpr uint32_t kConservativeRounds = 5;
constexpr uint64_t kUnpacedSegmentsMax = 8;

}  // namespace

uint64_t slow_start_growth_max(const CongestionConfig& config) {
  return config.paced ? CongestionControl::kWindowMax : kUnpacedSegmentsMax * config.mss;
}

void HyStart::on_ack(const AckSample& sample) {
  if (phase_ == Phase::kDone) return;
  if (!round_started_ || sample.una.at_or_after(round_end_)) start_round(sample);
  if (phase_ == Phase::kDone || !sample.rtt) return;
  round_min_ = std::min(round_min_, *sample.rtt);
  ++samples_;
  judge();
}

// RFC 9406 section 4.2, "at the start of each round"; a round is the data between two SND.NXT.
void HyStart::start_round(const AckSample& sample) {
  if (phase_ == Phase::kConservative && ++conservative_rounds_ >= kConservativeRounds) {
    phase_ = Phase::kDone;
    return;
  }
  round_started_ = true;
  round_end_ = sample.nxt;
  last_round_min_ = round_min_;
  round_min_ = Duration::infinite();
  samples_ = 0;
}

// RFC 9406 section 4.2, "after each RTT sample".
void HyStart::judge() {
  if (samples_ < kSamplesMin) return;
  if (phase_ == Phase::kConservative) {
    // The rise was not a queue of ours: back to slow start.
    if (round_min_ < baseline_min_) {
      baseline_min_ = Duration::infinite();
      phase_ = Phase::kSlowStart;
    }
    return;
  }
  if (last_round_min_ == Duration::infinite()) return;
  const Duration threshold = std::clamp(last_round_min_ / kMinRttDivisor, kThresholdMin, kThresholdMax);
  if (round_min_ >= last_round_min_ + threshold) {
    baseline_min_ = round_min_;
    phase_ = Phase::kConservative;
    conservative_rounds_ = 0;
  }
}

uint64_t HyStart::scale(uint64_t growth) const {
  return phase_ == Phase::kConservative ? growth / kConservativeDivisor : growth;
}

}  // namespace us
