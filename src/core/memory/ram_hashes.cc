#include "core/memory/ram_hashes.h"

#include <xxhash.h>

#include "base/check.h"

namespace us {

uint64_t page_hash(std::span<const uint8_t, kPageSize> page) { return XXH3_64bits(page.data(), kPageSize); }

uint64_t region_digest(std::span<const uint64_t> page_hashes) {
  return XXH3_64bits(page_hashes.data(), page_hashes.size_bytes());
}

RamHashes::RamHashes(uint64_t pages) : pages_(pages), hashes_(std::make_unique_for_overwrite<uint64_t[]>(pages)) {}

void RamHashes::hash(const uint8_t* ram, uint64_t first, uint64_t count) {
  US_CHECK(first <= pages_ && count <= pages_ - first);
  for (uint64_t page = first; page < first + count; ++page)
    hashes_[page] = page_hash(std::span<const uint8_t, kPageSize>(ram + page * kPageSize, kPageSize));
}

std::span<const uint64_t> RamHashes::region(uint32_t region) const {
  US_CHECK(region < regions());
  return {hashes_.get() + region * kAuditRegionPages, audit_region_size(region, pages_)};
}

Bytes RamHashes::digests(uint32_t first, uint32_t count) const {
  Bytes out;
  ByteWriter writer(out);
  for (uint32_t i = 0; i < count; ++i) writer.le(region_digest(region(first + i)));
  return out;
}

}  // namespace us
