// Rules 6 and 7 on a whole relay: probes.  A keep-alive of the guest is passed end to end, a client that is gone is
// told to the guest, and zero windows are probed on both sides.
#include <gtest/gtest.h>

#include "core/tcp/relay_script.h"

namespace us {
namespace {

// ---- rule 6: keep-alive probes are passed end to end ----

TEST(FlowRule6, AKeepAliveOfTheGuestIsAnsweredByThePeerAlone) {
  EXPECT_EQ(run_relay_script(R"(
    guest  . 1:101(100)
    >guest . ack 101
    cut commit
    >peer  . 1:101(100)
    peer   . ack 101
    +60s
    guest  . 100:100(0)             # the probe
    cut commit
    >peer  . 100:100(0) ack 1
    +60s                            # a dead peer says nothing, and the guest hears nothing
    guest  . 100:100(0)
    cut commit
    >peer  . 100:100(0) ack 1
    peer   . ack 101
    >guest . ack 101
  )"),
            "");
}

TEST(FlowRule6, AKeepAliveWithOneByteIsPassedOnAsWell) {
  EXPECT_EQ(run_relay_script(solo(), R"(
    guest  . 0:1(1)
    >peer  . 0:0(0) ack 1
    peer   . ack 1
    >guest . ack 1
  )"),
            "");
}

TEST(FlowRule6, AKeepAliveThatWasPendingAtTheEpochIsPassedOnByTheNewPrimary) {
  EXPECT_EQ(run_relay_script(R"(
    guest  . 0:0(0)
    cut
    commit-unheard
    takeover
    >guest . ack 1
    >peer  . 0:0(0) ack 1           # is the greeting as well
  )"),
            "");
}

TEST(FlowRule6, AKeepAliveOfThePeerIsAnsweredByTheRelay) {
  EXPECT_EQ(run_relay_script(R"(
    peer   . 0:0(0)
    >peer  . 1:1(0) ack 1
    +10s
    peer   . 0:1(1)
    >peer  . 1:1(0) ack 1
  )"),
            "");
}

TEST(FlowRule6, WhenTheRelayGivesThePeerUpTheGuestGetsAReset) {
  for (const bool protect : {true, false}) {
    RigSetup setup;
    setup.solo = !protect;
    RelayRig rig(setup);
    rig.connect();
    rig.durable();
    rig.guest(". 1:101(100)");
    rig.cut();
    rig.commit();
    rig.forget_sent();
    rig.advance(Duration::seconds(3600));
    EXPECT_GE(rig.sent_to_peer.size(), 15u);
    ASSERT_FALSE(rig.sent_to_guest.empty());
    EXPECT_EQ(to_string(rig.sent_to_guest.back().segment).substr(0, 11), "R. 1:1(0) a");
    EXPECT_EQ(rig.relay().size(), 0u);
    EXPECT_EQ(rig.violation(), "");
  }
}

// ---- rule 7: zero windows ----

TEST(FlowRule7, AZeroWindowOfThePeerIsProbedByTheRelayUntilItOpens) {
  EXPECT_EQ(run_relay_script(solo(), R"(
    peer   . win 0
    guest  . 1:1001(1000)
    >guest . ack 1001
    +900ms
    +100ms
    >peer  . 1:2(1)                 # RFC 9293 section 3.8.6.1
    peer   . ack 1 win 0
    +2s
    >peer  . 1:2(1)
    peer   . ack 2 win 500          # it took the byte
    >peer  . 2:1001(999) ack 1
  )"),
            "");
}

TEST(FlowRule7, AStalledReaderIsNotADeadOne) {
  RelayRig rig(solo());
  rig.connect();
  rig.peer(". win 0");
  rig.guest(". 1:1001(1000)");
  for (int minute = 0; minute < 600; ++minute) {
    rig.advance(Duration::seconds(60));
    if (!rig.sent_to_peer.empty()) rig.peer(". ack 1 win 0");
    rig.forget_sent();
  }
  EXPECT_EQ(rig.relay().size(), 1u);
  rig.peer(". ack 1 win 500");
  EXPECT_EQ(rig.sent_to_peer.back().segment.seq.value() + rig.sent_to_peer.back().segment.length, 1001u);
  EXPECT_EQ(rig.violation(), "");
}

TEST(FlowRule7, AZeroWindowOfTheGuestIsRespectedAndProbed) {
  EXPECT_EQ(run_relay_script(solo(), R"(
    guest  . ack 1 win 0
    peer   . 1:1001(1000)
    >peer  . ack 1001               # the relay has room
    +1s
    >guest . 1:2(1)
    guest  . ack 1 win 0
    +2s
    >guest . 1:2(1)
    guest  . ack 1 win 500
    >guest . 1:2(1)
    >guest . 2:1001(999)
  )"),
            "");
}

TEST(FlowRule7, AWindowThatOpensAfterATakeoverIsProbedFor) {
  EXPECT_EQ(run_relay_script(R"(
    peer   . win 0
    guest  . 1:1001(1000)
    >guest . ack 1001
    cut commit
    takeover
    >guest . ack 1001
    >peer  . 1001:1001(0) ack 1
    +1s
    >peer  . 1:2(1)
    peer   . ack 1 win 500
    >peer  . 1:1001(1000)
  )"),
            "");
}

}  // namespace
}  // namespace us
