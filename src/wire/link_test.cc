#include "wire/link.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace us {
namespace {

constexpr Instant kStart = Instant::from_nanos(1'000'000'000);

Bytes frame(uint8_t number, size_t length = 100) { return Bytes(length, number); }

std::vector<int> all_out(Link& link, Instant now) {
  std::vector<int> numbers;
  while (const auto out = link.poll(now)) numbers.push_back((*out)[0]);
  return numbers;
}

void expect_balanced(const Link& link) {
  const LinkCounters& c = link.counters();
  EXPECT_EQ(c.in + c.duplicated, c.out + c.lost + c.queue_drops + c.overruns + link.frames_on_line());
}

TEST(Link, AFrameComesOutWhenItIsDueAndNotBefore) {
  Link link({.delay = Duration::millis(10)});
  link.on_frame(frame(1), kStart);
  EXPECT_EQ(link.next_due(), kStart + Duration::millis(10));
  EXPECT_FALSE(link.poll(kStart + Duration::micros(9'999)));
  const auto out = link.poll(kStart + Duration::millis(10));
  ASSERT_TRUE(out);
  EXPECT_EQ(Bytes(out->begin(), out->end()), frame(1));
  EXPECT_EQ(link.next_due(), Instant::far_future());
}

TEST(Link, FramesThatEnterAtTheSameTimeKeepTheirOrder) {
  Link link({.delay = Duration::millis(1)});
  for (uint8_t i = 1; i <= 5; ++i) link.on_frame(frame(i), kStart);
  EXPECT_EQ(all_out(link, kStart + Duration::millis(1)), (std::vector{1, 2, 3, 4, 5}));
  EXPECT_EQ(link.counters().reordered, 0u);
}

TEST(Link, AFrameThatIsPassedByLaterOnesCountsAsReorderedOnce) {
  // Half of the frames are held back for longer than all of them take.
  Link link({.reorder = 0.5, .reorder_by = Duration::seconds(1)});
  for (uint8_t i = 1; i <= 100; ++i) link.on_frame(frame(i), kStart + Duration::millis(i));
  const std::vector<int> order = all_out(link, kStart + Duration::seconds(2));
  ASSERT_EQ(order.size(), 100u);
  uint64_t passed = 0;
  for (size_t i = 0, highest = 0; i < order.size(); ++i) {
    passed += static_cast<size_t>(order[i]) < highest;
    highest = std::max(highest, static_cast<size_t>(order[i]));
  }
  EXPECT_GT(passed, 20u);
  EXPECT_EQ(link.counters().reordered, passed);
}

TEST(Link, ADuplicateFollowsItsOriginal) {
  Link link({.duplicate = 1});
  link.on_frame(frame(1), kStart);
  link.on_frame(frame(2), kStart);
  EXPECT_EQ(all_out(link, kStart), (std::vector{1, 1, 2, 2}));
  EXPECT_EQ(link.counters().duplicated, 2u);
  EXPECT_EQ(link.counters().reordered, 0u);
}

TEST(Link, CountersTellOfEveryFrame) {
  Link link({.bits_per_second = 10'000'000,
             .delay = Duration::millis(5),
             .loss = 0.1,
             .reorder = 0.1,
             .duplicate = 0.1,
             .queue_packets = 20});
  for (int i = 0; i < 2000; ++i) {
    const Instant now = kStart + Duration::micros(60) * i;  // 13 Mbit/s offered
    link.on_frame(frame(static_cast<uint8_t>(i)), now);
    all_out(link, now);
    expect_balanced(link);
  }
  EXPECT_GT(link.frames_on_line(), 0u);
  all_out(link, Instant::far_future());
  expect_balanced(link);
  const LinkCounters& c = link.counters();
  EXPECT_EQ(link.frames_on_line(), 0u);
  EXPECT_EQ(c.in, 2000u);
  EXPECT_EQ(c.in_bytes, 200'000u);
  EXPECT_EQ(c.out_bytes, c.out * 100);
  EXPECT_GT(c.lost, 0u);
  EXPECT_GT(c.queue_drops, 0u);
  EXPECT_GT(c.duplicated, 0u);
  EXPECT_EQ(c.overruns, 0u);
}

TEST(Link, ALineWithoutRateAndWithALongDelayDoesNotGrowWithoutEnd) {
  Link link({.delay = Duration::seconds(3600)});
  const Bytes large(64 * 1024, 1);
  for (int i = 0; i < 1100; ++i) link.on_frame(large, kStart);
  EXPECT_EQ(link.frames_on_line(), Link::kBytesMax / large.size());
  EXPECT_EQ(link.counters().overruns, 1100 - Link::kBytesMax / large.size());
  expect_balanced(link);
}

}  // namespace
}  // namespace us
