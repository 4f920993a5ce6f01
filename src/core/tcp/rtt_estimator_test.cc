#include "core/tcp/rtt_estimator.h"

#include <gtest/gtest.h>

namespace us {
namespace {

Instant at_ms(int64_t ms) { return Instant::from_nanos(0) + Duration::millis(ms); }

TEST(RttEstimator, TheFirstSampleSetsTheAverageAndHalfOfItAsVariation) {
  RttEstimator rtt{RttConfig{}};
  EXPECT_FALSE(rtt.has_sample());
  EXPECT_EQ(rtt.rto(), Duration::seconds(1));
  rtt.on_sample(Duration::millis(100), 1, at_ms(0));
  EXPECT_EQ(rtt.srtt(), Duration::millis(100));
  EXPECT_EQ(rtt.rttvar(), Duration::millis(50));
  EXPECT_EQ(rtt.rto(), Duration::millis(300));
}

TEST(RttEstimator, LaterSamplesMoveItByAnEighthAndAQuarter) {
  RttEstimator rtt{RttConfig{}};
  rtt.on_sample(Duration::millis(100), 1, at_ms(0));
  rtt.on_sample(Duration::millis(180), 1, at_ms(100));
  EXPECT_EQ(rtt.rttvar().to_micros(), 57'500);  // 50 + (80 - 50) / 4
  EXPECT_EQ(rtt.srtt().to_micros(), 110'000);   // 100 + 80 / 8
  EXPECT_EQ(rtt.rto().to_micros(), 110'000 + 4 * 57'500);
}

TEST(RttEstimator, ManySamplesPerRoundKeepTheSameHistory) {
  RttEstimator one{RttConfig{}};
  RttEstimator many{RttConfig{}};
  one.on_sample(Duration::millis(100), 1, at_ms(0));
  many.on_sample(Duration::millis(100), 1, at_ms(0));
  one.on_sample(Duration::millis(200), 1, at_ms(100));
  for (int i = 0; i < 20; ++i) many.on_sample(Duration::millis(200), 20, at_ms(100));
  EXPECT_NEAR(one.srtt().to_millis_f(), many.srtt().to_millis_f(), 1.0);
}

TEST(RttEstimator, TheVariationTermHasAFloorForDelayedAcks) {
  RttEstimator rtt{RttConfig{}};
  for (int i = 0; i < 200; ++i) rtt.on_sample(Duration::millis(20), 1, at_ms(20 * i));
  EXPECT_LT(rtt.rttvar(), Duration::millis(1));
  EXPECT_EQ(rtt.rto(), Duration::millis(220));
}

TEST(RttEstimator, TheTimeoutIsBounded) {
  RttEstimator rtt{RttConfig{}};
  rtt.on_sample(Duration::seconds(500), 1, at_ms(0));
  EXPECT_EQ(rtt.rto(), Duration::seconds(120));
}

TEST(RttEstimator, AZeroSampleCountsAsAMicrosecond) {
  RttEstimator rtt{RttConfig{}};
  rtt.on_sample(Duration(), 1, at_ms(0));
  EXPECT_EQ(rtt.srtt(), Duration::micros(1));
}

TEST(WindowedMin, ForgetsTheMinimumOfAShorterPathAfterTheWindow) {
  WindowedMin min(Duration::seconds(10));
  EXPECT_FALSE(min.get());
  min.on_sample(Duration::millis(10), at_ms(1'000));
  for (int ms = 1'100; ms < 5'900; ms += 100) {
    min.on_sample(Duration::millis(80), at_ms(ms));
    EXPECT_EQ(min.get(), Duration::millis(10)) << ms;
  }
  for (int ms = 5'900; ms < 12'000; ms += 100) min.on_sample(Duration::millis(80), at_ms(ms));
  EXPECT_EQ(min.get(), Duration::millis(80));
}

TEST(WindowedMin, APauseWithoutSamplesForgetsNothingUntilTheNextOne) {
  WindowedMin min(Duration::seconds(10));
  min.on_sample(Duration::millis(10), at_ms(0));
  EXPECT_EQ(min.get(), Duration::millis(10));
  min.on_sample(Duration::millis(80), at_ms(60'000));
  EXPECT_EQ(min.get(), Duration::millis(80));
}

}  // namespace
}  // namespace us
