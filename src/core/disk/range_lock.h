// RangeLock: keeps changes to the same bytes of a disk from overtaking each other.
//
// The guest may have overlapping writes in flight, and their order is then nobody's business but ours: both hosts must
// end up with the same bytes.  So a write waits until every one that came before it and overlaps it is done; so does a
// read that copies a part of the disk to the standby (resync_plan.h).  What does not overlap passes freely.
//
//     const bool now = lock.acquire(id, range);   // false: later, from release()
//     …
//     for (LockId next : lock.release(id)) start(next);
//
// First come, first served for each byte, so nothing waits for ever.  Pure.  The owner bounds how many there are.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "base/strong.h"
#include "core/disk/disk_write.h"

namespace us {

using LockId = Strong<struct LockIdTag>;

class RangeLock {
 public:
  // `id` is not in use.  True: held from now on.
  bool acquire(LockId id, DiskRange range);
  // Those that hold their range from now on, in the order in which they came.
  std::vector<LockId> release(LockId id);
  bool empty() const { return entries_.empty(); }

 private:
  struct Entry {
    LockId id;
    DiskRange range;
    bool held;
  };
  bool blocked(size_t index) const;

  std::deque<Entry> entries_;  // in order of arrival
};

}  // namespace us
