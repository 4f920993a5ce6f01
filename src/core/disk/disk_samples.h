// For tests: small disks as arrays of bytes, and random writes to them.
#pragma once

#include <algorithm>
#include <vector>

#include "base/rng.h"
#include "core/disk/disk_write.h"

namespace us::disk_samples {

inline void lay_over(Bytes& disk, const DiskWrite& w) {
  const auto at = disk.begin() + static_cast<ptrdiff_t>(w.range.start);
  if (w.kind == WriteKind::kData)
    std::ranges::copy(w.data.span(), at);
  else
    std::fill_n(at, w.range.length(), uint8_t{0});
}

inline void lay_over(Bytes& disk, const std::vector<DiskWrite>& writes) {
  for (const DiskWrite& w : writes) lay_over(disk, w);
}

inline DiskWrite random_write(Rng& rng, uint64_t disk_bytes, uint64_t length_max) {
  const uint64_t length = 1 + rng.below(std::min(length_max, disk_bytes));
  const uint64_t start = rng.below(disk_bytes - length + 1);
  const auto kind = static_cast<WriteKind>(rng.chance(0.7) ? 1 : 2 + rng.below(2));
  if (kind != WriteKind::kData) return {kind, {start, start + length}, {}};
  AlignedBuffer data(length);
  for (uint8_t& byte : data.span()) byte = static_cast<uint8_t>(rng.next());
  return DiskWrite::of_data(start, DataSlice(std::move(data)));
}

inline DiskWrite filled(uint64_t start, uint64_t length, uint8_t value) {
  return DiskWrite::of_data(start, DataSlice::copy_of(Bytes(length, value)));
}

}  // namespace us::disk_samples
