// HostClock: what one host takes for the time.  Its zero and its speed are its own; only true time is shared.
#pragma once

#include "base/time.h"

namespace us::sim {

class HostClock {
 public:
  HostClock() = default;
  // `ppm`: how many millionths it runs fast.
  HostClock(Duration offset, int ppm) : offset_(offset), ppm_(ppm) {}

  Instant at(Instant true_time) const {
    return true_time + offset_ + Duration::nanos(true_time.to_nanos() / 1'000'000 * ppm_);
  }
  // How much true time passes in `length` of this clock, rounded up.
  Duration true_length(Duration length) const {
    return length + Duration::nanos(1000 - length.to_nanos() / 1'000'000 * ppm_);
  }

 private:
  Duration offset_;
  int ppm_ = 0;
};

}  // namespace us::sim
