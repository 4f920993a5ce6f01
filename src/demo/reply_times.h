// ReplyTimes: when the answers of one connection came, and how long each had taken.
// Written by the client's thread and read by another at the same time.
#pragma once

#include <mutex>
#include <vector>

#include "base/time.h"

namespace us::demo {

class ReplyTimes {
 public:
  void add(Instant at, Duration round_trip);

  // Whether the round trips of the replies from now on count; they do at first.
  void measure_round_trips(bool wanted);

  // The longest silence between two replies of which the later one came after `from`; counts the silence up to `now`
  // too.
  Duration longest_silence(Instant from, Instant now) const;

  // Replies that came after `from`.
  size_t count_since(Instant from) const;

  // The round trip that the given share (0 to 1) of all measured replies did not exceed; zero without any.
  Duration round_trip(double share) const;

 private:
  mutable std::mutex mutex_;
  std::vector<Instant> at_;
  std::vector<Duration> round_trips_;
  bool measuring_ = true;
};

}  // namespace us::demo
