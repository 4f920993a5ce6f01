#include "wire/link_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace us {
namespace {

using Fate = LinkModel::Fate;

constexpr Instant kStart = Instant::from_nanos(1'000'000'000);
constexpr size_t kFrame = 1514;

Instant at(Duration since_start) { return kStart + since_start; }

TEST(LinkModel, WithoutEffectsAFrameComesOutAtOnce) {
  LinkModel link({});
  const auto verdict = link.on_frame(kFrame, kStart);
  EXPECT_EQ(verdict.fate, Fate::kDelivered);
  EXPECT_EQ(verdict.out, kStart);
  EXPECT_FALSE(verdict.duplicated);
}

TEST(LinkModel, AFrameTakesItsLengthOverTheRateAndThenTheDelay) {
  LinkModel link({.bits_per_second = 100'000'000, .delay = Duration::millis(10)});
  EXPECT_EQ(link.on_frame(1250, kStart).out, at(Duration::micros(100) + Duration::millis(10)));
}

TEST(LinkModel, ASaturatedLineDeliversExactlyItsRate) {
  LinkModel link({.bits_per_second = 150'000'000});
  Instant last;
  for (int i = 0; i < 100'000; ++i) last = link.on_frame(kFrame, kStart).out;
  const double seconds = (last - kStart).to_seconds();
  EXPECT_NEAR(100'000.0 * kFrame * 8 / seconds, 150e6, 1);
}

TEST(LinkModel, FractionsOfANanosecondAreNotLost) {
  LinkModel link({.bits_per_second = 7'000'000'000});  // 60 bytes last 68.57 ns
  Instant last;
  for (int i = 0; i < 700'000; ++i) last = link.on_frame(60, kStart).out;
  EXPECT_EQ(last - kStart, Duration::millis(48));
}

TEST(LinkModel, ALineThatWasIdleSavesNothingUp) {
  LinkModel link({.bits_per_second = 8'000'000});  // a byte lasts 1 us
  link.on_frame(1000, kStart);
  EXPECT_EQ(link.on_frame(1000, at(Duration::seconds(1))).out, at(Duration::seconds(1) + Duration::millis(1)));
}

TEST(LinkModel, AQueueOfPacketsDropsTheFrameThatFindsNoRoom) {
  LinkModel link({.bits_per_second = 8'000'000, .queue_packets = 3});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(link.on_frame(1000, kStart).fate, Fate::kDelivered);
  EXPECT_EQ(link.on_frame(1000, kStart).fate, Fate::kQueueFull);
  EXPECT_EQ(link.queued_packets(kStart), 3u);
  EXPECT_EQ(link.on_frame(1000, at(Duration::millis(1))).fate, Fate::kDelivered) << "the first has been transmitted";
}

TEST(LinkModel, AQueueOfBytesTakesASmallFrameWhereALargeOneHasNoRoom) {
  LinkModel link({.bits_per_second = 8'000'000, .queue_bytes = 2500});
  EXPECT_EQ(link.on_frame(1000, kStart).fate, Fate::kDelivered);
  EXPECT_EQ(link.on_frame(1000, kStart).fate, Fate::kDelivered);
  EXPECT_EQ(link.on_frame(1000, kStart).fate, Fate::kQueueFull);
  EXPECT_EQ(link.on_frame(500, kStart).fate, Fate::kDelivered);
  EXPECT_EQ(link.queued_bytes(kStart), 2500u);
}

TEST(LinkModel, ADroppedFrameUsesNoTransmitter) {
  LinkModel link({.bits_per_second = 8'000'000, .queue_packets = 1});
  link.on_frame(1000, kStart);
  for (int i = 0; i < 10; ++i) link.on_frame(1000, kStart);
  EXPECT_EQ(link.on_frame(1000, at(Duration::millis(1))).out, at(Duration::millis(2)));
}

TEST(LinkModel, ALostFrameUsesTheTransmitter) {
  LinkModel link({.bits_per_second = 8'000'000, .loss = 1});
  EXPECT_EQ(link.on_frame(1000, kStart).fate, Fate::kLost);
  EXPECT_EQ(link.queued_packets(kStart), 1u);
}

TEST(LinkModel, LossesAreAsManyAsConfigured) {
  LinkModel link({.loss = 0.01, .seed = 7});
  int lost = 0;
  for (int i = 0; i < 1'000'000; ++i) lost += link.on_frame(kFrame, at(Duration::micros(i))).fate == Fate::kLost;
  EXPECT_NEAR(lost, 10'000, 400);  // four standard deviations
}

TEST(LinkModel, LossesFollowFromTheSeed) {
  const auto pattern = [](uint64_t seed) {
    LinkModel link({.loss = 0.5, .seed = seed});
    std::vector<bool> lost;
    for (int i = 0; i < 64; ++i) lost.push_back(link.on_frame(kFrame, kStart).fate == Fate::kLost);
    return lost;
  };
  EXPECT_EQ(pattern(1), pattern(1));
  EXPECT_NE(pattern(1), pattern(2));
}

TEST(LinkModel, AnotherEffectDoesNotChangeWhichFramesAreLost) {
  LinkModel plain({.loss = 0.3}),
      jittery(
          {.delay = Duration::millis(5), .jitter = Duration::millis(2), .loss = 0.3, .reorder = 0.2, .duplicate = 0.2});
  for (int i = 0; i < 1000; ++i) {
    const Instant now = at(Duration::millis(i));
    ASSERT_EQ(plain.on_frame(kFrame, now).fate, jittery.on_frame(kFrame, now).fate) << i;
  }
}

TEST(LinkModel, JitterIsUniformAroundTheDelay) {
  LinkModel link({.delay = Duration::millis(40), .jitter = Duration::millis(10)});
  std::vector<double> delays;
  for (int i = 0; i < 20'000; ++i) {
    const Instant now = at(Duration::millis(50) * i);  // so far apart that order costs nothing
    delays.push_back((link.on_frame(kFrame, now).out - now).to_millis_f());
  }
  std::sort(delays.begin(), delays.end());
  EXPECT_GE(delays.front(), 30);
  EXPECT_LE(delays.back(), 50);
  for (const double share : {0.1, 0.25, 0.5, 0.75, 0.9})
    EXPECT_NEAR(delays[static_cast<size_t>(share * 20'000)], 30 + 20 * share, 0.4) << share;
}

TEST(LinkModel, JitterKeepsTheOrder) {
  LinkModel link({.delay = Duration::millis(5), .jitter = Duration::millis(5)});
  Instant last;
  for (int i = 0; i < 1000; ++i) {
    const Instant out = link.on_frame(kFrame, at(Duration::micros(10) * i)).out;
    ASSERT_GE(out, last);
    last = out;
  }
}

TEST(LinkModel, AFrameHeldBackDoesNotDelayTheNext) {
  LinkModel link({.delay = Duration::millis(1), .reorder = 0.5, .reorder_by = Duration::millis(3)});
  int held_back = 0;
  for (int i = 0; i < 1000; ++i) {
    const Instant now = at(Duration::micros(100) * i);
    const auto verdict = link.on_frame(kFrame, now);
    ASSERT_EQ(verdict.out - now, verdict.held_back ? Duration::millis(4) : Duration::millis(1));
    held_back += verdict.held_back;
  }
  EXPECT_NEAR(held_back, 500, 64);
}

TEST(LinkModel, DuplicatesAreAsManyAsConfigured) {
  LinkModel link({.duplicate = 0.1});
  int twice = 0;
  for (int i = 0; i < 100'000; ++i) twice += link.on_frame(kFrame, kStart).duplicated;
  EXPECT_NEAR(twice, 10'000, 400);
}

}  // namespace
}  // namespace us
