#include "core/tcp/ack_policy.h"

#include <gtest/gtest.h>

namespace us {
namespace {

constexpr Instant kStart = Instant::from_nanos(5'000'000'000);
constexpr uint32_t kSegment = 1448;

AckPolicy after_the_quick_acks() {
  AckPolicy policy;
  for (int i = 0; i < AckPolicy::kQuickAcks; ++i) {
    policy.on_data(1, kSegment, kStart);
    EXPECT_TRUE(policy.due(kStart)) << i;
    policy.on_ack_sent();
    EXPECT_FALSE(policy.due(kStart));
  }
  return policy;
}

TEST(AckPolicy, AcknowledgesEverySecondFullSegmentAtOnce) {
  AckPolicy policy = after_the_quick_acks();
  policy.on_data(kSegment, kSegment, kStart);
  EXPECT_FALSE(policy.due(kStart));
  policy.on_data(2 * kSegment, kSegment, kStart);
  EXPECT_TRUE(policy.due(kStart));
}

TEST(AckPolicy, DelaysASingleSegmentByFortyMillisecondsFromTheFirstByteThatWaits) {
  AckPolicy policy = after_the_quick_acks();
  policy.on_data(100, kSegment, kStart);
  policy.on_data(200, kSegment, kStart + Duration::millis(30));
  EXPECT_EQ(policy.deadline(), kStart + Duration::millis(40));
  EXPECT_FALSE(policy.due(kStart + Duration::millis(39)));
  EXPECT_TRUE(policy.due(kStart + Duration::millis(40)));
  policy.on_ack_sent();
  EXPECT_FALSE(policy.due(kStart + Duration::seconds(100)));
}

TEST(AckPolicy, BehavesTheSameAfterRestoreOnAnotherClock) {
  AckPolicy policy = after_the_quick_acks();
  policy.on_data(100, kSegment, kStart);
  const AckPolicyState state = policy.snapshot(kStart + Duration::millis(10));
  const Instant other = Instant::from_nanos(3);
  const AckPolicy restored = AckPolicy::restore(state, other);
  EXPECT_EQ(restored.snapshot(other), state);
  EXPECT_EQ(restored.deadline(), other + Duration::millis(30));
}

}  // namespace
}  // namespace us
