#include "core/epoch/epoch_policy.h"

#include <algorithm>

namespace us {
namespace {

// Credit for a burst of early cuts after a quiet time: without a bound an idle hour would buy minutes of pauses.
constexpr Duration kCreditMax = Duration::millis(50);
constexpr Duration kLongest = Duration::seconds(1);

Duration scaled(Duration d, double factor) {
  return Duration::nanos(static_cast<int64_t>(static_cast<double>(d.to_nanos()) * factor));
}

}  // namespace

void EpochPolicy::set_config(const EpochPolicyConfig& config) {
  config_ = config;
  length_ = config.length;
}

void EpochPolicy::on_resumed(Instant now, Duration pause) {
  // Exponential average over about eight cuts.
  pause_ = pause_ == Duration{} ? pause : pause_ + (pause - pause_) / 8;
  const Duration passed = resumed_ == Instant{} ? Duration{} : now - resumed_;
  credit_ = std::clamp(credit_ + scaled(passed, config_.pause_budget) - pause, -kCreditMax, kCreditMax);
  resumed_ = now;
  if (config_.kind == EpochPolicyConfig::Kind::kAdaptive) adapt(pause_);
}

// Regular cuts alone must fit the budget: pause / (pause + length) <= budget.
void EpochPolicy::adapt(Duration pause) {
  const double budget = std::clamp(config_.pause_budget, 0.01, 1.0);
  const Duration affordable = scaled(pause, (1.0 - budget) / budget);
  length_ = std::clamp(std::max(affordable, config_.latency_target), config_.shortest, kLongest);
}

Instant EpochPolicy::next_cut(const Waiting& waiting) const {
  const Instant regular = resumed_ + length_;
  if (!config_.cut_on_output || !waiting.any || waiting.bytes > config_.bulk_bytes) return regular;
  Instant early = std::min(waiting.last + config_.quiet, waiting.first + config_.patience);
  early = std::max(early, resumed_ + config_.shortest);
  // Until there is credit for one more pause.
  if (credit_ < Duration{} && config_.pause_budget > 0)
    early = std::max(early, resumed_ + scaled(-credit_, 1.0 / config_.pause_budget));
  return std::min(early, regular);
}

void EpochPolicy::on_cut(Instant now) {
  if (now < resumed_ + length_) ++early_cuts_;
}

}  // namespace us
