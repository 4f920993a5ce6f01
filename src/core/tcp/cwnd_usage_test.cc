#include "core/tcp/cwnd_usage.h"

#include <gtest/gtest.h>

namespace us {
namespace {

TEST(CwndUsage, IsLimitedWhileTheWindowBlocksAndForTheRoundAfter) {
  CwndUsage usage;
  usage.on_burst(SeqNum(0), SeqNum(10'000), 10'000, true);
  EXPECT_TRUE(usage.limited(false, 10'000));
  usage.on_burst(SeqNum(5'000), SeqNum(10'000), 5'000, false);
  EXPECT_TRUE(usage.limited(false, 10'000));
  usage.on_burst(SeqNum(10'000), SeqNum(12'000), 2'000, false);
  EXPECT_FALSE(usage.limited(false, 10'000));
}

TEST(CwndUsage, InSlowStartMoreThanHalfAWindowIsEnough) {
  CwndUsage usage;
  usage.on_burst(SeqNum(0), SeqNum(6'000), 6'000, false);
  EXPECT_TRUE(usage.limited(true, 10'000));
  EXPECT_FALSE(usage.limited(false, 10'000));
  EXPECT_FALSE(usage.limited(true, 12'000));
}

TEST(CwndUsage, KeepsTheMostOfARoundAcrossTheWrapAround) {
  CwndUsage usage;
  usage.on_burst(SeqNum(0xfffff000), SeqNum(0x00001000), 8'192, false);
  usage.on_burst(SeqNum(0xfffffff0), SeqNum(0x00001000), 4'000, false);
  EXPECT_TRUE(usage.limited(true, 16'000));
}

}  // namespace
}  // namespace us
