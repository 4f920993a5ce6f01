// Arrivals: when a client received something, and how much, on its own clock.  Written by the client's thread and read
// by another at the same time.
#pragma once

#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include "base/time.h"

namespace us::bench {

struct Arrival {
  Instant at;
  uint64_t bytes = 0;
};

// Nothing came after `begin` and before `end`.
struct Silence {
  Instant begin;
  Instant end;
  Duration length() const { return end - begin; }
};

class Arrivals {
 public:
  void add(Instant at, uint64_t bytes);
  // Forgets all but the latest.
  void begin_anew();
  // Whether something came after `from`.
  bool any_since(Instant from) const;
  // The longest silence that ended after `from`; one that still lasts ends `now`.
  Silence longest(Instant from, Instant now) const;
  std::vector<Arrival> all() const;

 private:
  mutable std::mutex mutex_;
  std::vector<Arrival> list_;
};

using Parts = std::vector<std::pair<const char*, Duration>>;

// What of the silence falls into each of the phases, given by their ends in ascending order; the first phase begins
// before everything.
Parts cut_at(const Silence& silence, const std::vector<std::pair<const char*, Instant>>& ends);

// Bytes in each step of `step` from `begin` on; what came before or after the `count` steps is left out.
std::vector<uint64_t> bytes_per_step(const std::vector<Arrival>& arrivals, Instant begin, Duration step, size_t count);

}  // namespace us::bench
