#include "core/disk/disk_audit.h"

namespace us {

std::optional<uint64_t> DiskAudit::poll(const DirtyMap& map) {
  for (; next_ < shape_.granules() && map.is_lasting(next_); ++next_) ++result_.left_out;
  if (next_ == shape_.granules() || reading_ + open_ >= answers_max_) return std::nullopt;
  ++reading_;
  return next_++;
}

void DiskAudit::on_read(uint64_t granule) {
  US_CHECK(reading_ > 0);
  --reading_;
  ++open_;
  awaited_.set(granule);
}

void DiskAudit::on_read_failed(uint64_t) {
  US_CHECK(reading_ > 0);
  --reading_;
  ++result_.left_out;
}

Status DiskAudit::on_answer(uint64_t granule, bool equal) {
  if (granule >= shape_.granules() || !awaited_.test(granule))
    return fail(ErrorKind::kProtocol, "disk: an answer to a comparison that was not asked for");
  awaited_.reset(granule);
  --open_;
  ++result_.compared;
  if (equal) return {};
  ++result_.differing;
  if (result_.offsets.size() < kNamedMax) result_.offsets.push_back(granule * shape_.granule_bytes);
  return {};
}

}  // namespace us
