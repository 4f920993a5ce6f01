// What a simulated guest does with its disk: it writes blocks with a content that its memory can tell again, so that an
// image can be compared with a memory.
#pragma once

#include <cstdint>

#include "core/disk/disk_write.h"

namespace us::sim {

inline constexpr uint64_t kBlockBytes = 512;
inline constexpr uint64_t kDiskBytes = 64 * 1024;
inline constexpr uint64_t kBlocks = kDiskBytes / kBlockBytes;
inline constexpr size_t kGuestWritesMax = 4;         // in flight
inline constexpr uint64_t kUnknownTag = UINT64_MAX;  // a write there has failed

// Blocks [first, first + count) get the content of `tag`; 0 is zeroes.
struct GuestWrite {
  uint64_t first = 0;
  uint64_t count = 0;
  uint64_t tag = 0;
  WriteKind kind = WriteKind::kData;
  DiskRange range() const { return {first * kBlockBytes, (first + count) * kBlockBytes}; }
};
DiskWrite to_disk_write(const GuestWrite& write);
void fill_block(uint8_t* to, uint64_t block, uint64_t tag);

}  // namespace us::sim
