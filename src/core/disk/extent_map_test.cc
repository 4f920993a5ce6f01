#include "core/disk/extent_map.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "core/disk/disk_samples.h"

namespace us {
namespace {

using namespace disk_samples;

TEST(ExtentMap, TheLastWriteWinsAndWhatItLeavesIsSlicesOfTheSameBuffer) {
  ExtentMap map;
  const DiskWrite a = filled(0, 12, 'a');
  map.put(a);
  map.put(filled(4, 4, 'b'));
  const auto plan = map.plan();
  ASSERT_EQ(plan.size(), 3u);
  EXPECT_EQ(plan[2].range, (DiskRange{8, 12}));
  EXPECT_EQ(plan[2].data.span().data(), a.data.span().data() + 8);
}

TEST(ExtentMap, AdjacentZeroesAreJoinedButNotWithDiscards) {
  ExtentMap map;
  map.put({WriteKind::kZeroes, {0, 4}, {}});
  map.put({WriteKind::kZeroes, {4, 8}, {}});
  map.put({WriteKind::kDiscard, {8, 12}, {}});
  const auto plan = map.plan();
  ASSERT_EQ(plan.size(), 2u);
  EXPECT_EQ(plan[0].range, (DiskRange{0, 8}));
  EXPECT_EQ(plan[1].kind, WriteKind::kDiscard);
}

RC_GTEST_PROP(ExtentMap, ThePlanIsDisjointOrderedAndEqualsDoingTheWritesInOrder, (uint64_t seed)) {
  Rng rng(seed);
  constexpr size_t kBytes = 300;
  Bytes expected(kBytes, 0xee), actual(kBytes, 0xee);
  ExtentMap map;
  for (uint64_t n = rng.below(30); n > 0; --n) {
    const DiskWrite w = random_write(rng, kBytes, 60);
    lay_over(expected, w);
    map.put(w);
  }
  uint64_t last = 0;
  for (const DiskWrite& w : map.plan()) {
    RC_ASSERT(w.range.start >= last && w.range.end > w.range.start);
    last = w.range.end;
    lay_over(actual, w);
  }
  RC_ASSERT((actual == expected));
  const uint64_t start = rng.below(kBytes);
  const DiskRange within{start, start + 1 + rng.below(kBytes - start)};
  Bytes part(kBytes, 0xee);
  for (const DiskWrite& w : map.covering(within)) {
    RC_ASSERT(within.contains(w.range));
    lay_over(part, w);
  }
  RC_ASSERT(std::equal(part.begin() + static_cast<ptrdiff_t>(within.start),
                       part.begin() + static_cast<ptrdiff_t>(within.end),
                       expected.begin() + static_cast<ptrdiff_t>(within.start)));
  RC_ASSERT(map.overlaps(within) == !map.covering(within).empty());
}

RC_GTEST_PROP(ExtentMap, LayingOneMapOverAnotherIsDoingItsWritesLater, (uint64_t seed)) {
  Rng rng(seed);
  constexpr size_t kBytes = 200;
  Bytes expected(kBytes, 0xee), actual(kBytes, 0xee);
  ExtentMap first, second;
  for (ExtentMap* map : {&first, &second}) {
    for (uint64_t n = rng.below(10); n > 0; --n) {
      const DiskWrite w = random_write(rng, kBytes, 60);
      lay_over(expected, w);
      map->put(w);
    }
  }
  first.put_all(second);
  lay_over(actual, first.plan());
  RC_ASSERT((actual == expected));
}

}  // namespace
}  // namespace us
