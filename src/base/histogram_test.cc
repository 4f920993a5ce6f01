#include "base/histogram.h"

#include <gtest/gtest.h>

namespace us {
namespace {

TEST(Histogram, QuantilesAreWithinASixteenthOfTheTruth) {
  Histogram h;
  for (int us = 1; us <= 100'000; ++us) h.record(Duration::micros(us));
  EXPECT_EQ(h.count(), 100'000u);
  for (const double q : {0.01, 0.5, 0.9, 0.99, 0.999}) {
    const double truth = q * 100'000;
    EXPECT_GE(static_cast<double>(h.quantile(q).to_micros()), truth * 0.999) << q;
    EXPECT_LE(static_cast<double>(h.quantile(q).to_micros()), truth * (1 + 1.0 / 16) + 1) << q;
  }
  EXPECT_EQ(h.quantile(1.0), Duration::millis(100));
}

TEST(Histogram, ValuesBeyondTheLastBucketStillCountAndKeepTheMaximum) {
  Histogram h;
  h.record(Duration::seconds(1'000'000'000));
  h.record(Duration::micros(-5));
  EXPECT_EQ(h.count(), 2u);
  EXPECT_EQ(h.max(), Duration::seconds(1'000'000'000));
  EXPECT_EQ(h.quantile(0.25), Duration{});
}

TEST(Histogram, IsZeroWithoutSamples) { EXPECT_EQ(Histogram{}.quantile(0.5), Duration{}); }

}  // namespace
}  // namespace us
