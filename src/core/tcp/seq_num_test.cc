#include "core/tcp/seq_num.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace us {
namespace {

TEST(SeqNum, OrdersNumbersAcrossTheWrap) {
  const SeqNum last(0xffffffffu);
  EXPECT_TRUE(last.before(SeqNum(0)));
  EXPECT_TRUE(SeqNum(0).after(last));
  EXPECT_FALSE(SeqNum(0).before(last));
  EXPECT_TRUE(last.at_or_before(last));
  EXPECT_FALSE(last.before(last));
  EXPECT_EQ(last + 1, SeqNum(0));
  EXPECT_EQ(SeqNum(2) - 3, last);
  EXPECT_EQ(later(last, SeqNum(5)), SeqNum(5));
  EXPECT_EQ(earlier(last, SeqNum(5)), last);
}

TEST(SeqNum, DistanceIsForwardAndSignedDistanceTheNearestWay) {
  const SeqNum a(0xfffffff0u);
  const SeqNum b(0x10);
  EXPECT_EQ(a.distance_to(b), 0x20u);
  EXPECT_EQ(a.signed_distance_to(b), 0x20);
  EXPECT_EQ(b.distance_to(a), 0xffffffe0u);
  EXPECT_EQ(b.signed_distance_to(a), -0x20);
}

TEST(SeqNum, AWindowIsHalfOpenAndARangeIsClosed) {
  const SeqNum first(0xfffffffeu);
  EXPECT_TRUE(first.in_window(first, 1));
  EXPECT_FALSE(first.in_window(first, 0));
  EXPECT_TRUE(SeqNum(1).in_window(first, 4));
  EXPECT_FALSE(SeqNum(2).in_window(first, 4));
  EXPECT_FALSE((first - 1).in_window(first, 4));
  EXPECT_TRUE(SeqNum(2).in_range(first, SeqNum(2)));
  EXPECT_FALSE(SeqNum(3).in_range(first, SeqNum(2)));
}

RC_GTEST_PROP(SeqNum, AddingLessThanHalfTheCircleMovesAfter, (uint32_t start)) {
  const auto step = *rc::gen::inRange<uint32_t>(1, 0x80000000u);
  const SeqNum a(start);
  RC_ASSERT(a.before(a + step));
  RC_ASSERT(!(a + step).before(a));
  RC_ASSERT(a.distance_to(a + step) == step);
  RC_ASSERT((a + step).signed_distance_to(a) == -static_cast<int32_t>(step));
}

}  // namespace
}  // namespace us
