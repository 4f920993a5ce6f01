#include "takeover/arrivals.h"

#include <gtest/gtest.h>

namespace us::bench {
namespace {

Instant at(int64_t ms) { return Instant() + Duration::millis(ms); }

TEST(Arrivals, TheLongestSilenceIsTheOneThatEndsAfterTheFault) {
  Arrivals arrivals;
  for (const int64_t ms : {0, 500, 505, 640, 645, 650}) arrivals.add(at(ms), 8);
  const Silence silence = arrivals.longest(at(507), at(655));
  EXPECT_EQ(silence.begin, at(505)) << "it began before the fault; the longer one before it does not count";
  EXPECT_EQ(silence.end, at(640));
}

TEST(Arrivals, ASilenceThatLastsEndsNow) {
  Arrivals arrivals;
  arrivals.add(at(100), 8);
  EXPECT_EQ(arrivals.longest(at(101), at(400)).length(), Duration::millis(300));
  EXPECT_EQ(Arrivals().longest(at(101), at(400)).length(), Duration::millis(299));
}

TEST(Arrivals, BeginAnewKeepsTheLatestForTheSilenceThatItBegins) {
  Arrivals arrivals;
  for (const int64_t ms : {0, 500, 505}) arrivals.add(at(ms), 8);
  arrivals.begin_anew();
  EXPECT_EQ(arrivals.all().size(), 1u);
  EXPECT_FALSE(arrivals.any_since(at(505)));
  EXPECT_TRUE(arrivals.any_since(at(504)));
  arrivals.add(at(700), 8);
  EXPECT_EQ(arrivals.longest(at(507), at(710)).length(), Duration::millis(195));
}

TEST(Arrivals, TheSilenceAroundAnInstantMayBeShorterThanALaterOne) {
  Arrivals arrivals;
  for (const int64_t ms : {100, 250, 600}) arrivals.add(at(ms), 8);
  EXPECT_EQ(arrivals.around(at(200), at(700)).length(), Duration::millis(150));
  EXPECT_EQ(arrivals.around(at(250), at(700)).begin, at(250));
  EXPECT_EQ(arrivals.around(at(650), at(700)).end, at(700));
  EXPECT_EQ(arrivals.longest(at(200), at(700)).length(), Duration::millis(350));
}

TEST(Arrivals, BytesAreCountedInTheStepThatTheyFallInto) {
  const std::vector<Arrival> arrivals = {{at(9), 1}, {at(10), 2}, {at(10), 3}, {at(12), 4}, {at(13), 5}};
  EXPECT_EQ(bytes_per_step(arrivals, at(10), Duration::millis(1), 3), (std::vector<uint64_t>{5, 0, 4}));
}

}  // namespace
}  // namespace us::bench
