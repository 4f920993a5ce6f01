#include "core/tcp/tlp.h"

#include <gtest/gtest.h>

namespace us {
namespace {

Instant at_ms(int64_t ms) { return Instant::from_nanos(0) + Duration::millis(ms); }
constexpr Duration kProbeMin = Duration::millis(10);
constexpr SeqNum kEnd{0x00000010};  // beyond the wrap-around from the data before it

TEST(TailLossProbe, ComesAfterTwoRoundTrips) {
  TailLossProbe tlp(kProbeMin);
  tlp.schedule(at_ms(0), Duration::millis(30), false, at_ms(1000));
  EXPECT_EQ(tlp.deadline(), at_ms(60));
}

TEST(TailLossProbe, AllowsForADelayedAckOfASingleSegment) {
  TailLossProbe tlp(kProbeMin);
  tlp.schedule(at_ms(0), Duration::millis(30), true, at_ms(1000));
  EXPECT_EQ(tlp.deadline(), at_ms(260));
}

TEST(TailLossProbe, IsNeitherLaterThanTheTimeoutNorSoonerThanTimersCanTell) {
  TailLossProbe tlp(kProbeMin);
  tlp.schedule(at_ms(0), Duration::millis(30), true, at_ms(230));
  EXPECT_EQ(tlp.deadline(), at_ms(230));
  tlp.schedule(at_ms(0), Duration::micros(100), false, at_ms(1000));
  EXPECT_EQ(tlp.deadline(), at_ms(10));
  tlp.schedule(at_ms(0), Duration(), false, at_ms(3000));
  EXPECT_EQ(tlp.deadline(), at_ms(1000));
}

TEST(TailLossProbe, OfNewDataEndsWhenAllIsAcknowledged) {
  TailLossProbe tlp(kProbeMin);
  tlp.on_probe_sent(kEnd, false);
  EXPECT_FALSE(tlp.on_ack({.ack = kEnd - 100}));
  EXPECT_TRUE(tlp.outstanding());
  EXPECT_FALSE(tlp.on_ack({.ack = kEnd}));
  EXPECT_FALSE(tlp.outstanding());
}

TEST(TailLossProbe, AnsweredByADsackMeansNothingWasLost) {
  TailLossProbe tlp(kProbeMin);
  tlp.on_probe_sent(kEnd, true);
  EXPECT_FALSE(tlp.on_ack({.ack = kEnd}));
  EXPECT_TRUE(tlp.outstanding()) << "could be the ACK of the original or of the probe";
  EXPECT_FALSE(tlp.on_ack({.ack = kEnd, .dsack_end = kEnd}));
  EXPECT_FALSE(tlp.outstanding());
}

TEST(TailLossProbe, AnsweredByAPlainDuplicateMeansNothingWasLost) {
  TailLossProbe tlp(kProbeMin);
  tlp.on_probe_sent(kEnd, true);
  EXPECT_FALSE(tlp.on_ack({.ack = kEnd, .plain_duplicate = true}));
  EXPECT_FALSE(tlp.outstanding());
}

TEST(TailLossProbe, FollowedByAnAckOfLaterDataWithoutDsackMeansItRepairedALoss) {
  TailLossProbe tlp(kProbeMin);
  tlp.on_probe_sent(kEnd, true);
  EXPECT_FALSE(tlp.on_ack({.ack = kEnd}));
  EXPECT_TRUE(tlp.on_ack({.ack = kEnd + 1000}));
  EXPECT_FALSE(tlp.outstanding());
}

}  // namespace
}  // namespace us
