// GuestMemory: the guest's RAM as a vhost-user front end describes it, over the one RAM file that the owner has
// mapped.  Turns guest-physical ranges and front-end addresses into pointers, or refuses them.
//
// The owner maps the whole RAM file once; regions (from SET_MEM_TABLE) only say which part of that file stands
// at which address, so a new table is a few comparisons and no mmap.
//
// Guest memory changes under our hands: whoever uses a pointer from here copies once into a local, checks the
// copy and uses the copy.  Whoever writes calls wrote() afterwards, so that the page is captured (the write is
// invisible to the dirty tracking of QEMU's own address space).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/strong.h"
#include "core/memory/dirty_set.h"

namespace us {

struct MemoryRegion {
  GuestPhysAddr guest;
  uint64_t bytes = 0;
  uint64_t user = 0;         // where the front end has it mapped; ring addresses are given in this space
  uint64_t file_offset = 0;  // in the RAM file
};

// A contiguous piece of guest RAM, checked to lie inside it.
struct GuestPiece {
  uint8_t* data;
  uint32_t bytes;
};

class GuestMemory {
 public:
  static constexpr size_t kMaxRegions = 8;

  // `base` maps `bytes` bytes of the RAM file from offset 0, and outlives this; so does `writes`.
  GuestMemory(uint8_t* base, uint64_t bytes, DirtySet& writes);

  // Refuses a table with more than kMaxRegions, an empty or wrapping region, one outside the RAM file, or two that
  // overlap in guest addresses; the old table then stays.
  Status set_regions(std::span<const MemoryRegion> regions);
  void clear_regions() { regions_.clear(); }
  bool has_regions() const { return !regions_.empty(); }

  // Appends the pieces of [at, at + bytes) to `out`; false, with nothing appended, if a byte of it is not RAM.
  bool find(GuestPhysAddr at, uint32_t bytes, std::vector<GuestPiece>& out) const;
  // Copies [at, at + into.size()) out of the guest; false if a byte of it is not RAM.
  bool read(GuestPhysAddr at, std::span<uint8_t> into) const;
  // The pointer for a front-end address range that must lie in one region; nullptr if it does not.
  uint8_t* find_user(uint64_t user, uint64_t bytes) const;

  // To be called after a write to [data, data + bytes).
  void wrote(const uint8_t* data, uint64_t bytes) { writes_->mark_bytes(static_cast<uint64_t>(data - base_), bytes); }

 private:
  const MemoryRegion* region_of(uint64_t guest) const;

  uint8_t* base_;
  uint64_t bytes_;
  DirtySet* writes_;
  std::vector<MemoryRegion> regions_;
};

}  // namespace us
