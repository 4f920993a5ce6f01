// RangeSet: disjoint, non-adjacent sequence ranges in order: what has arrived, or may be acknowledged, ahead of a hole.
//
//   next      [=====)      [==)            [==========)
//
// All ranges lie within 2^30 of each other (one receive window), so their order is the one of SeqNum::before().
// Bounded: add() refuses a range that would make more than the given number of them.  Holds no memory when empty
// for long (a small allocation is kept while a loss is being repaired).
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "core/tcp/seq_num.h"

namespace us {

class RangeSet {
 public:
  explicit RangeSet(size_t ranges_max) : ranges_max_(ranges_max) {}

  bool empty() const { return ranges_.empty(); }
  std::span<const SeqRange> ranges() const { return ranges_; }

  // Merges `range`, which is not empty.  False and no change if that would make too many ranges.
  bool add(SeqRange range);
  // Whether add() would succeed.
  bool has_room_for(SeqRange range) const;
  // Drops what is at or before `next` or touches it; returns where the bytes that follow `next` without a hole end.
  SeqNum advance(SeqNum next);
  // The range that `seq` is in.
  std::optional<SeqRange> containing(SeqNum seq) const;
  // The first part of `within` that is not in the set; empty, at within.end, if there is none.
  SeqRange first_gap(SeqRange within) const;
  void clear();

  // Judges ranges from another host: ordered, disjoint, non-empty, ahead of `next`, before or at `limit`.
  static Result<RangeSet> restore(std::span<const SeqRange> untrusted, SeqNum next, SeqNum limit, size_t ranges_max);

 private:
  // Index of the first range that ends at or after `seq`.
  size_t first_touching(SeqNum seq) const;

  std::vector<SeqRange> ranges_;
  size_t ranges_max_;
};

}  // namespace us
