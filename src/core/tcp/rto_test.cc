#include "core/tcp/rto.h"

#include <gtest/gtest.h>

namespace us {
namespace {

Instant at_ms(int64_t ms) { return Instant::from_nanos(0) + Duration::millis(ms); }
constexpr Duration kRto = Duration::millis(200);

TEST(RetransmitTimer, StartsOnlyWhenIdleAndRestartsOnProgress) {
  RetransmitTimer timer(15, Duration::seconds(120));
  EXPECT_FALSE(timer.deadline());
  timer.start_if_idle(at_ms(0), kRto);
  timer.start_if_idle(at_ms(100), kRto);
  EXPECT_EQ(timer.deadline(), at_ms(200));
  timer.restart(at_ms(150), kRto);
  EXPECT_EQ(timer.deadline(), at_ms(350));
  timer.stop();
  EXPECT_FALSE(timer.deadline());
}

TEST(RetransmitTimer, DoublesWithEachExpiryUpToItsBound) {
  RetransmitTimer timer(100, Duration::seconds(120));
  Instant now = at_ms(0);
  int64_t expected = 200;
  timer.restart(now, kRto);
  for (int i = 0; i < 60; ++i) {
    EXPECT_EQ((*timer.deadline() - now).to_millis(), std::min<int64_t>(expected, 120'000));
    now = *timer.deadline();
    timer.on_expiry(now, kRto);
    expected = std::min<int64_t>(expected * 2, 1'000'000);
  }
}

TEST(RetransmitTimer, OnlyAnUnambiguousSampleEndsTheBackOff) {
  RetransmitTimer timer(15, Duration::seconds(120));
  timer.on_expiry(at_ms(0), kRto);
  timer.on_expiry(at_ms(0), kRto);
  timer.on_progress();
  EXPECT_EQ(timer.retries(), 0u);
  EXPECT_EQ(timer.backed_off(kRto), Duration::millis(800));
  timer.on_rtt_sample();
  EXPECT_EQ(timer.backed_off(kRto), kRto);
}

TEST(RetransmitTimer, GivesUpAfterItsRetriesAboutAQuarterOfAnHour) {
  RetransmitTimer timer(15, Duration::seconds(120));
  Instant now = at_ms(0);
  timer.restart(now, kRto);
  while (!timer.gave_up()) {
    now = *timer.deadline();
    timer.on_expiry(now, kRto);
  }
  EXPECT_NEAR((now - at_ms(0)).to_seconds(), 924.6, 0.1);  // what Linux documents for tcp_retries2 = 15
}

}  // namespace
}  // namespace us
