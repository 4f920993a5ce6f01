// The one place where the program reads a clock.  CLOCK_BOOTTIME: monotonic and running while the host
// sleeps, so that a lease or a detection time is never stretched by a suspended host (clock_gettime(2)).
#pragma once

#include <time.h>

#include "base/time.h"

namespace us {

inline Instant clock_now() {
  timespec ts{};
  ::clock_gettime(CLOCK_BOOTTIME, &ts);
  return Instant::from_nanos(int64_t{ts.tv_sec} * 1'000'000'000 + ts.tv_nsec);
}

}  // namespace us
