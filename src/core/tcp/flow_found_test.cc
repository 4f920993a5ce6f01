// What the simulation of the relay (sim/relay) has found in flows, handshakes and the table, one test each.
#include <gtest/gtest.h>

#include "core/tcp/relay_script.h"

namespace us {
namespace {

// Before, the relay began when the first segment came, in the middle of what guest and client had said without it.
TEST(FlowFound, ASegmentThatHasOvertakenOthersCompletesTheHandshake) {
  RelayRig rig(solo());
  rig.syn(false, "S");
  rig.syn(true, "S.");
  EXPECT_EQ(rig.peer(". 1001:2001(1000) ack 1"), Relay::Disposition::kTaken);
  EXPECT_EQ(rig.relay().size(), 1u);
  rig.forget_sent();
  rig.peer(". 1:1001(1000) ack 1");
  uint32_t bytes = 0;
  for (const RelayRig::Sent& sent : rig.sent_to_guest) bytes += sent.segment.length;
  EXPECT_EQ(bytes, 2000u);
  ASSERT_FALSE(rig.sent_to_peer.empty());
  EXPECT_EQ(rig.sent_to_peer.back().segment.ack, 2001u);
  EXPECT_EQ(rig.violation(), "");
}

// Before, it was relayed from then on, and waited for ever for bytes that the guest had long got.
TEST(FlowFound, AConnectionThatWasCompletedUnseenIsNotRelayedFromItsMiddle) {
  RelayRig rig(solo());
  rig.syn(false, "S");
  EXPECT_EQ(rig.peer(". 1:1(0) ack 1"), Relay::Disposition::kPass);  // of a SYN-ACK that this relay has not seen
  rig.syn(true, "S.");
  EXPECT_EQ(rig.peer(". 1001:1101(100) ack 1"), Relay::Disposition::kPass);
  EXPECT_EQ(rig.relay().size(), 0u);
}

TEST(FlowFound, WhatWasHalfOpenWhenRelayingWasSwitchedOffIsNotRelayed) {
  RelayRig rig(solo());
  rig.syn(false, "S");
  rig.syn(true, "S.");
  rig.relay().set_enabled(false);
  rig.relay().set_enabled(true);
  EXPECT_EQ(rig.peer(". 1:101(100) ack 1"), Relay::Disposition::kPass);
}

TEST(FlowFound, ARepeatedSynKeepsTheAnswerToTheFirst) {
  RelayRig rig(solo());
  rig.syn(false, "S");
  rig.syn(true, "S.");
  rig.syn(false, "S");
  EXPECT_EQ(rig.peer(". 1:1(0) ack 1"), Relay::Disposition::kTaken);
}

// Rules 1 and 2: the standby's guest would offer less, and would not have the rest.
TEST(FlowFound, ThePeerHearsNothingOfARelayThatTheStandbyDoesNotKnow) {
  RelayRig rig(RigSetup{});
  rig.syn(false, "S");
  rig.syn(true, "S.");
  rig.peer(". 1:1(0) ack 1");
  EXPECT_FALSE(rig.sent_to_guest.empty());
  EXPECT_TRUE(rig.sent_to_peer.empty());
  rig.durable();
  EXPECT_FALSE(rig.sent_to_peer.empty());
}

// It was a CHECK: the host died.
TEST(FlowFound, ASessionMayBeginWhileAFinIsHeldAheadOfAHole) {
  EXPECT_EQ(run_relay_script(solo(), R"(
    peer   F. 101:201(100)
    >peer  . ack 1
    cut commit
    takeover
    >guest . ack 1
    >peer  . ack 1
    peer   . 1:101(100)
    >guest F. 1:201(200)
    >peer  . ack 202
  )"),
            "");
}

TEST(FlowFound, WithoutEarlyAcksToTheGuestItsFinIsAckedAsWell) {
  RigSetup setup;
  setup.options.ack_guest = false;
  EXPECT_EQ(run_relay_script(setup, R"(
    guest  F. 1:101(100)
    cut commit
    >peer  F. 1:101(100) ack 1
    peer   . ack 102
    >guest . ack 102
  )"),
            "");
}

TEST(FlowFound, WithoutEarlyAcksToThePeerAnAckOfTheGuestIsEnoughWhenThereIsNoStandby) {
  RigSetup setup = solo();
  setup.options.ack_peer = false;
  EXPECT_EQ(run_relay_script(setup, R"(
    peer   . 1:1001(1000)
    >guest . 1:1001(1000)
    guest  . ack 1001
    >peer  . ack 1001
  )"),
            "");
}

TEST(FlowFound, WhatBecameDurableWhileEarlyAcksWereOffIsAckedOnceTheGuestHasIt) {
  RigSetup setup;
  setup.options.ack_peer = false;
  RelayRig rig(setup);
  rig.connect();
  rig.forget_sent();
  rig.peer(". 1:1001(1000)");
  rig.durable();
  rig.relay().set_options(RelayOptions{}, rig.now());
  rig.guest(". ack 1001");
  rig.cut();
  rig.commit();
  rig.advance(Duration::seconds(1));
  ASSERT_FALSE(rig.sent_to_peer.empty());
  EXPECT_EQ(rig.sent_to_peer.back().segment.ack, 1001u);
}

// A peer that has closed answers a new primary's first segment with a reset; its last bytes were acknowledged before.
TEST(FlowFound, AResetBehindTheFinOfThePeerWaitsUntilTheGuestHasEverything) {
  EXPECT_EQ(run_relay_script(R"(
    peer   F. 1:101(100)
    >guest F. 1:101(100)
    durable
    >peer  . ack 102
    peer   R 102:102(0)
    flows 1
    guest  . ack 102
    >guest R. 102:102(0)
    flows 0
  )"),
            "");
}

TEST(FlowFound, TheAckOnAKeepAliveOfTheGuestCounts) {
  EXPECT_EQ(run_relay_script(solo(), R"(
    peer   . 1:1001(1000)
    >guest . 1:1001(1000)
    lose
    guest  . 0:0(0) ack 1001        # in place of the delayed ACK
    lose
    peer   . ack 1                  # the answer
    lose
    +10s                            # nothing is sent again
  )"),
            "");
}

}  // namespace
}  // namespace us
