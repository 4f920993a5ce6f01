#include "core/tcp/congestion_control.h"

#include <gtest/gtest.h>

namespace us {
namespace {

TEST(CongestionControl, TheInitialWindowIsTenSegmentsButNoMoreThanTenOfEthernet) {
  EXPECT_EQ(initial_window({.mss = 1448}), 14480u);
  EXPECT_EQ(initial_window({.mss = 536}), 5360u);
  EXPECT_EQ(initial_window({.mss = 8948}), 17896u);  // two jumbo segments
}

TEST(CongestionControl, AShortPauseChangesNothing) {
  const IdleDecay d = decay_after_idle(100'000, 50'000, 14'480, Duration::millis(299), Duration::millis(300));
  EXPECT_EQ(d.cwnd, 100'000u);
  EXPECT_EQ(d.ssthresh, 50'000u);
}

TEST(CongestionControl, TheWindowHalvesForEachTimeoutOfSilenceDownToTheRestartWindow) {
  IdleDecay d = decay_after_idle(100'000, 50'000, 14'480, Duration::millis(600), Duration::millis(300));
  EXPECT_EQ(d.cwnd, 25'000u);
  EXPECT_EQ(d.ssthresh, 75'000u);
  d = decay_after_idle(100'000, 50'000, 14'480, Duration::seconds(3600), Duration::millis(300));
  EXPECT_EQ(d.cwnd, 14'480u);
  d = decay_after_idle(5'000, 50'000, 14'480, Duration::seconds(3600), Duration::millis(300));
  EXPECT_EQ(d.cwnd, 5'000u) << "a pause must not raise a small window";
  d = decay_after_idle(100'000, CongestionControl::kWindowMax, 14'480, Duration::seconds(1), Duration::millis(300));
  EXPECT_EQ(d.ssthresh, CongestionControl::kWindowMax);
}

TEST(CongestionControl, TheGuestsSideHasNoLimitWhateverHappens) {
  const auto cc = make_congestion_control(CongestionKind::kNone, {});
  cc->on_congestion_event(Instant());
  cc->on_rto(Instant(), false);
  EXPECT_EQ(cc->cwnd(), CongestionControl::kWindowMax);
}

}  // namespace
}  // namespace us
