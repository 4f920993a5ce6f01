#include "core/disk/resync_plan.h"

#include <algorithm>

namespace us {

ResyncPlan::ResyncPlan(const DirtyMapShape& shape, GranuleSet what, Mode mode, uint32_t answers_max)
    : shape_(shape),
      answers_max_(answers_max),
      to_compare_(shape.granules()),
      to_copy_(shape.granules()),
      waiting_(shape.granules()) {
  US_CHECK(what.granules() == shape.granules() && answers_max > 0);
  total_ = what.count();
  if (mode == Mode::kCompare) {
    to_compare_ = std::move(what);
    to_compare_left_ = total_;
  } else {
    to_copy_ = std::move(what);
    to_copy_left_ = total_;
  }
}

DiskRange ResyncPlan::range_of(uint64_t g) const {
  const uint64_t start = g * shape_.granule_bytes;
  return {start, std::min(start + shape_.granule_bytes, shape_.disk_bytes)};
}

std::optional<uint64_t> ResyncPlan::take(GranuleSet& from, uint64_t& cursor, uint64_t& left) {
  if (left == 0) return std::nullopt;
  uint64_t g = from.next(cursor);
  if (g == from.granules()) g = from.next(0);
  from.reset(g);
  cursor = g + 1;
  --left;
  ++reading_;
  return g;
}

std::optional<ResyncPlan::Step> ResyncPlan::poll() {
  // What differs goes first, so that answers do not pile up into a second pass.
  if (const auto g = take(to_copy_, copy_cursor_, to_copy_left_)) return Step{Action::kCopy, *g, range_of(*g)};
  if (awaited_ >= answers_max_) return std::nullopt;
  const auto g = take(to_compare_, compare_cursor_, to_compare_left_);
  if (!g) return std::nullopt;
  waiting_.set(*g);
  ++awaited_;
  return Step{Action::kCompare, *g, range_of(*g)};
}

void ResyncPlan::on_copied(uint64_t granule) {
  US_CHECK(reading_ > 0);
  --reading_;
  bytes_copied_ += range_of(granule).length();
}

void ResyncPlan::on_compared(uint64_t) {
  US_CHECK(reading_ > 0);
  --reading_;
}

Status ResyncPlan::on_answer(uint64_t granule, bool equal) {
  if (granule >= shape_.granules() || !waiting_.test(granule))
    return fail(ErrorKind::kProtocol, "disk: an answer to a comparison that was not asked for");
  waiting_.reset(granule);
  --awaited_;
  if (equal) return {};
  to_copy_.set(granule);
  ++to_copy_left_;
  return {};
}

void ResyncPlan::on_read_failed(const Step& step) {
  US_CHECK(reading_ > 0);
  --reading_;
  if (step.action == Action::kCopy) {
    to_copy_.set(step.granule);
    ++to_copy_left_;
    return;
  }
  waiting_.reset(step.granule);
  --awaited_;
  to_compare_.set(step.granule);
  ++to_compare_left_;
}

bool ResyncPlan::must_send(DiskRange range) const {
  for (uint64_t g = range.start / shape_.granule_bytes; g * shape_.granule_bytes < range.end; ++g)
    if (!to_copy_.test(g) && !to_compare_.test(g)) return true;
  return false;
}

ResyncPlan::Progress ResyncPlan::progress() const {
  // One that is being compared is in reading_ and in awaited_ at once; count it once.
  const uint64_t open = to_compare_left_ + to_copy_left_ + std::max(reading_, awaited_);
  return {total_, total_ - std::min(total_, open), bytes_copied_};
}

}  // namespace us
