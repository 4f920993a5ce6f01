#include "takeover/arrivals.h"

#include <algorithm>

namespace us::bench {

void Arrivals::add(Instant at, uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  list_.push_back({at, bytes});
}

void Arrivals::begin_anew() {
  const std::lock_guard lock(mutex_);
  if (!list_.empty()) list_ = {list_.back()};
}

bool Arrivals::any_since(Instant from) const {
  const std::lock_guard lock(mutex_);
  return !list_.empty() && list_.back().at > from;
}

Silence Arrivals::longest(Instant from, Instant now) const {
  const std::lock_guard lock(mutex_);
  const auto before = [](Instant a, const Arrival& b) { return a < b.at; };
  auto later = std::upper_bound(list_.begin(), list_.end(), from, before);
  Instant previous = later == list_.begin() ? from : (later - 1)->at;
  Silence longest{previous, previous};
  const auto consider = [&](Instant end) {
    if (end - previous > longest.length()) longest = {previous, end};
    previous = end;
  };
  for (; later != list_.end(); ++later) consider(later->at);
  consider(now);
  return longest;
}

std::vector<Arrival> Arrivals::all() const {
  const std::lock_guard lock(mutex_);
  return list_;
}

Parts cut_at(const Silence& silence, const std::vector<std::pair<const char*, Instant>>& ends) {
  Parts parts;
  Instant begin = silence.begin;
  for (const auto& [name, phase_end] : ends) {
    const Instant end = std::clamp(phase_end, begin, silence.end);
    parts.emplace_back(name, end - begin);
    begin = end;
  }
  return parts;
}

std::vector<uint64_t> bytes_per_step(const std::vector<Arrival>& arrivals, Instant begin, Duration step, size_t count) {
  std::vector<uint64_t> out(count);
  for (const Arrival& arrival : arrivals) {
    if (arrival.at < begin) continue;
    const auto index = static_cast<size_t>((arrival.at - begin).to_nanos() / step.to_nanos());
    if (index < count) out[index] += arrival.bytes;
  }
  return out;
}

}  // namespace us::bench
