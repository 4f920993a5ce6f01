#include "core/tcp/range_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <set>

namespace us {
namespace {

using ::testing::ElementsAre;

SeqRange range(uint32_t start, uint32_t end) { return {SeqNum(start), SeqNum(end)}; }

TEST(RangeSet, MergesRangesThatOverlapOrTouch) {
  RangeSet s(10);
  s.add(range(100, 200));
  s.add(range(300, 400));
  s.add(range(500, 600));
  EXPECT_THAT(s.ranges(), ElementsAre(range(100, 200), range(300, 400), range(500, 600)));
  s.add(range(200, 250));
  s.add(range(390, 500));
  EXPECT_THAT(s.ranges(), ElementsAre(range(100, 250), range(300, 600)));
  s.add(range(50, 700));
  EXPECT_THAT(s.ranges(), ElementsAre(range(50, 700)));
}

TEST(RangeSet, AdvancesOverTheRangesThatFollowWithoutAHole) {
  RangeSet s(10);
  s.add(range(100, 200));
  s.add(range(300, 400));
  EXPECT_EQ(s.advance(SeqNum(50)), SeqNum(50));
  EXPECT_EQ(s.advance(SeqNum(100)), SeqNum(200));
  EXPECT_THAT(s.ranges(), ElementsAre(range(300, 400)));
  EXPECT_EQ(s.advance(SeqNum(350)), SeqNum(400));
  EXPECT_TRUE(s.empty());
}

TEST(RangeSet, OrdersAcrossTheSequenceWrap) {
  RangeSet s(10);
  s.add(range(5, 10));
  s.add(range(0xfffffff0u, 0xfffffff8u));
  s.add(range(0xfffffffcu, 2));
  EXPECT_THAT(s.ranges(), ElementsAre(range(0xfffffff0u, 0xfffffff8u), range(0xfffffffcu, 2), range(5, 10)));
  EXPECT_EQ(s.containing(SeqNum(0)), range(0xfffffffcu, 2));
  EXPECT_EQ(s.containing(SeqNum(2)), std::nullopt);
}

TEST(RangeSet, RefusesOneRangeTooManyButStillMerges) {
  RangeSet s(2);
  EXPECT_TRUE(s.add(range(100, 200)));
  EXPECT_TRUE(s.add(range(300, 400)));
  EXPECT_FALSE(s.add(range(500, 600)));
  EXPECT_FALSE(s.add(range(250, 260)));
  EXPECT_TRUE(s.add(range(400, 450)));
  EXPECT_TRUE(s.add(range(150, 320)));
  EXPECT_THAT(s.ranges(), ElementsAre(range(100, 450)));
}

TEST(RangeSet, RefusesToRestoreWhatIsNotASetAheadOfNext) {
  const auto restored = [](std::vector<SeqRange> r) {
    return RangeSet::restore(r, SeqNum(100), SeqNum(1000), 3).has_value();
  };
  EXPECT_TRUE(restored({}));
  EXPECT_TRUE(restored({range(101, 200), range(300, 1000)}));
  EXPECT_FALSE(restored({range(100, 200)}));                   // touches next
  EXPECT_FALSE(restored({range(300, 1001)}));                  // passes the limit
  EXPECT_FALSE(restored({range(200, 200)}));                   // empty
  EXPECT_FALSE(restored({range(200, 150)}));                   // backwards
  EXPECT_FALSE(restored({range(200, 300), range(300, 400)}));  // adjacent
  EXPECT_FALSE(restored({range(300, 400), range(110, 200)}));  // unordered
  EXPECT_FALSE(restored({range(50, 60)}));                     // behind
  EXPECT_FALSE(restored({range(110, 111), range(120, 121), range(130, 131), range(140, 141)}));
}

RC_GTEST_PROP(RangeSet, BehavesAsASetOfNumbers, (uint32_t base)) {
  RangeSet s(1000);
  std::set<uint32_t> model;  // relative to base
  const int steps = *rc::gen::inRange(1, 40);
  for (int i = 0; i < steps; ++i) {
    const auto start = *rc::gen::inRange<uint32_t>(1, 200);
    const auto length = *rc::gen::inRange<uint32_t>(1, 20);
    RC_ASSERT(s.add({SeqNum(base + start), SeqNum(base + start + length)}));
    for (uint32_t n = 0; n < length; ++n) model.insert(start + n);
  }
  SeqNum last(base);
  uint32_t total = 0;
  for (const SeqRange& r : s.ranges()) {
    RC_ASSERT(last.before(r.start));
    last = r.end;
    total += r.length();
  }
  RC_ASSERT(total == model.size());
  for (uint32_t n = 0; n < 230; ++n) {
    RC_ASSERT(s.containing(SeqNum(base + n)).has_value() == model.contains(n));
    const SeqRange gap = s.first_gap({SeqNum(base + n), SeqNum(base + n + 25)});
    uint32_t first = n;
    while (first < n + 25 && model.contains(first)) ++first;
    uint32_t end = first;
    while (end < n + 25 && !model.contains(end)) ++end;
    RC_ASSERT(gap == (SeqRange{SeqNum(base + first), SeqNum(base + end)}));
  }
}

}  // namespace
}  // namespace us
