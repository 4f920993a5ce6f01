// ModelDisk: a file on a disk as tests must fear it.
//
// Fault model.  A write is there for every later read at once.  It is there after a crash only once sync() has
// returned; at a crash, each sector of each write since then is, independently of all others, as it was or as the write
// wanted it, or (torn) a mixture of the two; the order of writes means nothing.  A write or a sync may fail: a failed
// write may have reached any part of its sectors; a failed sync has made nothing durable, and forgets what was to be
// (as Linux does: the pages count as clean).  Durable bytes never change on their own.
#pragma once

#include <algorithm>
#include <vector>

#include "base/bytes.h"
#include "base/rng.h"

namespace us {

class ModelDisk {
 public:
  static constexpr size_t kSectorBytes = 512;

  ModelDisk(size_t size, uint64_t seed) : rng_(seed), now_(size), durable_(size) {}

  ByteSpan bytes() const { return now_; }
  ByteSpan read(uint64_t offset, uint64_t length) const { return ByteSpan(now_).subspan(offset, length); }

  // Each later write or sync fails with this probability.
  void set_failures(double probability) { failures_ = probability; }

  bool write(uint64_t offset, ByteSpan data) {
    if (data.empty()) return true;
    const bool fails = rng_.chance(failures_);
    const size_t length = fails ? rng_.below(data.size()) : data.size();
    std::copy_n(data.begin(), length, now_.begin() + static_cast<ptrdiff_t>(offset));
    unsynced_.push_back({offset, Bytes(data.begin(), data.begin() + static_cast<ptrdiff_t>(length))});
    return !fails;
  }
  bool sync() {
    const bool fails = rng_.chance(failures_);
    if (fails) settle();
    for (const Write& w : unsynced_)
      if (!fails) std::ranges::copy(w.data, durable_.begin() + static_cast<ptrdiff_t>(w.offset));
    unsynced_.clear();
    return !fails;
  }
  // Power is lost and comes back.
  void crash() {
    settle();
    unsynced_.clear();
    now_ = durable_;
  }

 private:
  struct Write {
    uint64_t offset;
    Bytes data;
  };
  // Some sectors of some writes reach the medium, in any order.
  void settle() {
    std::vector<const Write*> order;
    for (const Write& w : unsynced_) order.push_back(&w);
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng_.below(i)]);
    const uint64_t keep = rng_.below(4);  // of all sectors: none, few, most, all
    for (const Write* w : order) {
      for (size_t at = 0; at < w->data.size();) {
        const size_t n = std::min(w->data.size() - at, kSectorBytes - (w->offset + at) % kSectorBytes);
        if (keep == 3 || (keep == 2 && rng_.chance(0.8)) || (keep == 1 && rng_.chance(0.2))) {
          const size_t reached = rng_.chance(0.1) ? rng_.below(n + 1) : n;
          std::copy_n(w->data.begin() + static_cast<ptrdiff_t>(at), reached,
                      durable_.begin() + static_cast<ptrdiff_t>(w->offset + at));
        }
        at += n;
      }
    }
  }

  Rng rng_;
  double failures_ = 0;
  Bytes now_, durable_;
  std::vector<Write> unsynced_;
};

}  // namespace us
