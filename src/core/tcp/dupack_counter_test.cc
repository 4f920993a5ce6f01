#include "core/tcp/dupack_counter.h"

#include <gtest/gtest.h>

namespace us {
namespace {

TEST(DupAckCounter, EachDuplicateIsOneSegmentDelivered) {
  DupAckCounter dup;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(dup.on_duplicate(1000, 10'000), 1000u);
  EXPECT_EQ(dup.count(), DupAckCounter::kThreshold);
  EXPECT_EQ(dup.bytes(), 3000u);
}

TEST(DupAckCounter, AForgedFloodOfDuplicatesCountsNoMoreThanWasSent) {
  DupAckCounter dup;
  for (int i = 0; i < 1000; ++i) dup.on_duplicate(1000, 5'500);
  EXPECT_EQ(dup.bytes(), 4500u);
  EXPECT_EQ(dup.on_duplicate(1000, 500), 0u);
}

TEST(DupAckCounter, ACumulativeAckTakesBackWhatWasCounted) {
  DupAckCounter dup;
  for (int i = 0; i < 4; ++i) dup.on_duplicate(1000, 10'000);
  EXPECT_EQ(dup.on_progress(5000, 1000), 1000u);  // the hole; the other four were counted
  EXPECT_EQ(dup.bytes(), 0u);
  EXPECT_EQ(dup.on_progress(2000, 1000), 2000u);
}

}  // namespace
}  // namespace us
