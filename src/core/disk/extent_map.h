// ExtentMap: writes laid over each other, the last one wins; what is left is disjoint and in the order of offsets.
//
//     put [0,8)=A, put [4,12)=B, put [6,7)=C    ──►   AAAA BB C BBBBB
//
// An overwritten part of a buffer is not freed before all of it is: whoever bounds memory charges whole writes.
// Pure; O(log n) for a write plus what it covers.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "core/disk/disk_write.h"

namespace us {

class ExtentMap {
 public:
  void put(const DiskWrite& write);
  // As if every write in `later` had been put after those here.
  void put_all(const ExtentMap& later);

  bool empty() const { return extents_.empty(); }
  size_t size() const { return extents_.size(); }
  void clear() { extents_.clear(); }
  bool overlaps(DiskRange range) const;

  // In the order of offsets; adjacent zeroes and adjacent discards are joined.
  std::vector<DiskWrite> plan() const;
  // The parts of the extents that lie in `within`, in order.
  std::vector<DiskWrite> covering(DiskRange within) const;

 private:
  std::map<uint64_t, DiskWrite>::const_iterator first_ending_after(uint64_t offset) const;
  void cut_out(DiskRange range);

  std::map<uint64_t, DiskWrite> extents_;  // by range.start
};

}  // namespace us
