#include "core/memory/copy_audit.h"

#include <fmt/format.h>

#include <array>

namespace us {
namespace {

tl::unexpected<Error> bad(std::string message) { return fail(ErrorKind::kProtocol, "audit: " + std::move(message)); }

}  // namespace

Status CopyAudit::on_digests(Epoch epoch, Epoch applied, uint32_t regions, uint32_t first, ByteSpan digests) {
  if (epoch != applied)
    return bad(fmt::format("of epoch {}, but the copy holds epoch {}", epoch.value(), applied.value()));
  if (regions != audit_regions(pages_))
    return bad(fmt::format("announces {} regions, the RAM has {}", regions, audit_regions(pages_)));
  if (first == 0) begin(epoch);
  if (!active_ || epoch != epoch_ || first != digests_.size())
    return bad(fmt::format("digests from region {} on do not follow the ones before", first));
  const size_t count = digests.size() / sizeof(uint64_t);
  if (count == 0 || digests.size() % sizeof(uint64_t) != 0 || count > regions - first)
    return bad(fmt::format("{} bytes of digests from region {} of {} on", digests.size(), first, regions));
  for (size_t i = 0; i < count; ++i) digests_.push_back(load_le<uint64_t>(digests.data() + i * sizeof(uint64_t)));
  return {};
}

void CopyAudit::begin(Epoch epoch) {
  cancel();
  active_ = true;
  epoch_ = epoch;
  early_.assign((pages_ + 63) / 64, 0);
  kept_ = std::make_unique_for_overwrite<uint64_t[]>(pages_);
}

void CopyAudit::cancel() {
  active_ = false;
  next_ = 0;
  regions_differ_ = 0;
  std::vector<uint64_t>().swap(digests_);
  std::vector<uint64_t>().swap(early_);
  kept_.reset();
  found_.clear();
}

void CopyAudit::keep_hash(uint64_t page) {
  kept_[page] = page_hash(std::span<const uint8_t, kPageSize>(ram_ + page * kPageSize, kPageSize));
  early_[page / 64] |= uint64_t{1} << (page % 64);
}

void CopyAudit::step(uint64_t pages) {
  for (const uint64_t end = next_ + pages; busy() && next_ < end;) {
    const auto region = static_cast<uint32_t>(next_ / kAuditRegionPages);
    compare_region(region);
    next_ += audit_region_size(region, pages_);
  }
}

void CopyAudit::compare_region(uint32_t region) {
  std::array<uint64_t, kAuditRegionPages> hashes;
  const uint64_t first = region * kAuditRegionPages, count = audit_region_size(region, pages_);
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t page = first + i;
    hashes[i] = is_early(page) ? kept_[page]
                               : page_hash(std::span<const uint8_t, kPageSize>(ram_ + page * kPageSize, kPageSize));
  }
  const std::span<const uint64_t> found(hashes.data(), count);
  if (region_digest(found) == digests_[region]) return;
  if (regions_differ_++ >= kAuditRegionsNamedMax) return;
  Bytes bytes;
  ByteWriter writer(bytes);
  for (const uint64_t hash : found) writer.le(hash);
  found_.push_back({region, std::move(bytes)});
}

std::optional<CopyAudit::Region> CopyAudit::poll_region() {
  if (found_.empty()) return std::nullopt;
  Region region = std::move(found_.front());
  found_.pop_front();
  return region;
}

std::optional<CopyAudit::Verdict> CopyAudit::poll_verdict() {
  if (!active_ || next_ != pages_ || !found_.empty()) return std::nullopt;
  const Verdict verdict{epoch_, pages_, regions_differ_};
  cancel();
  return verdict;
}

}  // namespace us
