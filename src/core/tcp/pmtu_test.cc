#include "core/tcp/pmtu.h"

#include <gtest/gtest.h>

namespace us {
namespace {

TEST(PathMtu, AReportLowersTheSizeButNeverRaisesIt) {
  PathMtu pmtu(1448, 524);
  EXPECT_TRUE(pmtu.on_too_big(1348));
  EXPECT_EQ(pmtu.mss(), 1348u);
  EXPECT_FALSE(pmtu.on_too_big(1400));
  EXPECT_EQ(pmtu.mss(), 1348u);
}

TEST(PathMtu, AForgedReportStopsAtTheFloor) {
  PathMtu pmtu(1448, 524);
  EXPECT_TRUE(pmtu.on_too_big(0));
  EXPECT_EQ(pmtu.mss(), 524u);
  EXPECT_FALSE(pmtu.on_too_big(0));
}

TEST(PathMtu, APeerThatAskedForLessThanTheFloorGetsThat) {
  PathMtu pmtu(100, 524);
  EXPECT_FALSE(pmtu.on_too_big(50));
  EXPECT_EQ(pmtu.mss(), 100u);
}

TEST(PathMtu, RepeatedTimeoutsOfFullSegmentsTryTheBaseSizeAndThenTheFloor) {
  PathMtu pmtu(1448, 524);
  EXPECT_FALSE(pmtu.on_timeout(1, true));
  EXPECT_FALSE(pmtu.on_timeout(2, true));
  EXPECT_FALSE(pmtu.on_timeout(5, false)) << "a small segment is lost for another reason";
  EXPECT_TRUE(pmtu.on_timeout(3, true));
  EXPECT_EQ(pmtu.mss(), 1208u);
  EXPECT_TRUE(pmtu.on_timeout(4, true));
  EXPECT_EQ(pmtu.mss(), 524u);
  EXPECT_FALSE(pmtu.on_timeout(5, true));
}

TEST(PathMtu, TheFirstSuspicionIsForgottenOnProgressTheSecondIsNot) {
  PathMtu pmtu(1448, 524);
  pmtu.on_timeout(3, true);
  pmtu.on_timeout(4, true);
  EXPECT_TRUE(pmtu.on_progress()) << "it may have been an outage";
  EXPECT_EQ(pmtu.mss(), 1448u);
  pmtu.on_timeout(3, true);
  EXPECT_FALSE(pmtu.on_progress());
  EXPECT_EQ(pmtu.mss(), 1208u);
}

TEST(PathMtu, AReportDuringASuspicionStays) {
  PathMtu pmtu(1448, 524);
  pmtu.on_timeout(3, true);
  pmtu.on_too_big(1348);
  EXPECT_TRUE(pmtu.on_progress());
  EXPECT_EQ(pmtu.mss(), 1348u);
}

}  // namespace
}  // namespace us
