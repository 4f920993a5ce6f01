#include "core/disk/range_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>

#include "base/rng.h"

namespace us {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(RangeLock, WhatDoesNotOverlapPassesAndWhatTouchesDoesNotOverlap) {
  RangeLock lock;
  EXPECT_TRUE(lock.acquire(LockId(1), {0, 10}));
  EXPECT_TRUE(lock.acquire(LockId(2), {10, 20}));
  EXPECT_FALSE(lock.acquire(LockId(3), {5, 15}));
  EXPECT_THAT(lock.release(LockId(1)), IsEmpty());
  EXPECT_THAT(lock.release(LockId(2)), ElementsAre(LockId(3)));
}

TEST(RangeLock, ALaterOneDoesNotOvertakeAnEarlierOneThatWaits) {
  RangeLock lock;
  lock.acquire(LockId(1), {0, 10});
  EXPECT_FALSE(lock.acquire(LockId(2), {5, 30}));
  EXPECT_FALSE(lock.acquire(LockId(3), {20, 25})) << "free, but the second came first";
  EXPECT_THAT(lock.release(LockId(1)), ElementsAre(LockId(2)));
  EXPECT_THAT(lock.release(LockId(2)), ElementsAre(LockId(3)));
}

RC_GTEST_PROP(RangeLock, HoldersNeverOverlapOverlapsKeepTheirOrderAndNobodyIsForgotten, (uint64_t seed)) {
  Rng rng(seed);
  RangeLock lock;
  std::map<uint64_t, DiskRange> all, held;
  std::vector<uint64_t> done;
  uint64_t next = 1;
  const auto grant = [&](LockId id) {
    const DiskRange range = all.at(id.value());
    for (const auto& [other, r] : held) RC_ASSERT(!r.overlaps(range));
    for (const auto& [other, r] : all)
      if (other < id.value() && r.overlaps(range)) RC_ASSERT(std::find(done.begin(), done.end(), other) != done.end());
    held.emplace(id.value(), range);
  };
  while (next <= 40 || !held.empty()) {
    if (next <= 40 && rng.chance(0.6)) {
      const uint64_t start = rng.below(100);
      all[next] = {start, start + 1 + rng.below(30)};
      if (lock.acquire(LockId(next), all[next])) grant(LockId(next));
      ++next;
    } else if (!held.empty()) {
      const auto it = std::next(held.begin(), static_cast<ptrdiff_t>(rng.below(held.size())));
      const LockId id(it->first);
      held.erase(it);
      done.push_back(id.value());
      for (const LockId granted : lock.release(id)) grant(granted);
    }
  }
  RC_ASSERT(done.size() == 40u);
  RC_ASSERT(lock.empty());
}

}  // namespace
}  // namespace us
