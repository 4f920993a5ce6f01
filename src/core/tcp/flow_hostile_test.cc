// Rule 10: segments of the network are validated as RFC 5961 asks, memory is bounded, a SYN flood costs no relay, and
// the guest is as untrusted as the network.  Rule 11: switching between solo and protected never breaks a flow.
#include <gtest/gtest.h>

#include "core/tcp/relay_script.h"

namespace us {
namespace {

// ---- rule 10 ----

TEST(FlowRule10, ABlindResetIsChallengedAndHarmsNothing) {  // RFC 5961 section 3.2
  EXPECT_EQ(run_relay_script(R"(
    peer   R 2:2(0)
    >peer  . 1:1(0) ack 1
    +1s
    peer   R 30001:30001(0)
    >peer  . 1:1(0) ack 1
    peer   R 70000:70000(0)         # beyond the window: not even that
    flows 1
    guest  . 1:101(100)
    >guest . ack 101
    cut commit
    >peer  . 1:101(100)
  )"),
            "");
}

TEST(FlowRule10, ASynInsideAConnectionIsChallenged) {  // RFC 5961 section 4.2
  EXPECT_EQ(run_relay_script(R"(
    peer   S 1000:1000(0)
    >peer  . 1:1(0) ack 1
    +1s
    peer   S. 0:0(0) ack 1
    >peer  . 1:1(0) ack 1
    flows 1
    guest  S 0:0(0)                 # a guest that has started anew
    >guest . 1:1(0) ack 1
    guest  R 1:1(0)                 # answers like this (RFC 9293 figure 9)
    cut commit
    >peer  R. 1:1(0)
    flows 0
  )"),
            "");
}

TEST(FlowRule10, AnAckForWhatWasNeverSentIsChallengedAndItsDataDropped) {  // RFC 5961 section 5.2
  EXPECT_EQ(run_relay_script(R"(
    guest  . 1:101(100)
    >guest . ack 101
    cut                             # said, but not sent
    peer   . 1:1001(1000) ack 2
    >peer  . ack 1
    +1s
    peer   . 1:1001(1000) ack 2000000000
    >peer  . ack 1
    commit
    >peer  . 1:101(100)
    peer   . 1:1001(1000) ack 101   # and now it is right
    >guest . 1:1001(1000)
    durable
    >peer  . ack 1001
  )"),
            "");
}

TEST(FlowRule10, ChallengesAreRateLimited) {  // RFC 5961 section 7
  RelayRig rig(solo());
  rig.connect();
  rig.forget_sent();
  for (int i = 0; i < 1000; ++i) {
    rig.peer("R 1000:1000(0)");
    rig.peer("S 1000:1000(0)");
    rig.peer(". 1:1(0) ack 99999");
    rig.advance(Duration::millis(1));
  }
  EXPECT_LE(rig.sent_to_peer.size(), 3u);
  EXPECT_GE(rig.sent_to_peer.size(), 2u);
  EXPECT_TRUE(rig.sent_to_guest.empty());
}

TEST(FlowRule10, ASegmentWithAWrongChecksumTouchesNothing) {
  RelayRig rig(solo());
  rig.connect();
  rig.forget_sent();
  Bytes frame = rig.slow_frame(false, *parse_script_segment("R. 1:1(0) ack 1 <ts 2147483392 4294967040>")).bytes();
  frame[frame.size() - 3] ^= 1;
  rig.put(false, frame);
  EXPECT_EQ(rig.relay().counters().bad_checksum, 1u);
  EXPECT_EQ(rig.relay().size(), 1u);
}

TEST(FlowRule10, AGuestThatIgnoresTheWindowGetsNoMoreThanTheBuffer) {
  RigSetup setup = solo();
  setup.limits.handshake.egress_capacity = 65536;
  RelayRig rig(setup);
  rig.connect();
  for (int i = 0; i < 1000; ++i) rig.send(true, 1448);  // the peer acknowledges nothing
  EXPECT_LE(rig.relay().pool_bytes(), 65536u + 2 * ChunkPool::kChunkBytes);
  EXPECT_LE(rig.flow()->to_peer().unacked_bytes(), 65536u);
  rig.judge().allow_resets();
  const uint32_t acked = *rig.sent_to_guest.back().segment.ack;
  EXPECT_EQ(acked - 1, rig.flow()->to_peer().unacked_bytes());
  EXPECT_EQ(rig.violation(), "");
}

TEST(FlowRule10, APeerThatIgnoresTheWindowGetsNoMoreThanTheBuffer) {
  RigSetup setup = solo();
  setup.limits.handshake.ingress_capacity = 65536;
  RelayRig rig(setup);
  rig.connect();
  rig.guest(". win 0");
  for (uint32_t i = 0; i < 1000; ++i) rig.send(false, 1448);
  for (uint32_t i = 0; i < 1000; ++i) {
    const uint32_t at = 3'000'000 + i * 3000;  // and far ahead
    rig.peer(fmt::format(". {}:{}(1448)", at, at + 1448));
  }
  EXPECT_LE(rig.relay().pool_bytes(), 65536u + 2 * ChunkPool::kChunkBytes);
  EXPECT_EQ(rig.violation(), "");
}

TEST(FlowRule10, ManyHolesCostNoMoreThanTheBuffer) {
  RigSetup setup;
  setup.limits.handshake.ingress_capacity = 1u << 20;
  RelayRig rig(setup);
  rig.connect();
  for (uint32_t i = 1; i < 5000; ++i) {
    rig.peer(fmt::format(". {}:{}(1)", 2 * i, 2 * i + 1));  // every second byte
    rig.forget_sent();
  }
  rig.durable();
  EXPECT_LE(rig.relay().pool_bytes(), (1u << 20) + 2 * ChunkPool::kChunkBytes);
  EXPECT_LE(rig.flow()->from_peer().held().ranges().size(), Reassembly::kRangesMax);
  EXPECT_EQ(rig.violation(), "");
}

// Found by fuzz/flow_fuzz: window updates without end, because the header could not say what was to be said.
TEST(FlowRule10, AWindowUpdateThatSaysNothingNewIsNotSent) {
  for (const std::optional<uint32_t> scale : {std::optional<uint32_t>(), std::optional<uint32_t>(14)}) {
    RigSetup setup;
    setup.guest.scale = scale;
    setup.guest.syn_window = 65535;
    RelayRig rig(setup);
    rig.connect();
    for (int i = 0; i < 40; ++i) rig.send(false, 1448);  // none of it durable, all of it room in the buffer
    rig.guest(".");
    EXPECT_EQ(rig.violation(), "");
    EXPECT_LE(rig.sent_to_peer.size(), 50u);
  }
}

// One of many connections, by its port; everything said is right and in order.
SlowFrame of_connection(const RelayRig& rig, uint16_t port, bool from_guest, std::string_view text) {
  SlowFrame frame = rig.slow_frame(from_guest, *parse_script_segment(text));
  (from_guest ? frame.destination_port : frame.source_port) = port;
  return frame;
}

TEST(FlowRule10, AllFlowsTogetherStayBelowTheLimitAndEachOneKeepsWhatItWasOffered) {
  RigSetup setup = solo();
  setup.guest.timestamps = setup.peer.timestamps = false;
  setup.limits.buffer_bytes_max = 4u << 20;
  RelayRig rig(setup);
  rig.connect();
  rig.guest(". win 0");
  const uint16_t ports = 200;
  for (uint16_t port = 5000; port < 5000 + ports; ++port) {
    rig.put(false, of_connection(rig, port, false, "S 0:0(0) <mss 1460, wscale 7>").bytes());
    rig.put(true, of_connection(rig, port, true, "S. 0:0(0) ack 1 win 65535 <mss 1460, wscale 7>").bytes());
    rig.put(false, of_connection(rig, port, false, ". 1:1(0) ack 1").bytes());
    rig.put(true, of_connection(rig, port, true, ". 1:1(0) ack 1 win 0").bytes());
    for (uint32_t at = 1; at < 60'000; at += 1460)
      rig.put(false, of_connection(rig, port, false, fmt::format(". {}:{}(1460) ack 1", at, at + 1460)).bytes());
  }
  EXPECT_EQ(rig.relay().size(), ports + 1u);
  EXPECT_LE(rig.relay().pool_bytes(), 4u << 20);
  // The first connection goes on.
  for (int i = 0; i < 10; ++i) rig.send(true, 1000);
  EXPECT_EQ(rig.violation(), "");
}

TEST(FlowRule10, NoMoreFlowsThanTheLimit) {
  RigSetup setup = solo();
  setup.limits.flows_max = 10;
  RelayRig rig(setup);
  rig.connect();
  for (uint16_t port = 5000; port < 5050; ++port) {
    rig.put(false, of_connection(rig, port, false, "S 0:0(0)").bytes());
    rig.put(true, of_connection(rig, port, true, "S. 0:0(0) ack 1").bytes());
    rig.put(false, of_connection(rig, port, false, ". 1:1(0) ack 1").bytes());
  }
  EXPECT_EQ(rig.relay().size(), 10u);
  EXPECT_EQ(rig.relay().counters().over_limit, 41u);
}

TEST(FlowRule10, ASynFloodCostsNoRelayAndBoundedMemoryAndDisturbsNobody) {
  RelayRig rig(RigSetup{});
  rig.connect();
  rig.durable();
  rig.forget_sent();
  uint32_t said = 1;
  for (uint32_t i = 0; i < 10'000; ++i) {
    SlowFrame syn = rig.slow_frame(false, *parse_script_segment("S 0:0(0) <mss 1460, sackok, wscale 7>"));
    store_be(syn.source.data(), 0x0a000000u + i * 7);
    syn.source_port = static_cast<uint16_t>(1024 + i);
    EXPECT_EQ(rig.put(false, syn.bytes()), Relay::Disposition::kPass);
    if (i % 2 == 0) {  // the guest answers as long as it can
      SlowFrame answer = rig.slow_frame(true, *parse_script_segment("S. 0:0(0) ack 1 <mss 1460, sackok, wscale 7>"));
      answer.destination = syn.source;
      answer.destination_port = syn.source_port;
      EXPECT_EQ(rig.put(true, answer.bytes()), Relay::Disposition::kPass);
    }
    if (i % 100 != 0) continue;
    // An established connection goes on: 100 bytes each way, and at once.
    rig.send(true, 100);
    rig.send(false, 100);
    rig.durable();
    rig.cut();
    rig.commit();
    said += 100;
    ASSERT_FALSE(rig.sent_to_peer.empty());
    EXPECT_EQ(rig.sent_to_peer.back().segment.seq, said - 100);
    EXPECT_EQ(rig.sent_to_peer.back().segment.ack, said);
    rig.forget_sent();
  }
  EXPECT_EQ(rig.relay().size(), 1u);
  EXPECT_EQ(rig.relay().half_open(), HandshakeLimits().entries_max);
  EXPECT_EQ(rig.others_sent, 0u);
  // Who comes now is relayed.
  rig.put(false, of_connection(rig, 5000, false, "S 0:0(0)").bytes());
  rig.put(true, of_connection(rig, 5000, true, "S. 0:0(0) ack 1").bytes());
  EXPECT_EQ(rig.put(false, of_connection(rig, 5000, false, ". 1:1(0) ack 1").bytes()), Relay::Disposition::kTaken);
  EXPECT_EQ(rig.relay().size(), 2u);
  EXPECT_EQ(rig.violation(), "");
}

TEST(FlowRule10, TheGuestIsValidatedLikeTheNetwork) {
  EXPECT_EQ(run_relay_script(R"(
    guest  R 2:2(0)                 # not the next number
    >guest . 1:1(0) ack 1
    +1s
    guest  . 1:101(100) ack 5000    # never sent
    >guest . ack 1
    +1s
    guest  - 1:101(100)             # no ACK flag
    guest  . 1:101(100)
    >guest . ack 101
    guest  . 1:101(100)             # again
    >guest . ack 101
    cut commit
    >peer  . 1:101(100)
  )"),
            "");
}

// ---- rule 11 ----

TEST(FlowRule11, GoingSoloCommitsAndMakesDurableAtOnce) {
  EXPECT_EQ(run_relay_script(R"(
    guest  . 1:101(100)
    >guest . ack 101
    peer   . 1:201(200)
    >guest . 1:201(200)
    guest  F. 101:101(0) ack 201
    solo
    >peer  F. 1:101(100) ack 201
    peer   . 201:301(100) ack 102
    >guest . 201:301(100) ack 102
    >peer  . ack 301
  )"),
            "");
}

TEST(FlowRule11, GoingSoloWhileAnEpochIsUnderWayLosesNothing) {
  EXPECT_EQ(run_relay_script(R"(
    guest  . 1:101(100)
    >guest . ack 101
    cut
    guest  . 101:201(100)
    >guest . ack 201
    cut
    guest  . 201:301(100)
    >guest . ack 301
    guest  . 300:300(0)             # a keep-alive, which nobody has passed on
    solo
    >peer  . 0:0(0) ack 1
    >peer  . 1:301(300)
  )"),
            "");
}

TEST(FlowRule11, AFlowOfSoloTimesIsTakenOverOnceAnEpochHasCommitted) {
  EXPECT_EQ(run_relay_script(solo(), R"(
    guest  . 1:1001(1000)
    >guest . ack 1001
    >peer  . 1:1001(1000)
    peer   . 1:501(500)
    >guest . 1:501(500)
    >peer  . ack 501
    peer   . 601:701(100)           # ahead of a hole
    >peer  . ack 501 <sack 601:701>
    cut                             # protected from here on
    guest  . 1001:1101(100) ack 1
    >guest . ack 1101
    +10ms
    peer   . 701:801(100)
    commit
    durable
    >peer  . ack 501 <sack 601:801>
    takeover
    >guest . 1:501(500) ack 1001
    >peer  . 1001:1001(0) ack 501 <sack 601:801>
    guest  . 1001:1101(100) ack 501 # once more
    >guest . ack 1101
    >peer  . 1001:1101(100)
    peer   . 501:601(100)
    >guest . 501:801(300)
    >peer  . ack 801
  )"),
            "");
}

TEST(FlowRule11, SwitchingBackAndForthUnderLoadBreaksNoRule) {
  RelayRig rig(RigSetup{});
  rig.connect();
  uint32_t delivered = 0;
  for (int i = 0; i < 300 && rig.violation().empty(); ++i) {
    rig.send(true, 3000);
    rig.send(false, 3000);
    rig.advance(Duration::millis(3));
    if (i % 10 == 3) rig.go_solo();
    if (i % 10 == 6 || !rig.solo()) rig.cut();
    if (i % 3 == 0) rig.commit();
    if (i % 2 == 0) rig.durable();
    if (i % 50 == 49) {
      rig.cut();
      rig.commit();
      rig.durable();
      rig.take_over();
    }
    rig.guest(".");
    rig.peer(".");
    delivered = std::max(delivered, rig.flow()->to_peer().una().value() - rig.setup().guest.isn);
    rig.forget_sent();
  }
  EXPECT_EQ(rig.violation(), "");
  EXPECT_GT(delivered, 300'000u);
}

}  // namespace
}  // namespace us
