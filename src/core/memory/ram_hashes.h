// RamHashes: a fingerprint of the guest's RAM, for an audit: 8 bytes a page, and a digest for each region of 2 MiB.
//
// Page hash: XXH3-64 of its 4096 bytes.  Region digest: XXH3-64 over the page hashes of the region, little endian; the
// last region may be shorter.  Two pages that differ have the same hash once in 2^64; nobody who could choose pages to
// that end gains by it, because the hash protects against our own mistakes only.
//
// Memory: 0.2 % of the RAM.  Not thread-safe, except that hash() may run for disjoint ranges at the same time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/bytes.h"
#include "base/strong.h"

namespace us {

inline constexpr uint64_t kAuditRegionPages = 512;

constexpr uint32_t audit_regions(uint64_t pages) {
  return static_cast<uint32_t>((pages + kAuditRegionPages - 1) / kAuditRegionPages);
}
// Pages in `region` of a RAM of `pages`.
constexpr uint64_t audit_region_size(uint32_t region, uint64_t pages) {
  const uint64_t first = region * kAuditRegionPages;
  return pages - first < kAuditRegionPages ? pages - first : kAuditRegionPages;
}

uint64_t page_hash(std::span<const uint8_t, kPageSize> page);
uint64_t region_digest(std::span<const uint64_t> page_hashes);

class RamHashes {
 public:
  // Undefined until hash() has covered every page.
  explicit RamHashes(uint64_t pages);

  // `ram` is the whole RAM; hashes the pages [first, first + count) of it.
  void hash(const uint8_t* ram, uint64_t first, uint64_t count);

  uint64_t pages() const { return pages_; }
  uint32_t regions() const { return audit_regions(pages_); }
  std::span<const uint64_t> region(uint32_t region) const;
  // The digests of regions [first, first + count), 8 bytes each.
  Bytes digests(uint32_t first, uint32_t count) const;

 private:
  uint64_t pages_;
  std::unique_ptr<uint64_t[]> hashes_;
};

}  // namespace us
