#include "wire/link_model.h"

#include <algorithm>

#include "base/check.h"

namespace us {

LinkModel::LinkModel(const LinkConfig& config) : config_(config), rng_(config.seed) {
  US_CHECK(config.jitter <= config.delay || config.jitter == Duration{});
}

LinkModel::Verdict LinkModel::on_frame(size_t bytes, Instant now) {
  forget_transmitted(now);
  if (!fits(bytes)) return {.fate = Fate::kQueueFull, .out = {}};
  const Instant sent = transmit(bytes, now);
  // All are drawn for every frame, so that one effect does not change the random numbers of another.
  const bool lost = rng_.chance(config_.loss);
  const bool held_back = rng_.chance(config_.reorder);
  const bool duplicated = rng_.chance(config_.duplicate);
  const Instant straight = std::max(sent + line_delay(), latest_out_);
  if (lost) return {.fate = Fate::kLost, .out = {}};
  if (held_back) return {.out = straight + config_.reorder_by, .held_back = true, .duplicated = duplicated};
  latest_out_ = straight;
  return {.out = straight, .duplicated = duplicated};
}

size_t LinkModel::queued_packets(Instant now) {
  forget_transmitted(now);
  return queue_.size();
}

size_t LinkModel::queued_bytes(Instant now) {
  forget_transmitted(now);
  return queue_bytes_;
}

void LinkModel::forget_transmitted(Instant now) {
  while (!queue_.empty() && queue_.front().gone <= now) {
    queue_bytes_ -= queue_.front().bytes;
    queue_.pop_front();
  }
}

bool LinkModel::fits(size_t bytes) const {
  if (config_.queue_packets != 0 && queue_.size() + 1 > config_.queue_packets) return false;
  return config_.queue_bytes == 0 || queue_bytes_ + bytes <= config_.queue_bytes;
}

// Fractions of a nanosecond are carried over: at 3 Gbit/s, leaving them out would be an error of one in 4,000.
Instant LinkModel::transmit(size_t bytes, Instant now) {
  if (config_.bits_per_second == 0) return now;
  if (transmitter_free_ < now) {
    transmitter_free_ = now;
    fraction_ = 0;
  }
  const uint64_t work = uint64_t{bytes} * 8 * 1'000'000'000 + fraction_;
  transmitter_free_ += Duration::nanos(static_cast<int64_t>(work / config_.bits_per_second));
  fraction_ = work % config_.bits_per_second;
  queue_.push_back({transmitter_free_, bytes});
  queue_bytes_ += bytes;
  return transmitter_free_;
}

Duration LinkModel::line_delay() {
  const int64_t jitter = config_.jitter.to_nanos();
  return config_.delay + Duration::nanos(rng_.between(-jitter, jitter));
}

}  // namespace us
