#include "core/tcp/flow_state.h"

#include <gtest/gtest.h>

#include "core/tcp/relay_sample.h"

namespace us {
namespace {

Bytes encoded(const FlowState& state) {
  Bytes bytes;
  ByteWriter out(bytes);
  encode(state, out);
  return bytes;
}

Result<FlowState> decoded(ByteSpan bytes) {
  ByteReader in(bytes);
  return decode_flow_state(in);
}

template <typename Change>
bool refused(Change change) {
  FlowState state = relay_sample::busy_flow();
  change(state);
  const Result<FlowState> back = decoded(encoded(state));
  return !back && back.error().kind == ErrorKind::kProtocol;
}

TEST(FlowState, IsReadBackAsItWas) {
  for (const FlowState& state : {relay_sample::busy_flow(), relay_sample::new_flow(1)}) {
    const Result<FlowState> back = decoded(encoded(state));
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(*back, state);
  }
}

TEST(FlowState, IsRefusedWhenTruncatedAnywhere) {
  const Bytes bytes = encoded(relay_sample::busy_flow());
  for (size_t n = 0; n < bytes.size(); ++n) EXPECT_FALSE(decoded(ByteSpan(bytes).first(n))) << n;
}

TEST(FlowState, OfAnIdleConnectionIsSmall) {
  const size_t bytes = encoded(relay_sample::new_flow(1)).size();
  EXPECT_EQ(bytes, kFlowStateBytesMin);
}

TEST(FlowState, NumbersOutOfRangeAreRefused) {
  EXPECT_FALSE(refused([](FlowState&) {}));
  EXPECT_TRUE(refused([](FlowState& s) { s.id = FlowId(0); }));
  EXPECT_TRUE(refused([](FlowState& s) { s.egress_capacity = RelayBuffer::kCapacityMax + 1; }));
  EXPECT_TRUE(refused([](FlowState& s) { s.ingress_capacity = RelayBuffer::kCapacityMax + 1; }));
  EXPECT_TRUE(refused([](FlowState& s) { s.peer_clock.bound = s.peer_clock.value - 1; }));
  EXPECT_TRUE(refused([](FlowState& s) { s.guest_clock.bound += TimestampClock::kLeaseTicksMax; }));
  EXPECT_TRUE(refused([](FlowState& s) { s.as_guest.flow_label = 1u << 20; }));
  EXPECT_TRUE(refused([](FlowState& s) { s.as_peer.traffic_class = 1; }));
  EXPECT_TRUE(refused([](FlowState& s) { s.as_peer = relay_sample::new_flow(1).as_peer; }));
  EXPECT_TRUE(refused([](FlowState& s) { s.from_peer.config.window_shift = 15; }));
  EXPECT_TRUE(refused([](FlowState& s) { s.to_guest.mss = 1; }));
}

TEST(FlowState, WithUnknownFlagsOrHeadersIsRefused) {
  const Bytes good = encoded(relay_sample::busy_flow());
  constexpr size_t kFlagsAt = 16, kTemplateAt = 17 + 4 * 6;
  const auto refused_with = [&good](size_t at, uint8_t value) {
    Bytes bytes = good;
    bytes[at] = value;
    return !decoded(bytes);
  };
  EXPECT_FALSE(refused_with(kFlagsAt, good[kFlagsAt]));
  EXPECT_TRUE(refused_with(kFlagsAt, 0x1f));
  EXPECT_TRUE(refused_with(kTemplateAt + 12, 3)) << "VLAN tags";
  EXPECT_TRUE(refused_with(kTemplateAt + 13, 5)) << "IP version";
  EXPECT_TRUE(refused_with(kTemplateAt + 14, 2)) << "don't fragment";
}

TEST(FlowState, WhoseHalvesContradictEachOtherIsRefused) {
  // The peer cannot be owed what the guest has not said, nor the guest what the peer has not.
  EXPECT_TRUE(refused([](FlowState& s) { s.to_peer.committed += 1; }));
  EXPECT_TRUE(refused([](FlowState& s) { s.to_guest.committed += 1; }));
  EXPECT_TRUE(refused([](FlowState& s) { s.to_guest.fin = true; }));
  EXPECT_TRUE(refused([](FlowState& s) { s.to_peer.committed = s.to_peer.committed - 1; })) << "FIN before the end";
  // What is ahead of a hole, and the FIN.
  EXPECT_TRUE(refused([](FlowState& s) { s.from_peer.fin = SeqNum(0x60); }));
  EXPECT_TRUE(refused([](FlowState& s) { s.from_peer.fin = SeqNum(0x2f); }));
  EXPECT_TRUE(refused([](FlowState& s) { s.from_peer.held.clear(); }));
  EXPECT_TRUE(refused([](FlowState& s) { std::swap(s.from_peer.held[0], s.from_peer.held[1]); }));
  EXPECT_TRUE(refused([](FlowState& s) { s.from_peer.ahead[0].end += 1; }));
}

TEST(FlowState, KnowsWhereBytesEndAndWhereTheyAreStillNeeded) {
  FlowState s = relay_sample::busy_flow();
  EXPECT_EQ(stream_end(s.from_guest), SeqNum(0x80)) << "its FIN has been taken";
  EXPECT_EQ(stream_end(s.from_peer), SeqNum(0x10)) << "its FIN waits for the hole";
  EXPECT_EQ(first_needed(s.to_peer), SeqNum(0xffffff80));
  s.to_peer.una = SeqNum(0x81);
  EXPECT_EQ(first_needed(s.to_peer), SeqNum(0x80)) << "the peer has the FIN";
}

}  // namespace
}  // namespace us
