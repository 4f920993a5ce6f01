#include "core/tcp/timestamps.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace us {
namespace {

constexpr Instant kStart = Instant::from_nanos(7'000'000'000);
constexpr Instant at_ms(int64_t ms) { return kStart + Duration::millis(ms); }

TEST(TimestampClock, ContinuesFromTheHandshakeAndTicksOnceAMillisecond) {
  TimestampClock clock(5000, kStart);
  clock.on_bound_durable(5000 + 10'000, kStart);
  EXPECT_EQ(clock.value(kStart), 5000u);
  EXPECT_EQ(clock.value(at_ms(1234)), 6234u);
}

TEST(TimestampClock, NeverPassesTheBoundThatTheStandbyKnows) {  // tcp.md, rule 3
  TimestampClock clock(5000, kStart);
  EXPECT_EQ(clock.value(at_ms(50)), 5000u);
  ASSERT_EQ(clock.wanted_bound(at_ms(50)), 15'000u);
  clock.on_bound_durable(15'000, at_ms(50));
  EXPECT_EQ(clock.value(at_ms(60)), 5010u);
  EXPECT_EQ(clock.wanted_bound(at_ms(60)), std::nullopt);
  EXPECT_EQ(clock.value(at_ms(60'000)), 15'000u);
  EXPECT_EQ(clock.wanted_bound(at_ms(60'000)), 25'000u);
  clock.on_bound_durable(25'000, at_ms(60'000));
  EXPECT_EQ(clock.value(at_ms(60'001)), 15'001u);
}

TEST(TimestampClock, ANewPrimaryStartsAboveEverythingTheOldOneMayHaveUsed) {  // tcp.md, rule 3
  TimestampClock old(5000, kStart);
  old.on_bound_durable(15'000, kStart);
  const auto state = old.snapshot(at_ms(10));
  auto fresh = TimestampClock::restore(state, Instant::from_nanos(99));
  ASSERT_TRUE(fresh);
  fresh->take_over(Instant::from_nanos(99));
  EXPECT_EQ(fresh->value(Instant::from_nanos(99)), 15'001u);
  EXPECT_GT(fresh->value(Instant::from_nanos(99)), old.value(at_ms(1'000'000)));
}

TEST(TimestampClock, WrapsLikeASequenceNumber) {
  TimestampClock clock(0xfffffff0u, kStart);
  clock.on_bound_durable(0x2000, kStart);
  EXPECT_EQ(clock.value(at_ms(0x20)), 0x10u);
  EXPECT_TRUE(clock.is_own(0xfffffff8u, at_ms(0x20)));
  EXPECT_EQ(clock.age(0xfffffff8u, at_ms(0x20)), Duration::millis(0x18));
}

TEST(TimestampClock, GoesOnAfterManyYears) {
  TimestampClock clock(1, kStart);
  Instant now = kStart;
  uint32_t last = clock.value(now);
  for (int i = 0; i < 100'000; ++i) {  // 16 years, six days of them busy
    if (const auto bound = clock.wanted_bound(now)) clock.on_bound_durable(*bound, now);
    now += Duration::millis(4999);
    ASSERT_LE(clock.value(now) - last, TimestampClock::kLeaseTicks);
    last = clock.value(now);
    if (i % 1000 == 0) now += Duration::seconds(86'400 * 60);  // idle for longer than 2^32 ms
  }
}

TEST(TimestampClock, KnowsWhichEchoesAnswerItsOwnValues) {
  TimestampClock clock(5000, kStart);
  clock.on_bound_durable(15'000, kStart);
  EXPECT_TRUE(clock.is_own(5000, at_ms(100)));
  EXPECT_TRUE(clock.is_own(5100, at_ms(100)));
  EXPECT_FALSE(clock.is_own(5101, at_ms(100)));
  EXPECT_FALSE(clock.is_own(4990, at_ms(100)));
  clock.take_over(at_ms(200));
  EXPECT_FALSE(clock.is_own(5100, at_ms(210)));
  EXPECT_TRUE(clock.is_own(15'001, at_ms(210)));
}

TEST(TimestampClock, RefusesABoundFarFromTheValue) {
  EXPECT_TRUE(TimestampClock::restore({10, 10}, kStart));
  EXPECT_FALSE(TimestampClock::restore({10, 9}, kStart));
  EXPECT_FALSE(TimestampClock::restore({10, 0x80000000u}, kStart));
}

RC_GTEST_PROP(TimestampClock, NeverGoesBackWhateverHappens, (uint32_t seed_value)) {
  TimestampClock clock(seed_value, kStart);
  Instant now = kStart;
  uint32_t last = clock.value(now);
  const int steps = *rc::gen::inRange(1, 60);
  for (int i = 0; i < steps; ++i) {
    now += Duration::micros(*rc::gen::inRange<int64_t>(0, 20'000'000));
    switch (*rc::gen::inRange(0, 4)) {
      case 0:
        clock.on_bound_durable(clock.bound() + *rc::gen::inRange<uint32_t>(0, 20'000) - 1000, now);
        break;
      case 1:
        clock.take_over(now);
        break;
      case 2: {
        const uint32_t before = clock.value(now);
        clock = *TimestampClock::restore(clock.snapshot(now), now);
        RC_ASSERT(clock.value(now) == before);
        break;
      }
      default:
        break;
    }
    const uint32_t value = clock.value(now);
    RC_ASSERT(value - last < 0x80000000u);
    RC_ASSERT(clock.bound() - value < 0x80000000u);
    last = value;
  }
}

TEST(TimestampEcho, EchoesTheEarliestSegmentThatIsNotAcknowledged) {  // RFC 7323 section 4.3, case A
  TimestampEcho echo(100, kStart);
  echo.on_segment(SeqNum(1), 110, SeqNum(1), false, kStart);
  echo.on_segment(SeqNum(1001), 120, SeqNum(1), false, kStart);  // its ACK is delayed
  EXPECT_EQ(echo.recent(), 110u);
  echo.on_segment(SeqNum(2001), 130, SeqNum(2001), false, kStart);  // after an ACK of 2001
  EXPECT_EQ(echo.recent(), 130u);
}

TEST(TimestampEcho, SegmentsThatWaitForTheStandbyAreEchoedInTheOrderTheyMayBeAcknowledged) {
  TimestampEcho echo(100, kStart);
  echo.on_segment(SeqNum(1), 110, SeqNum(1), true, kStart);  // begins where the last ACK ended: at once
  echo.on_segment(SeqNum(1001), 120, SeqNum(1), true, kStart);
  echo.on_segment(SeqNum(2001), 130, SeqNum(1), true, kStart);
  EXPECT_EQ(echo.recent(), 110u);
  echo.on_ackable(SeqNum(1001), SeqNum(1), kStart);
  EXPECT_EQ(echo.recent(), 110u);
  echo.on_ackable(SeqNum(3001), SeqNum(1001), kStart);  // one ACK, sent now, for both
  EXPECT_EQ(echo.recent(), 120u);
}

TEST(TimestampEcho, RefusesAnOlderValueAcrossTheWrapAndForgetsAfter24Days) {
  TimestampEcho echo(0x10, kStart);
  EXPECT_TRUE(echo.acceptable(0x10, kStart));
  EXPECT_TRUE(echo.acceptable(0x11, kStart));
  EXPECT_FALSE(echo.acceptable(0x0f, kStart));
  EXPECT_FALSE(echo.acceptable(0xfffffff0u, kStart));
  EXPECT_TRUE(echo.acceptable(0xfffffff0u, kStart + TimestampEcho::kRecentValid + Duration::seconds(1)));
  echo.on_segment(SeqNum(1), 0x0f, SeqNum(1), false, kStart);
  EXPECT_EQ(echo.recent(), 0x10u);
}

TEST(TimestampEcho, WithManySegmentsWaitingAnOlderValueIsEchoed) {
  TimestampEcho echo(100, kStart);
  for (uint32_t i = 0; i < 50; ++i) echo.on_segment(SeqNum(1000 + 1000 * i), 200 + i, SeqNum(1), true, kStart);
  echo.on_ackable(SeqNum(100'000), SeqNum(1000), kStart);
  EXPECT_EQ(echo.recent(), 200u);
  echo.on_segment(SeqNum(100'000), 300, SeqNum(99'000), true, kStart);
  echo.on_ackable(SeqNum(101'000), SeqNum(100'000), kStart);
  EXPECT_EQ(echo.recent(), 300u);
}

TEST(TimestampEcho, BehavesTheSameAfterRestore) {
  TimestampEcho a(100, kStart);
  a.on_segment(SeqNum(1000), 200, SeqNum(1), true, kStart);
  auto b = TimestampEcho::restore(a.snapshot(at_ms(10)), at_ms(10));
  ASSERT_TRUE(b);
  EXPECT_EQ(a.snapshot(at_ms(10)), b->snapshot(at_ms(10)));
  b->on_ackable(SeqNum(2000), SeqNum(1000), at_ms(20));
  EXPECT_EQ(b->recent(), 200u);
  TimestampEchoState bad = a.snapshot(at_ms(10));
  bad.waiting_count = 7;
  EXPECT_FALSE(TimestampEcho::restore(bad, kStart));
  bad = a.snapshot(at_ms(10));
  bad.age = Duration::nanos(-1);
  EXPECT_FALSE(TimestampEcho::restore(bad, kStart));
}

}  // namespace
}  // namespace us
