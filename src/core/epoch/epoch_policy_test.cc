#include "core/epoch/epoch_policy.h"

#include <gtest/gtest.h>

namespace us {
namespace {

const Instant kStart = Instant::from_nanos(1'000'000'000);
Instant at(int64_t us) { return kStart + Duration::micros(us); }

EpochPolicyConfig config() {
  EpochPolicyConfig c;
  c.length = Duration::millis(25);
  c.quiet = Duration::micros(300);
  return c;
}

TEST(EpochPolicy, AQuietGuestWithoutOutputIsCutWhenTheLengthIsOver) {
  EpochPolicy p(config());
  p.on_resumed(kStart, Duration::millis(2));
  EXPECT_EQ(p.next_cut({}), at(25'000));
}

TEST(EpochPolicy, AResponseThatWaitsIsCutOnceTheGuestIsQuiet) {
  EpochPolicy p(config());
  p.on_resumed(kStart - Duration::millis(100), Duration::millis(2));
  p.on_resumed(kStart, Duration::millis(2));
  EXPECT_EQ(p.next_cut({true, at(2'000), at(2'000), 100}), at(2'300));
  EXPECT_EQ(p.next_cut({true, at(2'000), at(2'200), 200}), at(2'500)) << "more output is not quiet";
  p.on_cut(at(2'500));
  EXPECT_EQ(p.early_cuts(), 1u);
}

TEST(EpochPolicy, ALongResponseIsCutWhileTheGuestStillTalks) {
  EpochPolicy p(config());
  p.on_resumed(kStart - Duration::millis(100), Duration::millis(2));
  p.on_resumed(kStart, Duration::millis(2));
  EXPECT_EQ(p.next_cut({true, at(2'000), at(3'900), 0}), at(4'000)) << "2 ms after its first byte";
  EXPECT_EQ(p.next_cut({true, at(2'000), at(9'000), 0}), at(4'000));
}

TEST(EpochPolicy, ABulkTransferIsNotCutEarly) {
  EpochPolicy p(config());
  p.on_resumed(kStart, Duration::millis(2));
  EXPECT_EQ(p.next_cut({true, at(2'000), at(2'000), 65 * 1024}), at(25'000));
}

TEST(EpochPolicy, EarlyCutsCanBeSwitchedOff) {
  EpochPolicyConfig c = config();
  c.cut_on_output = false;
  EpochPolicy p(c);
  p.on_resumed(kStart, Duration::millis(2));
  EXPECT_EQ(p.next_cut({true, at(2'000), at(2'000), 100}), at(25'000));
}

TEST(EpochPolicy, EarlyCutsStayWithinTheirShareOfTheTime) {
  EpochPolicyConfig c = config();
  c.pause_budget = 0.25;
  EpochPolicy p(c);
  Instant now = kStart;
  Duration paused;
  p.on_resumed(now, Duration::millis(2));
  for (int i = 0; i < 2'000; ++i) {
    const Instant cut = p.next_cut({true, now, now, 10});  // output at once, then quiet
    p.on_cut(cut);
    now = cut + Duration::millis(2);
    paused += Duration::millis(2);
    p.on_resumed(now, Duration::millis(2));
  }
  EXPECT_NEAR(paused.to_seconds() / (now - kStart).to_seconds(), 0.25, 0.02);
  EXPECT_GT(p.early_cuts(), 1'900u);
}

TEST(EpochPolicy, AdaptiveKeepsRegularPausesWithinTheBudget) {
  EpochPolicyConfig c = config();
  c.kind = EpochPolicyConfig::Kind::kAdaptive;
  c.latency_target = Duration::millis(10);
  c.pause_budget = 0.1;
  EpochPolicy p(c);
  p.on_resumed(kStart, Duration::millis(1));
  EXPECT_EQ(p.length(), Duration::millis(10)) << "short pauses: the latency target decides";
  EpochPolicy slow(c);
  slow.on_resumed(kStart, Duration::millis(20));
  EXPECT_EQ(slow.length().to_millis(), 180) << "long pauses: the budget decides";
}

}  // namespace
}  // namespace us
