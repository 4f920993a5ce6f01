#include "core/tcp/rack.h"

#include <gtest/gtest.h>

namespace us {
namespace {

constexpr SeqNum kStart{0xffffe000};  // the wrap-around lies among the bytes of each test
constexpr uint32_t kMss = 1000;

Instant at_ms(int64_t ms) { return Instant::from_nanos(0) + Duration::millis(ms); }

class RackTest : public testing::Test {
 protected:
  void send(int segments, int64_t ms) { board.on_sent(static_cast<uint32_t>(segments) * kMss, at_ms(ms), 0); }
  void sack(uint32_t first, uint32_t last, int64_t ms, std::optional<EchoTime> echo = std::nullopt) {
    board.sack({kStart + first * kMss, kStart + last * kMss},
               [&](const SentRun& run) { rack.on_delivered(run, at_ms(ms), echo, path); });
  }
  uint64_t detect(int64_t ms) {
    return rack.detect(board, path, at_ms(ms), [](const SentRun&) {}) / kMss;
  }

  Scoreboard board{kStart, 1000};
  Rack rack;
  Rack::Path path{.min_rtt = Duration::millis(40), .srtt = Duration::millis(40), .mss = kMss};
};

TEST_F(RackTest, WaitsAQuarterOfTheMinimumRoundTripForReorderedSegments) {
  send(1, 0);
  send(1, 1);
  sack(1, 2, 41);
  EXPECT_EQ(detect(41), 0u);
  EXPECT_EQ(rack.deadline(), at_ms(0 + 40 + 10));
  EXPECT_EQ(detect(49), 0u);
  EXPECT_EQ(detect(50), 1u);
  EXPECT_FALSE(rack.deadline());
}

TEST_F(RackTest, ThreeSackedSegmentsWithoutAnyReorderingEndTheWait) {
  send(5, 0);
  sack(1, 3, 40);
  EXPECT_EQ(detect(40), 0u);
  sack(3, 4, 40);
  EXPECT_EQ(detect(40), 1u);
}

TEST_F(RackTest, OnceReorderingWasSeenThreeSackedSegmentsDoNotEndTheWait) {
  send(1, 0);
  send(1, 1);
  sack(1, 2, 40);
  sack(0, 1, 43);
  EXPECT_TRUE(rack.reordering_seen());
  send(5, 100);
  sack(3, 7, 140);
  EXPECT_EQ(detect(140), 0u);
  EXPECT_TRUE(rack.deadline());
}

TEST_F(RackTest, ARetransmissionThatFillsAHoleIsNotReordering) {
  send(5, 0);
  sack(1, 5, 40);
  detect(40);
  board.on_retransmitted({kStart, kStart + kMss}, at_ms(40), 0);
  sack(0, 1, 80);
  EXPECT_FALSE(rack.reordering_seen());
}

TEST_F(RackTest, WhatWasSentAfterTheDeliveredSegmentIsNotLost) {
  send(3, 0);
  send(10, 5);
  sack(0, 3, 40);
  EXPECT_EQ(detect(100), 0u);
  EXPECT_FALSE(rack.deadline());
}

TEST_F(RackTest, InABurstOfOneInstantTheSequenceNumberDecides) {
  send(10, 0);
  sack(4, 5, 40);
  EXPECT_EQ(detect(50), 4u);
}

TEST_F(RackTest, ALostRetransmissionIsFound) {
  send(6, 0);
  sack(1, 5, 40);
  EXPECT_EQ(detect(40), 1u);
  board.on_retransmitted({kStart, kStart + kMss}, at_ms(40), 0);
  send(4, 41);
  path.in_recovery = true;
  sack(6, 10, 82);
  EXPECT_EQ(detect(82), 2u) << "the retransmission, and the last segment of the first flight";
}

TEST_F(RackTest, AnAckOfTheOriginalDoesNotCountForItsRetransmission) {
  send(6, 0);
  sack(1, 5, 40);
  detect(40);
  board.on_retransmitted({kStart, kStart + kMss}, at_ms(40), 0);
  // Comes 5 ms after the retransmission: the minimum round trip is 40 ms, so this is the original's.
  sack(0, 1, 45);
  EXPECT_EQ(detect(45), 0u) << "or the last segment of the first flight would be lost";
}

TEST_F(RackTest, ATimestampTellsOriginalAndRetransmissionApartAtOnce) {
  path.min_rtt = Duration::millis(1);
  send(6, 0);
  sack(1, 5, 40);
  detect(40);
  board.on_retransmitted({kStart, kStart + kMss}, at_ms(40), 0);
  board.on_retransmitted({kStart + 5 * kMss, kStart + 6 * kMss}, at_ms(41), 0);
  sack(5, 6, 60, EchoTime{at_ms(0), at_ms(0)});
  EXPECT_EQ(detect(60), 0u);
  sack(5, 6, 60, EchoTime{at_ms(0), at_ms(0)});
  EXPECT_EQ(detect(100), 0u) << "nothing sent after 40 ms is known to have arrived";
}

TEST_F(RackTest, TheWindowGrowsOncePerRoundWithADsackAndIsBoundedByTheSmoothedRoundTrip) {
  EXPECT_EQ(rack.reordering_window(board, path), Duration::millis(10));
  rack.on_dsack(kStart, kStart + 5000);
  rack.on_dsack(kStart + 1000, kStart + 6000);
  EXPECT_EQ(rack.reordering_window(board, path), Duration::millis(20));
  rack.on_dsack(kStart + 5000, kStart + 9000);
  EXPECT_EQ(rack.reordering_window(board, path), Duration::millis(30));
  for (uint32_t i = 0; i < 100; ++i) rack.on_dsack(kStart + 9000 + i, kStart + 9000 + i);
  EXPECT_EQ(rack.reordering_window(board, path), Duration::millis(40));
}

TEST_F(RackTest, TheWindowShrinksBackAfterSixteenRecoveriesWithoutDsack) {
  rack.on_dsack(kStart, kStart + 5000);
  for (int i = 0; i < 15; ++i) rack.on_recovery_end();
  EXPECT_EQ(rack.reordering_window(board, path), Duration::millis(20));
  rack.on_recovery_end();
  EXPECT_EQ(rack.reordering_window(board, path), Duration::millis(10));
}

TEST_F(RackTest, ATimeoutTakesTheFirstRunAndAllThatAreOld) {
  send(3, 0);
  send(3, 1);
  send(3, 290);
  sack(0, 1, 40);
  board.ack_to(kStart + kMss, [](const SentRun&) {});
  path.in_recovery = true;
  EXPECT_EQ(rack.mark_on_timeout(board, path, at_ms(300)) / kMss, 5u);
  EXPECT_EQ(board.in_flight_bytes(), 3u * kMss) << "sent 10 ms ago";
}

}  // namespace
}  // namespace us
