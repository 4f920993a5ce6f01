// MarkAhead: where marks of the dirty map are made before a write needs them, so that few writes wait for one (each
// costs a sync).  It costs copying that much more after an outage.
//
//     a write meets no mark          ─► mark the kSmallest around it
//     the next one is just behind it ─► it seems to be sequential: twice as much each time, up to kLargest
//     and gets to the second half    ─► mark on from the end, twice as much: such a writer does not wait again
//
// Pure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "core/disk/disk_write.h"

namespace us {

class MarkAhead {
 public:
  static constexpr uint64_t kSmallest = uint64_t{1} << 20;
  static constexpr uint64_t kLargest = uint64_t{32} << 20;
  explicit MarkAhead(uint64_t disk_bytes) : disk_bytes_(disk_bytes) {}

  // Of a write to `range`, which is `marked` already or not: what to mark now; nullopt: nothing.
  std::optional<DiskRange> next(DiskRange range, bool marked) {
    const bool inside = range.start >= done_.start && range.start <= done_.end && !done_.empty();
    if (marked) {
      const bool near = inside && length_ > kSmallest && range.end + length_ / 2 > done_.end;
      if (!near || done_.end == disk_bytes_) return std::nullopt;
      length_ = std::min(2 * length_, kLargest);
      return remember({done_.end, end_of(done_.end, done_.end)});
    }
    length_ = inside ? std::min(2 * length_, kLargest) : kSmallest;
    return remember({range.start / kSmallest * kSmallest, end_of(range.start, range.end)});
  }

 private:
  // So far that it holds what is asked for and length_.
  uint64_t end_of(uint64_t start, uint64_t end) const {
    const uint64_t far = std::max(end, start / kSmallest * kSmallest + length_);
    return std::min((far + kSmallest - 1) / kSmallest * kSmallest, disk_bytes_);
  }
  DiskRange remember(DiskRange range) { return done_ = range; }

  uint64_t disk_bytes_;
  uint64_t length_ = kSmallest;
  DiskRange done_;  // what was marked last
};

}  // namespace us
