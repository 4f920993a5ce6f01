#include "core/tcp/range_set.h"

#include <algorithm>

#include "base/check.h"

namespace us {

namespace {
constexpr size_t kRangesKept = 8;
}

size_t RangeSet::first_touching(SeqNum seq) const {
  const auto it = std::partition_point(ranges_.begin(), ranges_.end(), [&](SeqRange r) { return r.end.before(seq); });
  return static_cast<size_t>(it - ranges_.begin());
}

bool RangeSet::has_room_for(SeqRange range) const {
  if (ranges_.size() < ranges_max_) return true;
  const size_t i = first_touching(range.start);
  return i < ranges_.size() && ranges_[i].start.at_or_before(range.end);
}

bool RangeSet::add(SeqRange range) {
  US_CHECK(!range.empty());
  if (!has_room_for(range)) return false;
  const size_t first = first_touching(range.start);
  size_t end = first;
  for (; end < ranges_.size() && ranges_[end].start.at_or_before(range.end); ++end) {
    range.start = earlier(range.start, ranges_[end].start);
    range.end = later(range.end, ranges_[end].end);
  }
  const auto at = ranges_.begin() + static_cast<std::ptrdiff_t>(first);
  if (first == end) {
    ranges_.insert(at, range);
  } else {
    *at = range;
    ranges_.erase(at + 1, ranges_.begin() + static_cast<std::ptrdiff_t>(end));
  }
  return true;
}

SeqNum RangeSet::advance(SeqNum next) {
  size_t passed = 0;
  for (; passed < ranges_.size() && ranges_[passed].start.at_or_before(next); ++passed)
    next = later(next, ranges_[passed].end);
  ranges_.erase(ranges_.begin(), ranges_.begin() + static_cast<std::ptrdiff_t>(passed));
  if (ranges_.empty()) clear();
  return next;
}

std::optional<SeqRange> RangeSet::containing(SeqNum seq) const {
  const size_t i = first_touching(seq + 1);
  if (i == ranges_.size() || !ranges_[i].contains(seq)) return std::nullopt;
  return ranges_[i];
}

SeqRange RangeSet::first_gap(SeqRange within) const {
  size_t i = first_touching(within.start + 1);
  if (i < ranges_.size() && ranges_[i].contains(within.start)) {
    if (within.end.at_or_before(ranges_[i].end)) return {within.end, within.end};
    within.start = ranges_[i].end;
    ++i;
  }
  if (i < ranges_.size()) within.end = earlier(within.end, ranges_[i].start);
  return within;
}

void RangeSet::clear() {
  ranges_.clear();
  if (ranges_.capacity() > kRangesKept) ranges_.shrink_to_fit();
}

Result<RangeSet> RangeSet::restore(std::span<const SeqRange> untrusted, SeqNum next, SeqNum limit, size_t ranges_max) {
  if (untrusted.size() > ranges_max) return fail(ErrorKind::kProtocol, "sequence ranges: too many");
  RangeSet out(ranges_max);
  uint32_t last = 0;  // distance of the end of the range before; 0 touches `next`
  for (const SeqRange& r : untrusted) {
    const uint32_t start = next.distance_to(r.start);
    const uint32_t end = next.distance_to(r.end);
    if (start <= last || end <= start || end > next.distance_to(limit))
      return fail(ErrorKind::kProtocol, "sequence ranges: out of order or out of the window");
    last = end;
  }
  out.ranges_.assign(untrusted.begin(), untrusted.end());
  return out;
}

}  // namespace us
