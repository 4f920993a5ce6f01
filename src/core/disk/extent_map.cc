#include "core/disk/extent_map.h"

#include <algorithm>

namespace us {

std::map<uint64_t, DiskWrite>::const_iterator ExtentMap::first_ending_after(uint64_t offset) const {
  auto it = extents_.upper_bound(offset);
  if (it != extents_.begin() && std::prev(it)->second.range.end > offset) --it;
  return it;
}

void ExtentMap::cut_out(DiskRange range) {
  auto it = first_ending_after(range.start);
  while (it != extents_.end() && it->second.range.start < range.end) {
    const DiskWrite old = it->second;
    it = extents_.erase(it);
    if (old.range.start < range.start) extents_.emplace(old.range.start, old.part({old.range.start, range.start}));
    if (old.range.end > range.end) it = extents_.emplace(range.end, old.part({range.end, old.range.end})).first;
  }
}

void ExtentMap::put(const DiskWrite& write) {
  US_CHECK(!write.range.empty());
  cut_out(write.range);
  extents_.emplace(write.range.start, write);
}

void ExtentMap::put_all(const ExtentMap& later) {
  for (const auto& [start, write] : later.extents_) put(write);
}

bool ExtentMap::overlaps(DiskRange range) const {
  const auto it = first_ending_after(range.start);
  return it != extents_.end() && it->second.range.start < range.end;
}

std::vector<DiskWrite> ExtentMap::plan() const {
  std::vector<DiskWrite> out;
  out.reserve(extents_.size());
  for (const auto& [start, write] : extents_) {
    const bool join = !out.empty() && write.kind != WriteKind::kData && out.back().kind == write.kind &&
                      out.back().range.end == start;
    if (join)
      out.back().range.end = write.range.end;
    else
      out.push_back(write);
  }
  return out;
}

std::vector<DiskWrite> ExtentMap::covering(DiskRange within) const {
  std::vector<DiskWrite> out;
  for (auto it = first_ending_after(within.start); it != extents_.end() && it->first < within.end; ++it) {
    const DiskRange& r = it->second.range;
    out.push_back(it->second.part({std::max(r.start, within.start), std::min(r.end, within.end)}));
  }
  return out;
}

}  // namespace us
