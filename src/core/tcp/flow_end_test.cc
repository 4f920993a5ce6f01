// How a relayed connection ends.  Rule 5: FIN is acknowledged to the guest only when the client has acknowledged it; a
// RST of the guest waits for its commit, and for the client's ACK of what came before it, for the guest was told that
// all of that had arrived; it carries the number that the client expects.  A RST of the client goes through and ends
// the relay.
#include <gtest/gtest.h>

#include "core/tcp/relay_script.h"

namespace us {
namespace {

TEST(FlowRule5, AFinOfTheGuestIsAckedToItOnlyWhenThePeerHasAckedIt) {
  EXPECT_EQ(run_relay_script(R"(
    guest  F. 1:101(100)
    >guest . ack 101                # the data alone
    cut commit
    >peer  F. 1:101(100) ack 1
    peer   . ack 101                # the data alone
    peer   . ack 102
    >guest . ack 102
  )"),
            "");
}

TEST(FlowRule5, AFinIsSentOnlyWhenItsEpochHasCommitted) {
  EXPECT_EQ(run_relay_script(R"(
    guest  . 1:101(100)
    >guest . ack 101
    cut
    guest  F. 101:101(0)
    +10s
    commit
    >peer  . 1:101(100) ack 1
    cut commit
    >peer  F. 101:101(0) ack 1
  )"),
            "");
}

TEST(FlowRule5, AFinOfThePeerIsAckedWhenTheStandbyHasIt) {
  EXPECT_EQ(run_relay_script(R"(
    peer   F. 1:101(100)
    >guest F. 1:101(100) ack 1
    guest  . ack 102
    +100ms
    durable
    >peer  . ack 102
  )"),
            "");
}

TEST(FlowRule5, AHalfClosedConnectionCarriesTheOtherDirection) {
  for (const RigSetup& setup : {RigSetup{}, solo()}) {
    RelayRig rig(setup);
    rig.connect();
    rig.durable();
    rig.say(false, "F. 1:101(100)");
    rig.durable();
    rig.guest(". ack 102");
    for (int i = 0; i < 50; ++i) {
      rig.send(true, 10'000);
      rig.cut();
      rig.commit();
      rig.advance(Duration::millis(5));
      rig.peer(".");
    }
    rig.advance(Duration::seconds(1));
    rig.peer(".");
    EXPECT_EQ(rig.flow()->to_peer().una().value(), rig.setup().guest.isn + 500'001);
    EXPECT_EQ(rig.relay().size(), 1u);
    rig.guest("F. ");
    rig.cut();
    rig.commit();
    rig.peer(".");
    EXPECT_EQ(rig.relay().size(), 0u);
    EXPECT_EQ(rig.violation(), "");
  }
}

TEST(FlowRule5, AnOrderlyCloseEndsTheRelayFromEitherSide) {
  EXPECT_EQ(run_relay_script(R"(
    guest  F. 1:1(0)
    cut commit
    >peer  F. 1:1(0) ack 1
    peer   . ack 2
    >guest . ack 2
    flows 1
    peer   F. 1:1(0) ack 2
    >guest F. 1:1(0) ack 2
    guest  . ack 2
    flows 1
    durable
    >peer  . ack 2
    flows 0
    cut commit
  )"),
            "");
  EXPECT_EQ(run_relay_script(R"(
    peer   F. 1:1(0)
    >guest F. 1:1(0) ack 1
    guest  . ack 2
    durable
    >peer  . ack 2
    guest  F. 1:1(0)
    cut commit
    >peer  F. 1:1(0) ack 2
    peer   . ack 2
    >guest . ack 2
    flows 0
  )"),
            "");
}

TEST(FlowRule5, BothMayCloseAtOnce) {
  EXPECT_EQ(run_relay_script(R"(
    guest  F. 1:1(0)
    cut
    peer   F. 1:1(0) ack 1
    >guest F. 1:1(0) ack 1
    guest  . 2:2(0) ack 2
    commit
    >peer  F. 1:1(0) ack 1
    durable
    >peer  . 2:2(0) ack 2
    flows 1
    peer   . 2:2(0) ack 2
    >guest . 2:2(0) ack 2
    flows 0
  )"),
            "");
}

TEST(FlowRule5, FinsSurviveATakeover) {
  EXPECT_EQ(run_relay_script(R"(
    guest  F. 1:101(100)
    >guest . ack 101
    cut
    commit-unheard
    peer   F. 1:51(50)
    >guest F. 1:51(50)
    durable-unheard
    takeover
    >guest F. 1:51(50) ack 101
    >peer  F. 1:101(100) ack 52
    guest  . 102:102(0) ack 52
    peer   . 52:52(0) ack 102
    >guest . ack 102
    flows 0
  )"),
            "");
}

TEST(FlowRule5, AResetOfTheGuestWaitsForItsCommitAndCarriesTheNumberThatThePeerExpects) {
  EXPECT_EQ(run_relay_script(R"(
    guest  . 1:1001(1000)
    >guest . ack 1001
    cut commit
    >peer  . 1:1001(1000)
    guest  . 1001:2001(1000)
    >guest . ack 2001
    guest  R. 2001:2001(0)          # with 1000 bytes that were never sent
    +10s
    lose
    flows 1
    cut
    peer   . ack 1001
    commit
    >peer  . 1001:2001(1000)
    flows 1
    peer   . ack 2001
    >peer  R. 2001:2001(0) ack 1
    flows 0
    cut commit
  )"),
            "");
}

TEST(FlowRule5, AResetOfTheGuestWaitsAMinuteAtMostForAPeerThatTakesNothing) {
  RelayRig rig(RigSetup{});
  rig.connect();
  rig.forget_sent();
  const auto probed_for = [&](int seconds) {  // probes are answered: it is not dead
    for (int i = 0; i < seconds; ++i) EXPECT_EQ(RelayScript(rig).run("+1s\n lose\n peer . ack 1 win 0\n lose\n"), "");
  };
  EXPECT_EQ(
      RelayScript(rig).run("peer . ack 1 win 0\n guest . 1:101(100)\n lose\n guest R. 101:101(0)\n cut commit lose\n"),
      "");
  probed_for(59);
  EXPECT_EQ(rig.relay().size(), 1u);
  probed_for(2);
  EXPECT_EQ(rig.relay().size(), 0u);
}

TEST(FlowRule5, AResetOfTheGuestInAnEpochThatIsLostIsNotSaid) {
  EXPECT_EQ(run_relay_script(R"(
    guest  . 1:101(100)
    >guest . ack 101
    cut commit
    >peer  . 1:101(100)
    guest  R. 101:101(0)
    takeover
    >guest . ack 101
    >peer  . 1:101(100)
    flows 1
  )"),
            "");
}

TEST(FlowRule5, AResetOfTheGuestThatHadCommittedIsSaidByTheNewPrimary) {
  EXPECT_EQ(run_relay_script(R"(
    guest  . 1:101(100)
    >guest . ack 101
    guest  R. 101:101(0)
    cut
    commit-unheard
    takeover
    >peer  . 1:101(100)
    peer   . ack 101
    >peer  R. 101:101(0) ack 1
    flows 0
  )"),
            "");
}

TEST(FlowRule5, AResetOfThePeerGoesThroughAtOnceAndEndsTheRelay) {
  EXPECT_EQ(run_relay_script(R"(
    peer   . 1:1001(1000)
    >guest . 1:1001(1000)
    durable
    >peer  . ack 1001
    peer   R 1001:1001(0)
    >guest R. 1001:1001(0) ack 1
    flows 0
    cut commit
    guest  . ack 1001
    passed                          # what comes later is the endpoints' own
  )"),
            "");
}

TEST(FlowRule5, AResetOfThePeerIsAcceptedAtTheLastAckAsWellAsAtTheNextByte) {
  EXPECT_EQ(run_relay_script(R"(
    peer   . 1:1001(1000)
    >guest . 1:1001(1000)
    peer   R 1:1(0)                 # it has got no ACK for its data yet
    >guest R. 1001:1001(0) ack 1
    flows 0
  )"),
            "");
}

TEST(FlowRule5, ARelayRestoredAfterThePeersResetIsResetByItAgain) {
  EXPECT_EQ(run_relay_script(R"(
    guest  . 1:101(100)
    >guest . ack 101
    cut commit
    >peer  . 1:101(100)
    peer   R 1:1(0) ack 0
    >guest R. ack 101
    flows 0
    takeover                        # the standby never heard of it
    >guest . ack 101
    >peer  . 1:101(100) ack 1
    flows 1
    peer   R 1:1(0) ack 0
    >guest R. ack 101
    flows 0
  )"),
            "");
}

// Every state of RFC 9293 section 3.3.2 that a relay can be in, as the steps that lead there.
struct Place {
  const char* name;
  const char* steps;
  uint32_t guest_next;
  uint32_t peer_next;
};
const Place kPlaces[] = {
    {"ESTABLISHED", "", 1, 1},
    {"ESTABLISHED with data both ways", "guest . 1:101(100)\n lose\n peer . 1:101(100)\n lose\n", 101, 101},
    {"FIN-WAIT-1, not committed", "guest F. 1:1(0)\n lose\n", 2, 1},
    {"FIN-WAIT-1", "guest F. 1:1(0)\n lose cut commit lose\n", 2, 1},
    {"FIN-WAIT-2", "guest F. 1:1(0)\n lose cut commit lose\n peer . ack 2\n lose\n", 2, 1},
    {"CLOSE-WAIT, not durable", "peer F. 1:1(0)\n lose\n guest . ack 2\n", 1, 2},
    {"CLOSE-WAIT", "peer F. 1:1(0)\n lose durable lose\n guest . ack 2\n", 1, 2},
    {"CLOSING", "guest F. 1:1(0)\n lose cut commit lose\n peer F. 1:1(0) ack 1\n lose durable lose\n", 2, 2},
    {"LAST-ACK", "peer F. 1:1(0)\n lose durable lose\n guest F. 1:1(0) ack 2\n lose cut commit lose\n", 2, 2},
};

TEST(FlowRule5, AResetOfThePeerEndsTheRelayInEveryState) {
  for (const Place& place : kPlaces) {
    for (const RigSetup& setup : {RigSetup{}, solo()}) {
      RelayRig rig(setup);
      rig.connect();
      rig.durable();
      rig.forget_sent();
      ASSERT_EQ(RelayScript(rig).run(place.steps), "") << place.name;
      rig.peer(fmt::format("R {0}:{0}(0)", place.peer_next));
      // Behind a FIN the guest is to have everything first.
      if (place.name == std::string("CLOSING")) rig.guest(". ack 2");
      ASSERT_FALSE(rig.sent_to_guest.empty()) << place.name;
      EXPECT_TRUE(rig.sent_to_guest.back().segment.has('R')) << place.name;
      EXPECT_EQ(rig.relay().size(), 0u) << place.name;
      EXPECT_EQ(rig.violation(), "") << place.name;
    }
  }
}

TEST(FlowRule5, AResetOfTheGuestEndsTheRelayInEveryState) {
  for (const Place& place : kPlaces) {
    RelayRig rig(RigSetup{});
    rig.connect();
    rig.durable();
    rig.forget_sent();
    ASSERT_EQ(RelayScript(rig).run(place.steps), "") << place.name;
    rig.guest(fmt::format("R. {0}:{0}(0)", place.guest_next));
    rig.cut();
    EXPECT_EQ(rig.relay().size(), 1u) << place.name;
    EXPECT_TRUE(rig.sent_to_peer.empty() || !rig.sent_to_peer.back().segment.has('R')) << place.name;
    rig.commit();
    const bool all_acked = rig.relay().size() == 0;
    if (!all_acked) rig.peer(fmt::format(". ack {}", place.guest_next));
    ASSERT_FALSE(rig.sent_to_peer.empty()) << place.name;
    EXPECT_TRUE(rig.sent_to_peer.back().segment.has('R')) << place.name;
    EXPECT_EQ(rig.sent_to_peer.back().segment.seq, place.guest_next) << place.name;
    EXPECT_EQ(rig.relay().size(), 0u) << place.name;
    EXPECT_EQ(rig.violation(), "") << place.name;
  }
}

TEST(FlowRule5, AResetDuringTheHandshakeLeavesNothingBehind) {
  for (const bool guest_opens : {false, true}) {
    for (const bool by_guest : {false, true}) {
      RigSetup setup;
      setup.guest_opens = guest_opens;
      RelayRig rig(setup);
      rig.syn(guest_opens, "S");
      rig.syn(!guest_opens, "S.");
      rig.put(by_guest, rig.slow_frame(by_guest, *parse_script_segment("R. 1:1(0) ack 1")).bytes());
      EXPECT_EQ(rig.guest(". ack 1"), Relay::Disposition::kPass);
      EXPECT_EQ(rig.peer(". ack 1"), Relay::Disposition::kPass);
      EXPECT_EQ(rig.relay().size(), 0u);
    }
  }
}

TEST(FlowRule5, AConnectionThatTheGuestOpensAndResetsInOneEpochIsResetTowardThePeer) {
  RigSetup setup;
  setup.guest_opens = true;
  RelayRig rig(setup);
  rig.connect();
  rig.forget_sent();
  EXPECT_EQ(RelayScript(rig).run(R"(
    guest  . 1:101(100)
    >guest . ack 101
    guest  R. 101:101(0)
    +1s
    cut commit
    >peer  . 1:101(100) ack 1
    peer   . ack 101
    >peer  R. 101:101(0) ack 1
    flows 0
  )"),
            "");
}

}  // namespace
}  // namespace us
