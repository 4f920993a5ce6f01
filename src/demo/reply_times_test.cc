#include "demo/reply_times.h"

#include <gtest/gtest.h>

namespace us::demo {
namespace {

Instant at(int64_t ms) { return Instant::from_nanos(ms * 1'000'000); }

TEST(ReplyTimes, SilenceThatBeganBeforeTheMomentAskedForCountsWhole) {
  ReplyTimes times;
  for (const int64_t ms : {0, 500, 505, 510, 800, 805}) times.add(at(ms), Duration::millis(1));
  EXPECT_EQ(times.longest_silence(at(600), at(806)), Duration::millis(290));
}

TEST(ReplyTimes, EarlierSilencesDoNotCount) {
  ReplyTimes times;
  for (const int64_t ms : {0, 500, 505, 510, 520}) times.add(at(ms), Duration::millis(1));
  EXPECT_EQ(times.longest_silence(at(507), at(521)), Duration::millis(10));
}

TEST(ReplyTimes, SilenceThatLastsUntilNowCounts) {
  ReplyTimes times;
  times.add(at(10), Duration::millis(1));
  EXPECT_EQ(times.longest_silence(at(12), at(70)), Duration::millis(60));
  EXPECT_EQ(ReplyTimes().longest_silence(at(5), at(45)), Duration::millis(40));
}

TEST(ReplyTimes, CountsRepliesAfterAMoment) {
  ReplyTimes times;
  for (const int64_t ms : {1, 2, 3}) times.add(at(ms), Duration::millis(1));
  EXPECT_EQ(times.count_since(at(2)), 1u);
}

TEST(ReplyTimes, RoundTripIsAQuantile) {
  ReplyTimes times;
  for (int64_t ms = 1; ms <= 101; ++ms) times.add(at(ms), Duration::millis(102 - ms));
  EXPECT_EQ(times.round_trip(0.5), Duration::millis(51));
  EXPECT_EQ(times.round_trip(1), Duration::millis(101));
  EXPECT_EQ(ReplyTimes().round_trip(0.5), Duration());
}

TEST(ReplyTimes, RoundTripsCountOnlyWhileTheyAreMeasured) {
  ReplyTimes times;
  times.measure_round_trips(false);
  times.add(at(1), Duration::millis(9));
  times.measure_round_trips(true);
  times.add(at(2), Duration::millis(3));
  EXPECT_EQ(times.round_trip(1), Duration::millis(3));
  EXPECT_EQ(times.count_since(at(0)), 2u);
}

}  // namespace
}  // namespace us::demo
