// The eleven rules that keep a relayed connection correct (docs/tcp-relay.md, "How it is tested"), each on a whole
// Relay with its log and a standby.  Here: rules 1 to 4.  FlowJudge holds every frame of every test against rules 1, 2,
// 3, 5 and 7 besides.
#include <gtest/gtest.h>

#include "core/tcp/relay_script.h"

namespace us {
namespace {

// ---- rule 1: never ACK what is not durable, never send what is not committed ----

TEST(FlowRule1, AClientByteIsAckedOnlyWhenTheStandbyHasIt) {
  EXPECT_EQ(run_relay_script(R"(
    peer   . 1:1001(1000)
    >guest . 1:1001(1000) ack 1     # the guest has it at once
    guest  . ack 1001               # and its own ACK changes nothing
    +100ms
    durable
    >peer  . ack 1001
  )"),
            "");
}

TEST(FlowRule1, ASackBlockNamesOnlyWhatIsDurable) {
  EXPECT_EQ(run_relay_script(R"(
    peer   . 1001:2001(1000)
    durable
    >peer  . ack 1 <sack 1001:2001>
    peer   . 3001:4001(1000)
    peer   . 1001:1501(500)         # a duplicate provokes an ACK
    >peer  . ack 1 <sack 1001:1501 1001:2001>
    durable
    >peer  . ack 1 <sack 3001:4001 1001:2001>
  )"),
            "");
}

TEST(FlowRule1, AGuestByteIsSentOnlyWhenItsEpochHasCommitted) {
  EXPECT_EQ(run_relay_script(R"(
    guest  . 1:1001(1000)
    >guest . ack 1001               # ACKed to the guest at once
    +100ms
    cut
    guest  . 1001:2001(1000)        # of the next epoch
    >guest . ack 2001
    +100ms
    commit
    >peer  . 1:1001(1000) ack 1
    cut commit
    >peer  . 1001:2001(1000) ack 1
  )"),
            "");
}

TEST(FlowRule1, AnAckToTheClientThatRidesOnGuestDataCoversOnlyWhatIsDurable) {
  EXPECT_EQ(run_relay_script(R"(
    guest  . 1:501(500)
    >guest . ack 501
    peer   . 1:1001(1000)
    >guest . 1:1001(1000)
    cut
    peer   . 1001:2001(1000)
    >guest . 1001:2001(1000)
    durable
    >peer  . ack 2001
    peer   . 2001:3001(1000)
    >guest . 2001:3001(1000)
    lose
    guest  . 501:601(100)
    >guest . ack 601
    commit
    >peer  . 1:501(500) ack 2001
  )"),
            "");
}

TEST(FlowRule1, AConnectionThatTheGuestOpensIsNotConfirmedBeforeItsEpochHasCommitted) {
  RelayRig rig(guest_opens());
  rig.connect();
  EXPECT_EQ(rig.relay().size(), 1u);
  EXPECT_EQ(RelayScript(rig).run(R"(
    >guest . ack 1
    guest  . 1:101(100)
    >guest . ack 101
    +1s
    cut
    +1s
    commit
    >peer  . 1:101(100) ack 1
  )"),
            "");
}

TEST(FlowRule1, WithoutEarlyAcksTheRelayPromisesNothing) {
  RigSetup setup;
  setup.options.ack_guest = setup.options.ack_peer = false;
  EXPECT_EQ(run_relay_script(setup, R"(
    guest  . 1:1001(1000)
    cut commit
    >peer  . 1:1001(1000) ack 1
    peer   . ack 1001
    >guest . ack 1001
    peer   . 1:1001(1000)
    >guest . 1:1001(1000)
    durable                        # is not enough
    guest  . ack 1001
    cut
    +100ms
    commit                         # the guest's own ACK has committed
    >peer  . ack 1001
  )"),
            "");
}

// ---- rule 2: never take back a window, an ACK, a TSval ----

TEST(FlowRule2, TheWindowIsTheRelaysOwnWhateverTheGuestOffersInAnEpoch) {
  RigSetup setup;
  setup.limits.handshake.ingress_capacity = 1u << 20;
  EXPECT_EQ(run_relay_script(setup, R"(
    guest  . ack 1 win 0            # may be rolled back
    peer   . 1:1001(1000)
    durable
    >peer  . ack 1001 win 7161      # 1 MiB less the eighth for rounding
    guest  . ack 1 win 60000        # 7.6 MB: more than the relay has
    >guest . 1:1001(1000)
    peer   . 1001:2001(1000)
    >guest . 1001:2001(1000)
    durable
    >peer  . ack 2001 win 7154      # the edge has not moved
  )"),
            "");
}

TEST(FlowRule2, AcksAndWindowsThatTheOldPrimaryMayHaveSentHoldAfterATakeover) {
  RigSetup setup;
  setup.limits.handshake.ingress_capacity = 65536;
  EXPECT_EQ(run_relay_script(setup, R"(
    peer   . 1:40001(40000)
    >guest . 1:1449(1448)
    lose
    durable
    >peer  . ack 40001
    guest  . ack 40001
    cut commit                      # the relay offers more now than the epoch says
    >peer  . ack 40001
    peer   . 40001:41001(1000)
    >guest . 40001:41001(1000)
    durable
    >peer  . ack 41001
    takeover
    >guest . 40001:41001(1000) ack 1
    >peer  . ack 41001
  )"),
            "");
}

TEST(FlowRule2, WhatTheStandbyHasIsAckedAfterATakeoverEvenIfThePrimaryNeverHeardOfIt) {
  EXPECT_EQ(run_relay_script(R"(
    peer   . 1:1001(1000)
    >guest . 1:1001(1000)
    cut commit
    peer   . 1001:2001(1000)
    >guest . 1001:2001(1000)
    durable-unheard
    takeover
    >guest . 1:1001(1000)           # played to the restored guest, which drops what it has
    >guest . 1001:2001(1000)
    >peer  . ack 2001
    peer   . 2001:2501(500)
    >guest . 2001:2501(500)
    >peer  . ack 2501
  )"),
            "");
}

TEST(FlowRule2, TheTimestampOfANewPrimaryIsLaterThanAnyOfTheOldOne) {
  RelayRig rig({});
  rig.connect();
  rig.durable();
  rig.cut();
  rig.commit();
  uint32_t latest = 0;
  for (int second = 0; second < 30; ++second) {
    rig.forget_sent();
    rig.advance(Duration::seconds(1));
    rig.peer(". 1:1(0) ack 2000");  // answered at once: it was never sent
    rig.durable();
    ASSERT_FALSE(rig.sent_to_peer.empty());
    const uint32_t value = rig.sent_to_peer.back().segment.timestamps->first;
    EXPECT_GE(value - rig.setup().guest.clock, latest);
    latest = value - rig.setup().guest.clock;
  }
  EXPECT_GT(latest, 25'000u) << "the clock runs";
  rig.take_over(Duration());
  ASSERT_FALSE(rig.sent_to_peer.empty());
  EXPECT_GT(rig.sent_to_peer.front().segment.timestamps->first - rig.setup().guest.clock, latest);
  EXPECT_EQ(rig.violation(), "");
}

// ---- rule 3: timestamps end at the relay and are leased ahead ----

TEST(FlowRule3, TheTimestampStandsStillUntilTheStandbyKnowsABound) {
  RelayRig rig({});
  rig.connect();
  const uint32_t begin = rig.setup().guest.clock;
  rig.advance(Duration::seconds(3));
  rig.guest(". 1:101(100)");
  rig.cut();
  rig.commit(false);
  rig.forget_sent();
  rig.peer(". 1:1(0) ack 2000");  // any answer: a challenge ACK
  ASSERT_EQ(rig.sent_to_peer.size(), 1u);
  EXPECT_EQ(rig.sent_to_peer.back().segment.timestamps->first, begin);
  rig.durable();
  rig.advance(Duration::seconds(2));
  rig.peer(". 1:1(0) ack 2000");
  EXPECT_EQ(rig.sent_to_peer.back().segment.timestamps->first, begin + 2000);
  EXPECT_EQ(rig.violation(), "");
}

TEST(FlowRule3, TheTimestampNeverPassesTheLeaseHoweverLongTheStandbyIsSilent) {
  RelayRig rig({});
  rig.connect();
  rig.durable();
  for (int i = 0; i < 60; ++i) {
    rig.advance(Duration::seconds(1));
    rig.peer(". 1:1(0) ack 2000");
  }
  const uint32_t passed = rig.sent_to_peer.back().segment.timestamps->first - rig.setup().guest.clock;
  EXPECT_LE(passed, TimestampClock::kLeaseTicks);
  EXPECT_GT(passed, TimestampClock::kLeaseTicks / 2);
  EXPECT_EQ(rig.violation(), "");
}

TEST(FlowRule3, EachSideSeesItsOwnTimestampsEchoedAndNoneOfTheOtherSide) {
  RelayRig rig(solo());
  rig.connect();
  rig.forget_sent();
  rig.guest(". 1:101(100) ack 1 <ts 4294967200 2147483392>");
  ASSERT_EQ(rig.sent_to_guest.size(), 1u);
  EXPECT_EQ(rig.sent_to_guest.front().segment.timestamps->second, 4294967200u);
  rig.peer(". 1:101(100) ack 101 <ts 2147483600 4294967040>");
  ASSERT_EQ(rig.sent_to_peer.size(), 2u);
  EXPECT_EQ(rig.sent_to_peer.back().segment.timestamps->second, 2147483600u);
  EXPECT_EQ(rig.violation(), "");
}

TEST(FlowRule3, AnOldTimestampIsRefusedAndAnswered) {
  RelayRig rig(solo());
  rig.connect();
  rig.forget_sent();
  rig.peer(fmt::format(". 1:101(100) <ts {} 0>", rig.setup().peer.clock - 1));
  EXPECT_TRUE(rig.sent_to_guest.empty());
  ASSERT_EQ(rig.sent_to_peer.size(), 1u) << "PAWS: dropped and answered (RFC 7323 section 5.3)";
  EXPECT_EQ(rig.sent_to_peer.front().segment.ack, 1u);
}

// ---- rule 4: after a takeover any ACK up to `committed` is valid, and the oldest byte is sent at once ----

TEST(FlowRule4, WhatWasCommittedIsSentAtOnceByTheNewPrimary) {
  EXPECT_EQ(run_relay_script(R"(
    guest  . 1:2921(2920)
    >guest . ack 2921
    cut commit
    >peer  . 1:1449(1448) ack 1
    >peer  . 1449:2897(1448) ack 1
    >peer  . 2897:2921(24) ack 1
    takeover
    >guest . ack 2921
    >peer  . 1:1449(1448) ack 1
    >peer  . 1449:2897(1448) ack 1
    >peer  . 2897:2921(24) ack 1
  )"),
            "");
}

TEST(FlowRule4, WhatWasCommittedAndNeverSentIsSentByTheNewPrimary) {
  EXPECT_EQ(run_relay_script(R"(
    guest  . 1:1001(1000)
    >guest . ack 1001
    cut
    commit-unheard
    takeover
    >guest . ack 1001
    >peer  . 1:1001(1000) ack 1
  )"),
            "");
}

TEST(FlowRule4, AnAckForWhatTheOldPrimaryHadSentIsValid) {
  EXPECT_EQ(run_relay_script(R"(
    guest  . 1:1001(1000)
    >guest . ack 1001
    cut commit
    >peer  . 1:1001(1000)
    guest  . 1001:2001(1000)
    >guest . ack 2001
    cut commit
    >peer  . 1001:2001(1000)
    takeover
    >guest . ack 2001
    >peer  . 1:1449(1448)
    >peer  . 1449:2001(552)
    peer   . ack 2001               # by what the old one had sent
    guest  . 2001:2101(100)
    >guest . ack 2101
    >peer  . 2001:2101(100)
  )"),
            "");
}

TEST(FlowRule4, AnAckBeyondWhatTheNewPrimaryHasSentIsValid) {
  RelayRig rig(RigSetup{});
  rig.connect();
  rig.send(true, 30'000);
  rig.send(true, 30'000);
  rig.cut();
  rig.commit();
  rig.take_over();
  ASSERT_FALSE(rig.sent_to_peer.empty());
  const RelayRig::Sent& last = rig.sent_to_peer.back();
  EXPECT_LT(*last.segment.seq + last.segment.length, 20'000u) << "a new window";
  rig.peer(". ack 40001");  // the old primary had come so far
  EXPECT_EQ(rig.flow()->to_peer().una().value() - rig.setup().guest.isn, 40'001u);
  EXPECT_GE(*rig.sent_to_peer.back().segment.seq, 40'001u);
  EXPECT_EQ(rig.violation(), "");
}

TEST(FlowRule4, WhatTheGuestSaidAfterTheEpochIsForgottenAndSaidAgain) {
  EXPECT_EQ(run_relay_script(R"(
    guest  . 1:1001(1000)
    >guest . ack 1001
    cut
    guest  . 1001:2001(1000)
    >guest . ack 2001
    durable                         # egress in the log is no promise
    commit
    >peer  . 1:1001(1000)
    takeover
    >guest . ack 1001
    >peer  . 1:1001(1000)
    guest  . 1001:2001(1000)
    >guest . ack 2001
    >peer  . 1001:2001(1000)
  )"),
            "");
}

TEST(FlowRule4, CongestionControlStartsFromScratchAfterATakeover) {
  RelayRig rig(RigSetup{});
  rig.connect();
  rig.durable();
  for (uint32_t i = 0; i < 40; ++i) {
    rig.send(true, 20 * 1448);
    rig.cut();
    rig.commit();
    rig.advance(Duration::millis(10));
    rig.peer(". win 2000");
  }
  const uint64_t fresh = 10 * 1448;
  EXPECT_GT(rig.flow()->to_peer().cwnd(), fresh);
  rig.take_over();
  EXPECT_EQ(rig.flow()->to_peer().cwnd(), fresh);
  EXPECT_EQ(rig.violation(), "");
}

TEST(FlowRule4, BothSidesAreGreetedAfterATakeoverOfAnIdleConnection) {
  EXPECT_EQ(run_relay_script(R"(
    cut commit
    takeover
    >guest . 1:1(0) ack 1
    >peer  . 1:1(0) ack 1
  )"),
            "");
}

}  // namespace
}  // namespace us
