#include "core/tcp/cubic.h"

#include <gtest/gtest.h>

#include <cmath>

namespace us {
namespace {

constexpr uint32_t kMss = 1448;

// ACKs one full window per round trip, segment by segment, and keeps the time.
class Path {
 public:
  explicit Path(Duration rtt, CongestionConfig config = {.mss = kMss}) : cc(config), rtt_(rtt) {}

  void round(bool limited = true) {
    const int64_t acks = std::max<int64_t>(static_cast<int64_t>(cc.cwnd() / kMss), 1);
    for (int64_t i = 0; i < acks; ++i) {
      now += rtt_ / acks;
      una_ += kMss;
      AckSample sample;
      sample.now = now;
      sample.delivered_bytes = kMss;
      sample.una = una_;
      sample.nxt = una_ + static_cast<uint32_t>(cc.cwnd());
      sample.rtt = extra_rtt + rtt_;
      sample.srtt = rtt_;
      sample.cwnd_limited = limited;
      cc.on_ack(sample);
    }
  }
  void run_until(Instant end, bool limited = true) {
    while (now < end) round(limited);
  }
  double segments() const { return static_cast<double>(cc.cwnd()) / kMss; }

  Cubic cc;
  Instant now = Instant::from_nanos(1);
  Duration extra_rtt;

 private:
  Duration rtt_;
  SeqNum una_;
};

// A path whose window was `segments` when the loss came.
Path after_loss_at(double segments, Duration rtt) {
  Path path(rtt);
  while (path.segments() < segments) path.round();
  path.cc.on_congestion_event(path.now);
  return path;
}

TEST(Cubic, SlowStartDoublesPerRound) {
  Path path(Duration::millis(50));
  path.round();
  EXPECT_NEAR(path.segments(), 20, 1);
  path.round();
  EXPECT_NEAR(path.segments(), 40, 1);
}

TEST(Cubic, ALossTakesThreeTenths) {
  Path path(Duration::millis(50));
  path.round();
  const uint64_t before = path.cc.cwnd();
  path.cc.on_congestion_event(path.now);
  EXPECT_NEAR(static_cast<double>(path.cc.cwnd()), 0.7 * static_cast<double>(before), 1);
  EXPECT_FALSE(path.cc.in_slow_start());
}

TEST(Cubic, TheWindowFollowsTheCubicFunctionOfTime) {
  // A long path and a large window: far outside of the Reno-friendly region.
  Path path = after_loss_at(2000, Duration::millis(100));
  const double w_max = path.segments() / 0.7;
  const double k = std::cbrt(w_max * 0.3 / 0.4);  // RFC 9438 figure 2
  const Instant start = path.now;
  for (double t : {0.25 * k, 0.5 * k, 0.9 * k, 1.0 * k, 1.2 * k, 1.5 * k}) {
    path.run_until(start + Duration::micros(static_cast<int64_t>(t * 1e6)));
    const double seconds = (path.now - start).to_seconds();
    const double expected = 0.4 * std::pow(seconds - k, 3) + w_max;  // RFC 9438 figure 1
    EXPECT_NEAR(path.segments() / expected, 1.0, 0.01) << "t = " << seconds << ", K = " << k;
  }
}

TEST(Cubic, OnAShortPathItIsAsFastAsReno) {
  // 10 ms and 40 segments: the cubic function would need seconds for what Reno adds in each round.
  Path path = after_loss_at(40, Duration::millis(10));
  const double start = path.segments();
  for (int i = 0; i < 10; ++i) path.round();
  EXPECT_NEAR(path.segments() - start, 10 * 0.529, 0.8);  // alpha of RFC 9438 section 4.3
  while (path.segments() < start / 0.7) path.round();
  const double reached = path.segments();
  for (int i = 0; i < 10; ++i) path.round();
  EXPECT_NEAR(path.segments() - reached, 10.0, 1.5) << "beyond the old window it adds one segment per round";
}

TEST(Cubic, ARoundAddsNoMoreThanHalfOfTheWindow) {
  Path path = after_loss_at(20, Duration::seconds(4));
  for (int i = 0; i < 6; ++i) {
    const double before = path.segments();
    path.round();
    EXPECT_LT(path.segments(),
              1.66 * before);  // the clamp of RFC 9438 section 4.2, compounded over the ACKs of a round
  }
}

TEST(Cubic, FastConvergenceReleasesBandwidthWhenTheWindowShrinksTwice) {
  Path once = after_loss_at(1000, Duration::millis(100));
  Path twice = after_loss_at(1000, Duration::millis(100));
  twice.cc.on_congestion_event(twice.now);
  // Both come back towards their W_max: the second one's is 0.85 of its window, not all of it.
  once.run_until(once.now + Duration::seconds(9));
  const double w_once = once.segments();
  twice.run_until(twice.now + Duration::seconds(7));
  EXPECT_NEAR(twice.segments() / w_once, 0.7 * 0.85, 0.03);
}

TEST(Cubic, TimeInWhichTheApplicationWasTheLimitDoesNotCount) {
  Path busy = after_loss_at(1000, Duration::millis(100));
  Path lazy = after_loss_at(1000, Duration::millis(100));
  busy.round();
  lazy.round();
  lazy.run_until(lazy.now + Duration::seconds(60), false);
  for (int i = 0; i < 50; ++i) busy.round();
  for (int i = 0; i < 50; ++i) lazy.round();
  EXPECT_NEAR(lazy.segments() / busy.segments(), 1.0, 0.01);
}

TEST(Cubic, AWindowThatIsNotUsedDoesNotGrow) {
  Path path(Duration::millis(50));
  path.round(false);
  EXPECT_EQ(path.cc.cwnd(), 14480u);
}

TEST(Cubic, AfterATimeoutItStartsAtOneSegmentAndThenFromThePlateau) {
  Path path(Duration::millis(100));
  while (path.segments() < 100) path.round();
  const double before = path.segments();
  path.cc.on_rto(path.now, false);
  EXPECT_EQ(path.cc.cwnd(), kMss);
  EXPECT_TRUE(path.cc.in_slow_start());
  while (path.cc.in_slow_start()) path.round();
  EXPECT_NEAR(path.segments(), 0.7 * before, 2);
  // K = 0 (RFC 9438 section 4.8): no concave climb back to the old window, only the slow start of the plateau.
  const double plateau = path.segments();
  path.run_until(path.now + Duration::seconds(1));
  EXPECT_LT(path.segments(), plateau + 10);
}

TEST(Cubic, AnUndoneTimeoutIsAsIfItNeverWas) {
  Path undone = after_loss_at(1000, Duration::millis(100));
  Path untouched = after_loss_at(1000, Duration::millis(100));
  for (int i = 0; i < 10; ++i) undone.round();
  for (int i = 0; i < 10; ++i) untouched.round();
  undone.cc.on_rto(undone.now, false);
  undone.cc.on_spurious(undone.now);
  for (int i = 0; i < 20; ++i) undone.round();
  for (int i = 0; i < 20; ++i) untouched.round();
  EXPECT_NEAR(undone.segments() / untouched.segments(), 1.0, 0.001);
}

TEST(Cubic, AnUndoInTheInitialSlowStartGoesOnWithIt) {
  Path path(Duration::millis(50));
  path.round();
  path.cc.on_congestion_event(path.now);
  path.cc.on_spurious(path.now);
  const double before = path.segments();
  path.round();
  EXPECT_NEAR(path.segments(), 2 * before, 1);
}

TEST(Cubic, ARisingRoundTripTimeEndsSlowStartWithoutALoss) {
  Path path(Duration::millis(40));
  for (int i = 0; i < 3; ++i) path.round();
  path.extra_rtt = Duration::millis(20);
  int rounds = 0;
  while (path.cc.in_slow_start() && rounds < 20) {
    path.round();
    ++rounds;
  }
  EXPECT_LE(rounds, 8);
  EXPECT_EQ(path.cc.ssthresh() <= path.cc.cwnd(), true);
}

TEST(Cubic, TheWindowIsBounded) {
  Path path(Duration::millis(100));
  AckSample sample;
  sample.delivered_bytes = CongestionControl::kWindowMax;
  for (int i = 0; i < 10; ++i) path.cc.on_ack(sample);
  EXPECT_EQ(path.cc.cwnd(), CongestionControl::kWindowMax);
}

}  // namespace
}  // namespace us
