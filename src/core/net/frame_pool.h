// FramePool: buffers for frames, used again and again.
//
// Large frames come and go by the ten thousand a second, and the general allocator gives their pages back to the kernel
// in between; zeroing them anew cost a quarter of the loop thread's time.  Here a buffer that was given back is kept,
// up to a limit, in the class of its size.  Single-threaded; a frame that is destroyed instead of given back is merely
// freed.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

#include "core/net/ethernet_frame.h"

namespace us {

class FramePool {
 public:
  explicit FramePool(size_t kept_bytes_max) : kept_bytes_max_(kept_bytes_max) {}

  // A frame of this size (at most kMaxEthernetBytes), contents not initialised; its capacity is less than twice that,
  // or kClassMin.
  EthernetFrame take(size_t ethernet_bytes) {
    const size_t index = class_of(ethernet_bytes);
    std::vector<EthernetFrame>& kept = kept_[index];
    if (kept.empty()) {
      EthernetFrame fresh(kCapacities[index]);
      fresh.resize(ethernet_bytes);
      return fresh;
    }
    EthernetFrame frame = std::move(kept.back());
    kept.pop_back();
    kept_bytes_ -= kCapacities[index];
    frame.resize(ethernet_bytes);
    return frame;
  }

  // For any frame: one that did not come from here is freed.
  void give_back(EthernetFrame frame) {
    if (!frame) return;
    const size_t index = class_of(frame.capacity());
    if (kCapacities[index] != frame.capacity() || kept_bytes_ + frame.capacity() > kept_bytes_max_) return;
    kept_bytes_ += frame.capacity();
    kept_[index].push_back(std::move(frame));
  }

  size_t kept_bytes() const { return kept_bytes_; }

 private:
  static constexpr size_t kClassMin = 256;
  static constexpr std::array<size_t, 10> kCapacities = {kClassMin, 512,    1024,   2048,   4096,
                                                         8192,      16'384, 32'768, 49'152, kMaxEthernetBytes};
  static size_t class_of(size_t ethernet_bytes) {
    US_CHECK(ethernet_bytes <= kCapacities.back());
    return static_cast<size_t>(std::lower_bound(kCapacities.begin(), kCapacities.end(), ethernet_bytes) -
                               kCapacities.begin());
  }

  std::array<std::vector<EthernetFrame>, kCapacities.size()> kept_;
  size_t kept_bytes_ = 0;
  size_t kept_bytes_max_;
};

}  // namespace us
