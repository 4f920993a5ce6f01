// The table of flows: which frame is whose, sleep and waking, reports of routers.  The rules of a flow itself are
// tested in flow_rules_test.cc.
#include <gtest/gtest.h>

#include "core/tcp/relay.h"
#include "core/tcp/slow_frame.h"

namespace us {
namespace {

constexpr uint16_t kSyn = 0x02, kAck = 0x10, kSynAck = 0x12, kPshAck = 0x18;
const Bytes kSynOptions = {2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 100, 0, 0, 0, 0, 1, 3, 3, 7};

class RelayTable : public testing::Test {
 protected:
  // A frame of connection number `n` in VLAN `vlan` (0: untagged).  The client listens on nothing, the guest on
  // port 80.
  SlowFrame frame(bool from_guest, uint16_t n, uint16_t vlan, uint16_t flags, uint32_t seq, uint32_t ack) const {
    SlowFrame f;
    if (vlan != 0) f.vlans = {0x81000000u | vlan};
    f.source_port = from_guest ? 80 : n;
    f.destination_port = from_guest ? n : 80;
    if (from_guest) std::swap(f.source, f.destination);
    f.flags = flags;
    f.seq = seq;
    f.ack = ack;
    if ((flags & kSyn) != 0) {
      f.options = kSynOptions;
    } else {
      f.options = {1, 1, 8, 10, 0, 0, 0, 101, 0, 0, 0, 100};
    }
    return f;
  }
  Relay::Disposition give(bool from_guest, const SlowFrame& f) {
    const Bytes bytes = f.bytes();
    return from_guest ? relay.on_guest_frame({}, bytes, now) : relay.on_uplink_frame({}, bytes, now);
  }
  void open(uint16_t n, uint16_t vlan = 0) {
    give(false, frame(false, n, vlan, kSyn, 999, 0));
    give(true, frame(true, n, vlan, kSynAck, 4999, 1000));
    ASSERT_EQ(give(false, frame(false, n, vlan, kAck, 1000, 5000)), Relay::Disposition::kTaken);
    drain();
  }
  std::vector<FlowFrame> to_uplink, to_guest;
  void drain() {
    to_uplink.clear();
    to_guest.clear();
    while (auto f = relay.poll_to_uplink(now)) to_uplink.push_back(std::move(*f));
    while (auto f = relay.poll_to_guest(now)) to_guest.push_back(std::move(*f));
  }
  void pass(Duration time) {
    const Instant end = now + time;
    while (relay.next_deadline() <= end) {
      now = std::max(now, relay.next_deadline());
      relay.on_deadline(now);
      drain();
    }
    now = end;
  }
  FrameView view(const FlowFrame& f) {
    FrameView out;
    seen = Bytes(f.header.span().begin(), f.header.span().end());
    for (const ByteSpan piece : f.payload.pieces()) seen.insert(seen.end(), piece.begin(), piece.end());
    EXPECT_EQ(parse_frame(seen, static_cast<uint32_t>(seen.size()), f.header.vnet, out), FrameStatus::kTcp);
    return out;
  }
  size_t awake() const {
    size_t n = 0;
    relay.for_each_flow([&](const FlowKey&, const FlowSlot& slot) { n += slot.awake() != nullptr ? 1 : 0; });
    return n;
  }

  RelayLog log;
  Relay relay{0, RelayLimits{}, 1, log};
  Instant now = Instant::from_nanos(1'000'000'000);
  Bytes seen;
};

TEST_F(RelayTable, TheSameAddressesInTwoVlansAreTwoConnections) {
  open(4000, 5);
  open(4000, 6);
  open(4000);
  EXPECT_EQ(relay.size(), 3u);
  SlowFrame said = frame(true, 4000, 6, kPshAck, 5000, 1000);
  said.payload = Bytes(10, 'x');
  EXPECT_EQ(give(true, said), Relay::Disposition::kTaken);
  drain();
  ASSERT_EQ(to_uplink.size(), 1u);
  EXPECT_EQ(view(to_uplink[0]).vlan_ids, 6u);
}

TEST_F(RelayTable, ARoutersReportMakesTheRelaysSegmentsSmaller) {  // rule 9
  open(4000);
  SlowFrame said = frame(true, 4000, 0, kAck, 5000, 1000);
  said.payload = Bytes(1448, 'x');
  give(true, said);
  drain();
  ASSERT_EQ(to_uplink.size(), 1u);
  EXPECT_EQ(view(to_uplink[0]).segment.payload_length, 1448u);

  // A router between guest and client says that this frame does not pass.
  SlowFrame sent = frame(true, 4000, 0, kAck, 5000, 1000);
  sent.payload = Bytes(1448, 'x');
  Bytes icmp{3, 4, 0, 0, 0, 0, 1400 >> 8, 1400 & 255};
  const Bytes quoted = sent.bytes();
  icmp.insert(icmp.end(), quoted.begin() + 14, quoted.begin() + 14 + 28);
  const uint16_t sum = slow_internet_checksum(icmp);
  icmp[2] = static_cast<uint8_t>(sum >> 8);
  icmp[3] = static_cast<uint8_t>(sum);
  SlowFrame outer;
  outer.destination = sent.source;
  outer.source = {203, 0, 113, 9};
  outer.protocol = 1;
  Bytes report(12, 9);
  ByteWriter w(report);
  w.be(uint16_t{0x0800});
  w.bytes(outer.ip_header(icmp.size()));
  w.bytes(icmp);
  EXPECT_EQ(relay.on_uplink_frame({}, report, now), Relay::Disposition::kTaken);
  EXPECT_EQ(relay.counters().packets_too_big, 1u);
  drain();
  ASSERT_FALSE(to_uplink.empty()) << "the lost segment is sent again at once";
  const FrameView again = view(to_uplink[0]);
  EXPECT_EQ(again.segment.seq, SeqNum(5000));
  EXPECT_LE(std::max<uint32_t>(again.segment.wire_payload(), to_uplink[0].header.vnet.gso_size), 1400u - 52u);
}

TEST_F(RelayTable, ASilentConnectionSleepsInAFewHundredBytesAndGoesOnWhereItWas) {
  open(4000);
  SlowFrame said = frame(true, 4000, 0, kPshAck, 5000, 1000);
  said.payload = Bytes(100, 'x');
  give(true, said);
  drain();
  ASSERT_EQ(to_uplink.size(), 1u);
  const uint32_t stamp = view(to_uplink[0]).segment.options.timestamps->value;
  SlowFrame ack = frame(false, 4000, 0, kAck, 1000, 5100);
  give(false, ack);
  drain();
  pass(Relay::kSilence / 2);
  EXPECT_EQ(awake(), 1u);
  pass(Relay::kSilence * 3);
  EXPECT_EQ(awake(), 0u);
  EXPECT_EQ(relay.next_deadline(), Instant::far_future());
  relay.for_each_flow([](const FlowKey&, const FlowSlot& slot) {
    EXPECT_LT(slot.memory_bytes(), 500u);
    EXPECT_EQ(slot.counters().egress_bytes, 100u);
  });

  said.seq = 5100;
  EXPECT_EQ(give(true, said), Relay::Disposition::kTaken);
  drain();
  ASSERT_EQ(to_uplink.size(), 1u);
  const FrameView woken = view(to_uplink[0]);
  EXPECT_EQ(woken.segment.seq, SeqNum(5100));
  EXPECT_EQ(woken.segment.ack, SeqNum(1000));
  EXPECT_GT(static_cast<int32_t>(woken.segment.options.timestamps->value - stamp), 9000) << "time went on";
  EXPECT_EQ(awake(), 1u);
}

TEST_F(RelayTable, AFlowWithSomethingUnderWayNeverSleeps) {
  open(4000);
  SlowFrame said = frame(false, 4000, 0, kPshAck, 1000, 5000);
  said.payload = Bytes(100, 'x');
  give(false, said);  // the guest does not acknowledge it
  drain();
  pass(Relay::kSilence * 3);
  EXPECT_EQ(awake(), 1u);
}

TEST_F(RelayTable, SleepingFlowsAreInTheFirstCutOfASession) {
  open(4000);
  open(4001);
  pass(Relay::kSilence * 3);
  ASSERT_EQ(awake(), 0u);
  relay.set_solo(false, now);
  log.begin_session();
  relay.begin_session(now);
  std::vector<FlowState> changed;
  std::vector<FlowId> ended;
  relay.on_cut(Epoch{1}, now, changed, ended);
  EXPECT_EQ(changed.size(), 2u);
  relay.on_commit(Epoch{1}, now);
  drain();
  changed.clear();
  pass(Relay::kSilence * 3);
  EXPECT_EQ(awake(), 0u);
  relay.on_cut(Epoch{2}, now, changed, ended);
  EXPECT_TRUE(changed.empty()) << "idle flows cost an epoch nothing";
}

// Modes change while connections live: what became durable before early ACKs were switched on must not be forgotten.
TEST_F(RelayTable, EarlyAcksToThePeerMayBeSwitchedOnInTheMiddleOfATransfer) {
  open(4000);
  relay.set_solo(false, now);
  log.begin_session();
  relay.begin_session(now);
  RelayOptions options;
  options.ack_peer = false;
  relay.set_options(options, now);
  SlowFrame heard = frame(false, 4000, 0, kPshAck, 1000, 5000);
  heard.payload = Bytes(100, 'x');
  give(false, heard);
  drain();
  relay.on_ingress_durable(FlowId{1}, {SeqNum(1000), SeqNum(1100)}, now);
  options.ack_peer = true;
  relay.set_options(options, now);
  SlowFrame acked = frame(true, 4000, 0, kAck, 5000, 1100);
  give(true, acked);
  std::vector<FlowState> changed;
  std::vector<FlowId> ended;
  relay.on_cut(Epoch{1}, now, changed, ended);
  relay.on_commit(Epoch{1}, now);
  drain();
  pass(Duration::millis(200));
  size_t undurable = 1;
  relay.for_each_flow([&](const FlowKey&, const FlowSlot& slot) { undurable = slot.awake()->undurable_bytes(); });
  EXPECT_EQ(undurable, 0u);
}

TEST_F(RelayTable, WhatIsNotRelayedIsListedWithItsReason) {
  SlowFrame syn = frame(false, 4000, 0, kSyn, 999, 0);
  syn.payload = Bytes(5, 'x');
  give(false, syn);
  give(true, frame(true, 4000, 0, kSynAck, 4999, 1000));
  EXPECT_EQ(give(false, frame(false, 4000, 0, kAck, 1000, 5000)), Relay::Disposition::kPass);
  ASSERT_EQ(relay.unrelayed().size(), 1u);
  EXPECT_EQ(relay.unrelayed()[0].obstacle, RelayObstacle::kSynData);
  EXPECT_EQ(relay.unrelayed()[0].key.peer.port, 4000);
}

}  // namespace
}  // namespace us
