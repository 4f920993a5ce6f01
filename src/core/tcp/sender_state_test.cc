#include "core/tcp/sender_state.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <functional>

#include "core/tcp/sender.h"

namespace us {
namespace {

SenderState usual() {
  SenderState s;
  s.una = SeqNum(0xffffff00);
  s.committed = SeqNum(0x00000100);
  s.fin = true;
  s.sack = true;
  s.mss = 1448;
  s.peer = {.scale = 7, .size = 65535, .largest = 131072, .update_seq = SeqNum(77), .update_ack = SeqNum(0xfffffe00)};
  return s;
}

Bytes encoded(const SenderState& s) {
  Bytes out;
  ByteWriter w(out);
  encode(s, w);
  return out;
}

TEST(SenderState, TheEncodingIsFixed) {
  const Bytes golden{0x00, 0xff, 0xff, 0xff, 0x00, 0x01, 0x00, 0x00, 0x03, 0x07, 0x00, 0x00, 0xa8, 0x05, 0x00, 0x00,
                     0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x4d, 0x00, 0x00, 0x00, 0x00, 0xfe, 0xff, 0xff};
  EXPECT_EQ(encoded(usual()), golden);
  EXPECT_EQ(golden.size(), SenderState::kBytes);
}

TEST(SenderState, TruncationAtEveryOffsetIsRefused) {
  const Bytes whole = encoded(usual());
  for (size_t n = 0; n < whole.size(); ++n) {
    ByteReader in(ByteSpan(whole).first(n));
    EXPECT_FALSE(decode_sender_state(in)) << n;
  }
  ByteReader in(whole);
  EXPECT_EQ(decode_sender_state(in).value(), usual());
}

TEST(SenderState, NumbersOutOfRangeAreRefused) {
  const auto refused = [](const std::function<void(SenderState&)>& spoil) {
    SenderState s = usual();
    spoil(s);
    return !check_sender_state(s) && !Sender::restore(s, SenderConfig());
  };
  EXPECT_TRUE(refused([](SenderState& s) { s.una = s.committed + 2; })) << "beyond the FIN";
  EXPECT_TRUE(refused([](SenderState& s) { s.committed = s.una + (SenderState::kSpanMax + 1); }));
  EXPECT_TRUE(refused([](SenderState& s) { s.mss = 0; }));
  EXPECT_TRUE(refused([](SenderState& s) { s.mss = 70'000; }));
  EXPECT_TRUE(refused([](SenderState& s) { s.peer.scale = 15; }));
  EXPECT_TRUE(refused([](SenderState& s) { s.peer.scale = 0; })) << "the largest window needs a scale";
  EXPECT_TRUE(refused([](SenderState& s) { s.peer.size = s.peer.largest + 1; }));
  EXPECT_TRUE(refused([](SenderState& s) { s.peer.update_ack = s.una + 1; }));
  EXPECT_FALSE(refused([](SenderState& s) { s.una = s.committed + 1; })) << "the FIN acknowledged";
}

TEST(SenderState, UnknownFlagsAreRefused) {
  Bytes spoiled = encoded(usual());
  spoiled[8] |= 0x80;
  ByteReader in(spoiled);
  EXPECT_FALSE(decode_sender_state(in));
}

// Restore law: what is restored says the same of itself, accepts the same ACKs, and sends what was not acknowledged.
TEST(SenderState, RestoreLaw) {
  const SenderConfig config;
  EXPECT_TRUE(rc::check([&config] {
    SenderState s;
    s.una = SeqNum(*rc::gen::arbitrary<uint32_t>());
    s.committed = s.una + *rc::gen::inRange<uint32_t>(0, 200'000);
    s.fin = *rc::gen::arbitrary<bool>();
    s.sack = *rc::gen::arbitrary<bool>();
    s.ecn = *rc::gen::arbitrary<bool>();
    s.mss = *rc::gen::inRange<uint32_t>(SenderState::kMssMin, 9000);
    s.peer.scale = *rc::gen::inRange<uint8_t>(0, 15);
    s.peer.largest = *rc::gen::inRange<uint32_t>(0, 0xffffu << s.peer.scale);
    s.peer.size = *rc::gen::inRange<uint32_t>(0, s.peer.largest + 1);
    s.peer.update_seq = SeqNum(*rc::gen::arbitrary<uint32_t>());
    s.peer.update_ack = s.una - *rc::gen::inRange<uint32_t>(0, 1000);

    Bytes wire;
    ByteWriter w(wire);
    encode(s, w);
    ByteReader in(wire);
    auto sender = Sender::restore(decode_sender_state(in).value(), config).value();
    RC_ASSERT(sender.snapshot() == s);

    // Everything between una and the peer's edge comes out again, in order, under the initial window.
    const Instant now = Instant::from_nanos(1'000'000'000);
    SeqNum next = s.una;
    while (const auto segment = sender.poll_segment(now)) {
      RC_ASSERT(segment->seq == next);
      next += segment->length + (segment->fin ? 1 : 0);
    }
    const uint32_t span = s.una.distance_to(s.limit());
    const uint32_t window = s.peer.edge().after(s.una) ? s.una.distance_to(s.peer.edge()) : 0;
    const uint32_t possible = std::min(span, window);
    const uint32_t initial = static_cast<uint32_t>(sender.cwnd());
    RC_ASSERT(s.una.distance_to(next) >= std::min(possible, initial - initial % s.mss));
    RC_ASSERT(s.una.distance_to(next) <= std::max(std::min(possible, initial), std::min(possible, s.mss)));

    // Rule 4: any ACK up to committed, and none beyond.
    AckInfo beyond;
    beyond.ack = s.limit() + 1;
    RC_ASSERT(sender.on_ack(beyond, now) == AckVerdict::kUnacceptable);
    AckInfo within;
    within.ack = s.una + *rc::gen::inRange<uint32_t>(0, span + 1);
    within.seq = s.peer.update_seq;
    RC_ASSERT(sender.on_ack(within, now) == AckVerdict::kAccepted);
    RC_ASSERT(sender.una() == within.ack);
    RC_ASSERT(sender.snapshot().committed == s.committed);
  }));
}

}  // namespace
}  // namespace us
