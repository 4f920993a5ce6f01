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

TEST(Parts, AreWhatOfTheSilenceFallsIntoEachPhase) {
  const std::vector<std::pair<const char*, Instant>> ends = {
      {"before", at(100)}, {"detection", at(200)}, {"restore", at(220)}, {"after", Instant::far_future()}};
  const auto cut = [&](int64_t begin, int64_t end) {
    std::vector<int64_t> out;
    for (const auto& [name, length] : cut_at({at(begin), at(end)}, ends)) out.push_back(length.to_millis());
    return out;
  };
  EXPECT_EQ(cut(97, 230), (std::vector<int64_t>{3, 100, 20, 10}));
  EXPECT_EQ(cut(190, 210), (std::vector<int64_t>{0, 10, 10, 0})) << "the relay spoke before the guest ran";
  EXPECT_EQ(cut(400, 650), (std::vector<int64_t>{0, 0, 0, 250})) << "a later silence has nothing of the takeover";
  EXPECT_EQ(cut(50, 80), (std::vector<int64_t>{30, 0, 0, 0}));
}

TEST(Arrivals, BytesAreCountedInTheStepThatTheyFallInto) {
  const std::vector<Arrival> arrivals = {{at(9), 1}, {at(10), 2}, {at(10), 3}, {at(12), 4}, {at(13), 5}};
  EXPECT_EQ(bytes_per_step(arrivals, at(10), Duration::millis(1), 3), (std::vector<uint64_t>{5, 0, 4}));
}

}  // namespace
}  // namespace us::bench
