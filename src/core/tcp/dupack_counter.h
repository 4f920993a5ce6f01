// DupAckCounter: for a peer without SACK, what duplicate ACKs say: each one that some segment above the hole arrived.
//
// The bytes it counts leave the flight as if they had been SACKed (the "inflation" of RFC 5681 section 3.2 step 4, seen
// from the other side); a cumulative ACK takes them back (RFC 6582 section 3.2 step 3, RFC 9937 on DeliveredData).
#pragma once

#include <algorithm>
#include <cstdint>

namespace us {

class DupAckCounter {
 public:
  static constexpr uint32_t kThreshold = 3;  // RFC 5681 section 3.2

  // Returns the bytes newly delivered by this estimate; never more than `outstanding` in all.
  uint32_t on_duplicate(uint32_t mss, uint32_t outstanding) {
    ++count_;
    const uint32_t most = outstanding > mss ? outstanding - mss : 0;  // the hole itself is missing
    const uint32_t more = std::min(mss, most - std::min(most, bytes_));
    bytes_ += more;
    return more;
  }
  // una moved by `acked`: the first segment of it filled the hole, the rest were counted before.
  uint32_t on_progress(uint32_t acked, uint32_t mss) {
    const uint32_t eaten = std::min(bytes_, acked - std::min(acked, mss));
    bytes_ -= eaten;
    count_ = 0;
    return acked - eaten;
  }
  void reset() { count_ = bytes_ = 0; }

  uint32_t count() const { return count_; }
  uint32_t bytes() const { return bytes_; }

 private:
  uint32_t count_ = 0;
  uint32_t bytes_ = 0;
};

}  // namespace us
