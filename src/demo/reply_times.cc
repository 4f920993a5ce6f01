#include "demo/reply_times.h"

#include <algorithm>

namespace us::demo {

void ReplyTimes::add(Instant at, Duration round_trip) {
  const std::lock_guard lock(mutex_);
  at_.push_back(at);
  if (measuring_) round_trips_.push_back(round_trip);
}

void ReplyTimes::measure_round_trips(bool wanted) {
  const std::lock_guard lock(mutex_);
  measuring_ = wanted;
}

Duration ReplyTimes::longest_silence(Instant from, Instant now) const {
  const std::lock_guard lock(mutex_);
  auto later = std::upper_bound(at_.begin(), at_.end(), from);
  Instant previous = later == at_.begin() ? from : *(later - 1);
  Duration longest;
  for (; later != at_.end(); previous = *later++) longest = std::max(longest, *later - previous);
  return std::max(longest, now - previous);
}

size_t ReplyTimes::count_since(Instant from) const {
  const std::lock_guard lock(mutex_);
  return static_cast<size_t>(at_.end() - std::upper_bound(at_.begin(), at_.end(), from));
}

Duration ReplyTimes::round_trip(double share) const {
  const std::lock_guard lock(mutex_);
  if (round_trips_.empty()) return {};
  std::vector<Duration> sorted = round_trips_;
  const auto nth = static_cast<std::ptrdiff_t>(share * static_cast<double>(sorted.size() - 1));
  std::nth_element(sorted.begin(), sorted.begin() + nth, sorted.end());
  return sorted[static_cast<size_t>(nth)];
}

}  // namespace us::demo
