#include "core/memory/audit_judge.h"

#include <fmt/format.h>

namespace us {
namespace {

tl::unexpected<Error> bad(std::string message) { return fail(ErrorKind::kProtocol, "audit: " + std::move(message)); }

}  // namespace

Status AuditJudge::on_region(Epoch epoch, uint32_t region, ByteSpan hashes) {
  if (done_ || epoch != epoch_) return bad(fmt::format("an answer for epoch {} that nobody asked for", epoch.value()));
  if (region < next_region_ || region >= ours_->regions())
    return bad(fmt::format("region {} is out of order or range", region));
  const std::span<const uint64_t> own = ours_->region(region);
  if (hashes.size() != own.size_bytes())
    return bad(fmt::format("{} bytes of hashes for a region of {} pages", hashes.size(), own.size()));
  const size_t before = differing_.size();
  for (size_t i = 0; i < own.size(); ++i)
    if (load_le<uint64_t>(hashes.data() + i * sizeof(uint64_t)) != own[i])
      differing_.push_back(PageIndex{region * kAuditRegionPages + i});
  if (differing_.size() == before) return bad(fmt::format("region {} is said to differ and does not", region));
  next_region_ = region + 1;
  ++regions_named_;
  return {};
}

Status AuditJudge::on_end(Epoch epoch, uint64_t pages, uint32_t regions_differ) {
  if (done_ || epoch != epoch_) return bad(fmt::format("an end for epoch {} that nobody asked for", epoch.value()));
  if (pages != ours_->pages()) return bad(fmt::format("{} of {} pages compared", pages, ours_->pages()));
  if (regions_differ < regions_named_ || regions_differ > ours_->regions())
    return bad(fmt::format("{} regions differ, and {} were sent", regions_differ, regions_named_));
  regions_differ_ = regions_differ;
  done_ = true;
  return {};
}

}  // namespace us
