#include "core/virtio/guest_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace us {
namespace {

bool wraps(uint64_t start, uint64_t bytes) { return start + bytes < start; }

}  // namespace

GuestMemory::GuestMemory(uint8_t* base, uint64_t bytes, DirtySet& writes)
    : base_(base), bytes_(bytes), writes_(&writes) {
  US_CHECK(writes.page_count() >= (bytes + kPageSize - 1) / kPageSize);
}

Status GuestMemory::set_regions(std::span<const MemoryRegion> regions) {
  if (regions.size() > kMaxRegions)
    return fail(ErrorKind::kProtocol,
                fmt::format("{} memory regions, at most {} are allowed", regions.size(), kMaxRegions));
  for (size_t i = 0; i < regions.size(); ++i) {
    const MemoryRegion& r = regions[i];
    if (r.bytes == 0 || wraps(r.guest.value(), r.bytes) || wraps(r.user, r.bytes))
      return fail(ErrorKind::kProtocol, fmt::format("memory region {} is empty or wraps around", i));
    if (r.file_offset > bytes_ || r.bytes > bytes_ - r.file_offset)
      return fail(ErrorKind::kProtocol,
                  fmt::format("memory region {} (offset {:#x}, {:#x} bytes) lies outside the RAM file of {:#x} bytes",
                              i, r.file_offset, r.bytes, bytes_));
    for (size_t j = 0; j < i; ++j) {
      const MemoryRegion& o = regions[j];
      if (r.guest.value() < o.guest.value() + o.bytes && o.guest.value() < r.guest.value() + r.bytes)
        return fail(ErrorKind::kProtocol, fmt::format("memory regions {} and {} overlap", j, i));
    }
  }
  regions_.assign(regions.begin(), regions.end());
  // The largest first: nearly every look-up ends there.
  std::sort(regions_.begin(), regions_.end(), [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
  return {};
}

const MemoryRegion* GuestMemory::region_of(uint64_t guest) const {
  for (const MemoryRegion& r : regions_)
    if (guest - r.guest.value() < r.bytes) return &r;
  return nullptr;
}

bool GuestMemory::find(GuestPhysAddr at, uint32_t bytes, std::vector<GuestPiece>& out) const {
  const size_t before = out.size();
  uint64_t guest = at.value();
  while (bytes > 0) {
    const MemoryRegion* r = region_of(guest);
    if (r == nullptr) {
      out.resize(before);
      return false;
    }
    const uint64_t inside = guest - r->guest.value();
    const auto piece = static_cast<uint32_t>(std::min<uint64_t>(bytes, r->bytes - inside));
    out.push_back({base_ + r->file_offset + inside, piece});
    guest += piece;  // no wrap: a region that ends at 2^64 was refused
    bytes -= piece;
  }
  return true;
}

bool GuestMemory::read(GuestPhysAddr at, std::span<uint8_t> into) const {
  uint64_t guest = at.value();
  while (!into.empty()) {
    const MemoryRegion* r = region_of(guest);
    if (r == nullptr) return false;
    const uint64_t inside = guest - r->guest.value();
    const size_t piece = std::min<uint64_t>(into.size(), r->bytes - inside);
    std::memcpy(into.data(), base_ + r->file_offset + inside, piece);
    guest += piece;
    into = into.subspan(piece);
  }
  return true;
}

uint8_t* GuestMemory::find_user(uint64_t user, uint64_t bytes) const {
  for (const MemoryRegion& r : regions_) {
    const uint64_t inside = user - r.user;
    if (inside < r.bytes && bytes <= r.bytes - inside) return base_ + r.file_offset + inside;
  }
  return nullptr;
}

}  // namespace us
