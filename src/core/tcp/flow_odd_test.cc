// What a relay leaves alone and what it passes through: rule 8 (it does not relay what it does not understand) and rule
// 9 (packet-too-big, ECN, IPv6, VLAN tags), and handshakes with extreme numbers.
#include <gtest/gtest.h>

#include "core/tcp/relay_script.h"

namespace us {
namespace {

// ---- rule 8 ----

struct Odd {
  const char* name;
  RelayObstacle obstacle;
  Bytes options;        // on the SYN
  uint32_t length = 0;  // of data on it
};

TEST(FlowRule8, AnOddSynOrSynAckGoesThroughThePlainGateAndIsCounted) {
  const Odd odd[] = {
      {"Fast Open cookie request", RelayObstacle::kFastOpen, {34, 2, 1, 1}},
      {"Fast Open cookie", RelayObstacle::kFastOpen, {34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1}},
      {"experimental Fast Open", RelayObstacle::kFastOpen, {254, 4, 0xf9, 0x89}},
      {"MPTCP", RelayObstacle::kMultipath, {30, 4, 0x01, 0}},
      {"MD5", RelayObstacle::kMd5, {19, 18, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 1, 1}},
      {"AO", RelayObstacle::kAo, {29, 4, 1, 1}},
      {"unknown", RelayObstacle::kUnknownOption, {200, 4, 1, 1}},
      {"malformed", RelayObstacle::kMalformedOptions, {200, 0, 1, 1}},
      {"data", RelayObstacle::kSynData, {}, 5},
  };
  for (const Odd& o : odd) {
    for (const bool on_syn_ack : {false, true}) {
      for (const bool guest_opens : {false, true}) {
        const std::string what = fmt::format("{} on the {}", o.name, on_syn_ack ? "SYN-ACK" : "SYN");
        RigSetup setup;
        // Leaves room for MD5's 20 bytes.
        setup.guest.timestamps = setup.peer.timestamps = false;
        setup.guest_opens = guest_opens;
        RelayRig rig(setup);
        rig.syn(guest_opens, "S", on_syn_ack ? Bytes() : o.options, on_syn_ack ? 0 : o.length);
        rig.syn(!guest_opens, "S.", on_syn_ack ? o.options : Bytes(), on_syn_ack ? o.length : 0);
        EXPECT_EQ(rig.say(guest_opens, ". ack 1"), Relay::Disposition::kPass) << what;
        EXPECT_EQ(rig.guest(". 1:101(100)"), Relay::Disposition::kPass) << what;
        EXPECT_EQ(rig.peer(". 1:101(100)"), Relay::Disposition::kPass) << what;
        EXPECT_EQ(rig.relay().size(), 0u) << what;
        EXPECT_EQ(rig.relay().counters().not_relayed, 1u) << what;
        EXPECT_EQ(rig.relay().counters().last_obstacle, o.obstacle) << what;
        ASSERT_EQ(rig.relay().unrelayed().size(), 1u) << what;
        EXPECT_EQ(rig.relay().unrelayed()[0].obstacle, o.obstacle) << what;
        EXPECT_EQ(rig.relay().unrelayed()[0].key.peer.port, RelayRig::kPeerPort) << what;
      }
    }
  }
}

TEST(FlowRule8, AConnectionWhoseHandshakeWasNotSeenIsLeftAlone) {
  RelayRig rig(RigSetup{});
  EXPECT_EQ(rig.peer(". 1:101(100) ack 1"), Relay::Disposition::kPass);
  EXPECT_EQ(rig.guest(". 1:101(100) ack 101"), Relay::Disposition::kPass);
  EXPECT_EQ(rig.guest("F. 101:101(0)"), Relay::Disposition::kPass);
  EXPECT_EQ(rig.peer("R 101:101(0)"), Relay::Disposition::kPass);
  EXPECT_EQ(rig.relay().size(), 0u);
  EXPECT_TRUE(rig.sent_to_guest.empty() && rig.sent_to_peer.empty());
}

TEST(FlowRule8, HalfAHandshakeIsNoHandshake) {
  for (const bool guest_opens : {false, true}) {
    RigSetup setup;
    setup.guest_opens = guest_opens;
    RelayRig no_syn(setup);
    no_syn.syn(!guest_opens, "S.");
    EXPECT_EQ(no_syn.say(guest_opens, ". ack 1"), Relay::Disposition::kPass);
    RelayRig no_answer(setup);
    no_answer.syn(guest_opens, "S");
    EXPECT_EQ(no_answer.say(guest_opens, ". ack 1"), Relay::Disposition::kPass);
    RelayRig wrong_ack(setup);
    wrong_ack.syn(guest_opens, "S");
    wrong_ack.syn(!guest_opens, "S.");
    EXPECT_EQ(wrong_ack.say(guest_opens, ". ack 2"), Relay::Disposition::kPass) << "a forged last ACK";
    EXPECT_EQ(wrong_ack.relay().size(), 0u);
    EXPECT_EQ(wrong_ack.say(guest_opens, ". ack 1"), Relay::Disposition::kTaken) << "harms nothing";
  }
}

TEST(FlowRule8, AConnectionThatIsRelayedStaysSoWhenRelaysAreSwitchedOff) {
  RelayRig rig(solo());
  rig.connect();
  rig.relay().set_enabled(false);
  EXPECT_EQ(rig.guest(". 1:101(100)"), Relay::Disposition::kTaken);
  RelayRig off(solo());
  off.relay().set_enabled(false);
  off.connect();
  EXPECT_EQ(off.disposition(), Relay::Disposition::kPass);
}

TEST(FlowRule8, UrgentDataStaysInLineAndIsCounted) {  // RFC 6093 section 3.4
  EXPECT_EQ(run_relay_script(solo(), R"(
    guest  U. 1:101(100)
    >guest . ack 101
    >peer  . 1:101(100)             # without the flag
    peer   U. 1:51(50) ack 101
    >guest . 1:51(50)
    >peer  . ack 51
  )"),
            "");
}

// ---- rule 9 ----

TEST(FlowRule9, EcnIsHandledPerSide) {
  RigSetup setup = solo();
  setup.ecn = true;
  EXPECT_EQ(run_relay_script(setup, R"(
    peer   . 1:101(100) ce          # the network toward us is congested
    >guest . 1:101(100) ack 1       # the guest hears nothing of it
    >peer  E. ack 101               # the peer does, until it says CWR
    guest  . ack 101
    peer   . 101:201(100) ect0
    >guest . 101:201(100) ack 1
    >peer  E. ack 201
    peer   W. 201:301(100) ect0
    >guest . 201:301(100) ack 1
    >peer  . ack 301
    guest  . 1:101(100) ack 301
    >guest . ack 101
    >peer  . 1:101(100) ect0
    peer   E. ack 101               # the network toward the peer is congested
    guest  . 101:201(100)
    >guest . ack 201                # the guest hears nothing of it
    >peer  W. 101:201(100) ect0     # RFC 3168 section 6.1.2
    guest  . 201:301(100) ce        # never on the way from the guest, but it is untrusted
    >guest E. ack 301
    >peer  . 201:301(100) ect0
  )"),
            "");
}

TEST(FlowRule9, AMarkReducesTheWindow) {
  RigSetup setup = solo();
  setup.ecn = true;
  RelayRig rig(setup);
  rig.connect();
  rig.send(true, 14480);
  rig.advance(Duration::millis(10));
  const uint64_t before = rig.flow()->to_peer().cwnd();
  rig.peer("E. win 2000");
  EXPECT_EQ(rig.flow()->to_peer().stats().ecn_reductions, 1u);
  EXPECT_LT(rig.flow()->to_peer().cwnd(), before);
}

TEST(FlowRule9, WithoutTheAgreementNothingIsMarkedOrEchoed) {
  EXPECT_EQ(run_relay_script(solo(), R"(
    peer   . 1:101(100) ce
    >guest . 1:101(100) ack 1
    >peer  . ack 101
    guest  . 1:101(100)
    >guest . ack 101
    >peer  . 1:101(100)
    peer   E. ack 101
  )"),
            "");
  RelayRig rig(solo());
  rig.connect();
  rig.send(true, 100);
  EXPECT_EQ(rig.sent_to_peer.back().segment.ecn, 0);
}

// Everything that a frame of the endpoint itself would have had is in the relay's frames.
TEST(FlowRule9, FramesLookLikeTheEndpointsOwn) {
  for (const bool v6 : {false, true}) {
    for (const std::vector<uint32_t>& vlans :
         {std::vector<uint32_t>{}, std::vector<uint32_t>{0x8100a00a}, std::vector<uint32_t>{0x88a80064, 0x8100200a}}) {
      RigSetup setup = solo();
      setup.v6 = v6;
      setup.vlans = vlans;
      setup.dscp = 0xb8;
      RelayRig rig(setup);
      rig.connect();
      rig.forget_sent();
      rig.send(true, 100);
      rig.send(false, 100);
      ASSERT_FALSE(rig.sent_to_peer.empty());
      for (const bool to_guest : {false, true}) {
        const Bytes& sent = to_guest ? rig.sent_to_guest.back().frame : rig.sent_to_peer.front().frame;
        const SlowFrame own = rig.slow_frame(!to_guest, *parse_script_segment(". 1:101(100) ack 1 <ts 1 1>"));
        const Bytes expected = own.bytes();
        ASSERT_EQ(sent.size(), expected.size());
        // Up to IPv4's length and ID, or all of IPv6's header.
        const size_t ip = own.ip_offset();
        EXPECT_TRUE(std::equal(sent.begin(), sent.begin() + static_cast<ptrdiff_t>(ip + 4), expected.begin()));
        const size_t addresses = ip + (v6 ? 8 : 12);
        EXPECT_TRUE(std::equal(sent.begin() + static_cast<ptrdiff_t>(addresses),
                               sent.begin() + static_cast<ptrdiff_t>(own.tcp_offset() + 4),
                               expected.begin() + static_cast<ptrdiff_t>(addresses)));
      }
      EXPECT_EQ(rig.violation(), "");
    }
  }
}

TEST(FlowRule9, Ipv6ConnectionsAreTakenOver) {
  RigSetup setup;
  setup.v6 = true;
  setup.vlans = {0x8100000a};
  RelayRig rig(setup);
  rig.connect();
  rig.durable();
  rig.send(true, 1000);
  rig.send(false, 500);
  rig.cut();
  rig.commit();
  rig.take_over();
  EXPECT_EQ(rig.relay().size(), 1u);
  EXPECT_EQ(rig.sent_to_peer.front().segment.length, 1000u);
  rig.peer(". ack 1001");
  rig.guest(". ack 501");
  EXPECT_EQ(rig.flow()->to_peer().unacked_bytes(), 0u);
  EXPECT_EQ(rig.violation(), "");
}

// ---- handshakes ----

TEST(FlowHandshake, TheSmallerMssOfBothSidesIsWhatGoesToThePeer) {
  // The guest's own says what its link carries (RFC 9293 section 3.7.1): it would send no more either.
  struct Case {
    std::optional<uint32_t> guest, peer;
    uint32_t expected;
  };
  const Case cases[] = {{1460, 1460, 1448}, {1460, 8960, 1448}, {1360, 1460, 1348}, {8960, 1460, 1448},
                        {1460, 536, 524},   {1460, {}, 524},    {1460, 1, 36},      {8960, 8960, 8948}};
  for (const Case& c : cases) {
    RigSetup setup = solo();
    setup.guest.mss = c.guest;
    setup.peer.mss = c.peer;
    RelayRig rig(setup);
    rig.connect();
    rig.forget_sent();
    rig.send(true, 9000);
    ASSERT_FALSE(rig.sent_to_peer.empty());
    EXPECT_EQ(rig.sent_to_peer.front().segment.length, c.expected) << c.guest.value_or(0) << " " << c.peer.value_or(0);
    EXPECT_EQ(rig.violation(), "");
  }
}

TEST(FlowHandshake, SegmentsToTheGuestAreNoLargerThanItAskedFor) {
  for (const auto& [mss, expected] : {std::pair{1460u, 1448u}, {536u, 524u}, {1u, 36u}}) {
    RigSetup setup = solo();
    setup.guest.mss = mss;
    RelayRig rig(setup);
    rig.connect();
    rig.forget_sent();
    rig.send(false, 9000);
    ASSERT_FALSE(rig.sent_to_guest.empty());
    EXPECT_EQ(rig.sent_to_guest.front().segment.length, expected);
  }
}

TEST(FlowHandshake, WindowScalesAreThoseOfTheEndpoints) {
  struct Case {
    std::optional<uint32_t> guest, peer;
    uint8_t guest_shift, peer_shift;
  };
  const Case cases[] = {{0, 0, 0, 0},  {14, 14, 14, 14}, {14, 0, 14, 0}, {0, 14, 0, 14},
                        {{}, 7, 0, 0}, {7, {}, 0, 0},    {255, 7, 14, 7}};  // more than 14 counts as 14 (RFC 7323)
  for (const Case& c : cases) {
    RigSetup setup = solo();
    setup.guest.scale = c.guest;
    setup.peer.scale = c.peer;
    setup.peer.window = 2;
    setup.limits.handshake.ingress_capacity = 8u << 20;
    RelayRig rig(setup);
    rig.connect();
    rig.forget_sent();
    rig.send(false, 100);
    ASSERT_FALSE(rig.sent_to_peer.empty());
    // What we offer in the guest's name: seven eighths of 8 MiB, or all that the header can say.
    const uint64_t offered = uint64_t{*rig.sent_to_peer.back().segment.window} << c.guest_shift;
    const uint64_t most = std::min<uint64_t>(uint64_t{65535} << c.guest_shift, 7u << 20);
    EXPECT_NEAR(static_cast<double>(offered), static_cast<double>(most), 16384)
        << *rig.sent_to_peer.back().segment.window;
    // And what the peer's window lets us send.
    rig.forget_sent();
    rig.send(true, 40'000);
    uint64_t sent = 0;
    for (const auto& s : rig.sent_to_peer) sent += s.segment.length;
    const uint64_t window = 2u << c.peer_shift;
    EXPECT_LE(sent, window);
    EXPECT_EQ(sent, std::min<uint64_t>(window, 10 * 1448)) << "the initial window of RFC 6928";
    EXPECT_EQ(rig.violation(), "");
  }
}

TEST(FlowHandshake, WhatTheSynHasOfferedIsNotTakenBackByTheLastAck) {  // found by fuzz/flow_fuzz
  for (const bool guest_opens : {false, true}) {
    RigSetup setup = solo();
    setup.guest_opens = guest_opens;
    setup.guest.window = setup.peer.window = 3;  // the last ACK's, times 128
    setup.limits.handshake.ingress_capacity = setup.limits.handshake.egress_capacity = 20'000;
    RelayRig rig(setup);
    rig.connect();
    rig.send(false, 100);
    EXPECT_EQ(rig.violation(), "");
    EXPECT_GE((*rig.sent_to_peer.front().segment.window + 1) << 7, setup.guest.syn_window);
  }
}

TEST(FlowHandshake, WithoutTimestampsAndSackNeitherIsSent) {
  for (const bool guest_lacks : {false, true}) {
    RigSetup setup = solo();
    (guest_lacks ? setup.guest : setup.peer).timestamps = false;
    (guest_lacks ? setup.guest : setup.peer).sack = false;
    EXPECT_EQ(run_relay_script(setup, R"(
      peer   . 1001:2001(1000)
      >peer  . ack 1 <sack none>
      peer   . 1:1001(1000)
      >guest . 1:1461(1460) ack 1
      >guest . 1461:2001(540) ack 1
      >peer  . ack 2001
      guest  . 1:1461(1460)
      >guest . ack 1461
      >peer  . 1:1461(1460)
    )"),
              "");
  }
}

TEST(FlowHandshake, ARetransmittedSynAckIsAnsweredForTheGuest) {
  // The peer has not got the last ACK of a connection that the guest opened.
  RigSetup setup = solo();
  setup.guest_opens = true;
  RelayRig rig(setup);
  rig.connect();
  rig.forget_sent();
  EXPECT_EQ(rig.syn(false, "S."), Relay::Disposition::kTaken);
  ASSERT_EQ(rig.sent_to_peer.size(), 1u);
  EXPECT_EQ(rig.sent_to_peer.front().segment.ack, 1u);
}

TEST(FlowHandshake, TheLastAckMayCarryData) {
  for (const bool guest_opens : {false, true}) {
    RigSetup setup = solo();
    setup.guest_opens = guest_opens;
    RelayRig rig(setup);
    rig.syn(guest_opens, "S");
    rig.syn(!guest_opens, "S.");
    rig.say(guest_opens, "P. 1:101(100) ack 1");
    const auto& delivered = guest_opens ? rig.sent_to_peer : rig.sent_to_guest;
    ASSERT_FALSE(delivered.empty());
    EXPECT_EQ(delivered.back().segment.length, 100u);
    EXPECT_EQ(rig.violation(), "");
  }
}

}  // namespace
}  // namespace us
