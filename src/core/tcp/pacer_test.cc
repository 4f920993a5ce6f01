#include "core/tcp/pacer.h"

#include <gtest/gtest.h>

namespace us {
namespace {

Instant at_us(int64_t us) { return Instant::from_nanos(1'000'000'000) + Duration::micros(us); }

// Sends whenever it may, on a timer of `tick`; returns the bytes sent in a second.
uint64_t sent_in_a_second(uint64_t rate, Duration tick, uint32_t burst) {
  Pacer pacer(true);
  pacer.set_rate(rate);
  uint64_t sent = 0;
  for (Instant now = at_us(0); now < at_us(1'000'000); now += tick) {
    while (pacer.may_send(now)) {
      pacer.on_sent(burst, now);
      sent += burst;
    }
  }
  return sent;
}

TEST(Pacer, ReachesItsRateOnAFineTimerAndOnOneOfAMillisecond) {
  EXPECT_NEAR(static_cast<double>(sent_in_a_second(25'000'000, Duration::micros(10), 2896)), 25e6, 0.1e6);
  EXPECT_NEAR(static_cast<double>(sent_in_a_second(25'000'000, Duration::millis(1), 2896)), 25e6, 0.5e6);
}

TEST(Pacer, ALongPauseEarnsNoMoreThanAMillisecondsBurst) {
  Pacer pacer(true);
  pacer.set_rate(10'000'000);
  pacer.on_sent(1000, at_us(0));
  uint64_t burst = 0;
  while (pacer.may_send(at_us(5'000'000))) {
    pacer.on_sent(1000, at_us(5'000'000));
    burst += 1000;
  }
  EXPECT_LE(burst, 12'000u);
  EXPECT_GE(burst, 10'000u);
}

TEST(Pacer, TellsWhenTheNextBurstMayGo) {
  Pacer pacer(true);
  pacer.set_rate(1'000'000);
  pacer.on_sent(1000, at_us(0));
  pacer.on_sent(1000, at_us(0));
  EXPECT_FALSE(pacer.may_send(at_us(999)));
  EXPECT_EQ(pacer.next_send(), at_us(1000));
  EXPECT_TRUE(pacer.may_send(at_us(1000)));
}

TEST(Pacer, SwitchedOffOrWithoutARateItLimitsNothing) {
  Pacer off(false);
  off.set_rate(1);
  off.on_sent(1'000'000, at_us(0));
  EXPECT_TRUE(off.may_send(at_us(0)));
  Pacer unknown(true);
  unknown.on_sent(1'000'000, at_us(0));
  EXPECT_TRUE(unknown.may_send(at_us(0)));
  EXPECT_EQ(unknown.burst_bytes(1448, 65160), 65160u);
}

TEST(Pacer, TheRateIsTwiceTheWindowPerRoundTripInSlowStartAndSixFifthsAfter) {
  EXPECT_EQ(Pacer::rate_for(100'000, Duration::millis(100), true), 2'000'000u);
  EXPECT_EQ(Pacer::rate_for(100'000, Duration::millis(100), false), 1'200'000u);
  EXPECT_EQ(Pacer::rate_for(100'000, Duration(), true), 0u);
}

TEST(Pacer, ASuperSegmentIsAboutAMillisecond) {
  Pacer pacer(true);
  pacer.set_rate(25'000'000);
  EXPECT_EQ(pacer.burst_bytes(1448, 65160), 17u * 1448);
  pacer.set_rate(1000);
  EXPECT_EQ(pacer.burst_bytes(1448, 65160), 2u * 1448);
  pacer.set_rate(10'000'000'000);
  EXPECT_EQ(pacer.burst_bytes(1448, 65160), 45u * 1448);
  EXPECT_EQ(pacer.burst_bytes(1448, 1000), 1448u) << "without segmentation offload";
}

}  // namespace
}  // namespace us
