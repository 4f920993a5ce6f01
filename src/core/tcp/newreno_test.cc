#include "core/tcp/newreno.h"

#include <gtest/gtest.h>

namespace us {
namespace {

constexpr uint32_t kMss = 1000;

AckSample acked(uint64_t bytes, bool limited = true) {
  AckSample sample;
  sample.delivered_bytes = bytes;
  sample.cwnd_limited = limited;
  return sample;
}

void acked_window(NewReno& cc) {
  for (uint64_t left = cc.cwnd(); left > 0;) {
    const uint64_t step = std::min<uint64_t>(left, 2 * kMss);
    cc.on_ack(acked(step));
    left -= step;
  }
}

TEST(NewReno, SlowStartDoublesPerRound) {
  NewReno cc({.mss = kMss});
  EXPECT_EQ(cc.cwnd(), 10'000u);
  acked_window(cc);
  EXPECT_EQ(cc.cwnd(), 20'000u);
  EXPECT_TRUE(cc.in_slow_start());
}

TEST(NewReno, AnUnpacedSenderGrowsByAtMostEightSegmentsPerAck) {
  NewReno cc({.mss = kMss, .paced = false});
  cc.on_ack(acked(10'000));
  EXPECT_EQ(cc.cwnd(), 18'000u);
}

TEST(NewReno, ALossHalvesTheWindowAndCongestionAvoidanceAddsOneSegmentPerRound) {
  NewReno cc({.mss = kMss});
  acked_window(cc);
  cc.on_congestion_event(Instant());
  EXPECT_EQ(cc.cwnd(), 10'000u);
  EXPECT_EQ(cc.ssthresh(), 10'000u);
  acked_window(cc);
  EXPECT_EQ(cc.cwnd(), 11'000u);
  acked_window(cc);
  EXPECT_EQ(cc.cwnd(), 12'000u);
}

TEST(NewReno, SlowStartAfterATimeoutEndsAtTheThresholdAndTheRestCountsForAvoidance) {
  NewReno cc({.mss = kMss});
  cc.on_rto(Instant(), false);
  EXPECT_EQ(cc.cwnd(), 1'000u);
  EXPECT_EQ(cc.ssthresh(), 5'000u);
  for (int i = 0; i < 4; ++i) cc.on_ack(acked(1'000));
  EXPECT_EQ(cc.cwnd(), 5'000u);
  for (int i = 0; i < 5; ++i) cc.on_ack(acked(1'000));
  EXPECT_EQ(cc.cwnd(), 6'000u);
}

TEST(NewReno, ARepeatedTimeoutKeepsTheThreshold) {
  NewReno cc({.mss = kMss});
  cc.on_rto(Instant(), false);
  cc.on_rto(Instant(), true);
  EXPECT_EQ(cc.ssthresh(), 5'000u);
}

TEST(NewReno, TheWindowNeverFallsBelowTwoSegmentsByLoss) {
  NewReno cc({.mss = kMss});
  for (int i = 0; i < 10; ++i) cc.on_congestion_event(Instant());
  EXPECT_EQ(cc.cwnd(), 2'000u);
}

TEST(NewReno, AWindowThatIsNotUsedDoesNotGrow) {
  NewReno cc({.mss = kMss});
  cc.on_ack(acked(5'000, false));
  EXPECT_EQ(cc.cwnd(), 10'000u);
}

TEST(NewReno, AnUndoBringsWindowAndThresholdBackOnce) {
  NewReno cc({.mss = kMss});
  cc.on_rto(Instant(), false);
  cc.on_spurious(Instant());
  EXPECT_EQ(cc.cwnd(), 10'000u);
  EXPECT_EQ(cc.ssthresh(), CongestionControl::kWindowMax);
  cc.on_congestion_event(Instant());
  cc.on_spurious(Instant());
  cc.on_spurious(Instant());
  EXPECT_EQ(cc.cwnd(), 10'000u);
}

}  // namespace
}  // namespace us
