#include "sim/guest_disk.h"

#include "base/bytes.h"

namespace us::sim {

void fill_block(uint8_t* to, uint64_t block, uint64_t tag) {
  const uint64_t seed = tag == 0 ? 0 : tag ^ (block << 32);
  for (size_t at = 0; at < kBlockBytes; at += 8) store_le(to + at, tag == 0 ? 0 : seed + at);
}

DiskWrite to_disk_write(const GuestWrite& write) {
  if (write.kind != WriteKind::kData) return {write.kind, write.range(), {}};
  Bytes bytes(write.count * kBlockBytes);
  for (uint64_t i = 0; i < write.count; ++i) fill_block(bytes.data() + i * kBlockBytes, write.first + i, write.tag);
  return DiskWrite::of_data(write.first * kBlockBytes, DataSlice::copy_of(bytes));
}

}  // namespace us::sim
