// Server: something that does one piece of work after the other, in virtual time: a core, a link.  Work that comes
// while it is busy waits, in the order in which it came.  Pool: several servers and one queue.
#pragma once

#include <algorithm>
#include <vector>

#include "base/time.h"

namespace us::sim::scale {

inline Duration micros(double us) { return Duration::nanos(static_cast<int64_t>(us * 1e3)); }

class Pool {
 public:
  explicit Pool(size_t servers) : free_(servers) {}

  // When work that comes `now` and takes `length` is done.
  Instant serve(Instant now, Duration length) {
    const auto first = std::min_element(free_.begin(), free_.end());
    const Instant begin = std::max(now, *first);
    busy_ += length;
    waited_ = std::max(waited_, begin - now);
    return *first = begin + length;
  }
  // Time spent working, of all servers; may lie ahead of now by what is queued.
  Duration busy() const { return busy_; }
  Duration longest_wait() const { return waited_; }

 private:
  std::vector<Instant> free_;
  Duration busy_, waited_;
};

// A link of a rate: a Pool of one, whose work is bytes.
class Line {
 public:
  explicit Line(double gbit) : ns_per_byte_(8 / gbit), server_(1) {}
  Instant send(Instant now, double bytes) {
    bytes_ += bytes;
    return server_.serve(now, Duration::nanos(static_cast<int64_t>(bytes * ns_per_byte_)));
  }
  double bytes() const { return bytes_; }
  Duration busy() const { return server_.busy(); }

 private:
  double ns_per_byte_;
  Pool server_;
  double bytes_ = 0;
};

}  // namespace us::sim::scale
