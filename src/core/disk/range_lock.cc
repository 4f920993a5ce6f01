#include "core/disk/range_lock.h"

#include <algorithm>

namespace us {

bool RangeLock::blocked(size_t index) const {
  for (size_t i = 0; i < index; ++i)
    if (entries_[i].range.overlaps(entries_[index].range)) return true;
  return false;
}

bool RangeLock::acquire(LockId id, DiskRange range) {
  US_CHECK(!range.empty());
  entries_.push_back({id, range, false});
  entries_.back().held = !blocked(entries_.size() - 1);
  return entries_.back().held;
}

std::vector<LockId> RangeLock::release(LockId id) {
  const auto it = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.id == id; });
  US_CHECK(it != entries_.end() && it->held);
  const DiskRange range = it->range;
  const auto first = static_cast<size_t>(it - entries_.begin());
  entries_.erase(it);
  std::vector<LockId> out;
  for (size_t i = first; i < entries_.size(); ++i) {
    Entry& e = entries_[i];
    if (e.held || !e.range.overlaps(range) || blocked(i)) continue;
    e.held = true;
    out.push_back(e.id);
  }
  return out;
}

}  // namespace us
