#include "core/replica/wire_heartbeat.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <xxhash.h>

#include "core/replica/wire_samples.h"

namespace us {
namespace {

// The datagram with one byte changed and the checksum made right again.
std::array<uint8_t, kHeartbeatBytes> changed(size_t at, uint8_t value) {
  auto datagram = encode_heartbeat(wire_samples::heartbeat());
  datagram[at] = value;
  store_le(datagram.data() + kHeartbeatBytes - 8,
           static_cast<uint64_t>(XXH3_64bits(datagram.data(), kHeartbeatBytes - 8)));
  return datagram;
}

TEST(Heartbeat, ComesBackAsItWasSentInASmallDatagram) {
  static_assert(kHeartbeatBytes <= 128);
  const auto datagram = encode_heartbeat(wire_samples::heartbeat());
  const Result<Heartbeat> back = decode_heartbeat(datagram);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(*back, wire_samples::heartbeat());
}

TEST(Heartbeat, OfAnyOtherSizeIsRefused) {
  const auto datagram = encode_heartbeat(wire_samples::heartbeat());
  Bytes bytes(datagram.begin(), datagram.end());
  for (size_t n = 0; n < bytes.size(); ++n) EXPECT_FALSE(decode_heartbeat(ByteSpan(bytes).first(n))) << n;
  bytes.push_back(0);
  EXPECT_FALSE(decode_heartbeat(bytes));
}

TEST(Heartbeat, WithAFlippedBitIsRefused) {
  auto datagram = encode_heartbeat(wire_samples::heartbeat());
  for (size_t bit = 0; bit < datagram.size() * 8; ++bit) {
    datagram[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
    EXPECT_FALSE(decode_heartbeat(datagram)) << "bit " << bit;
    datagram[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
  }
}

TEST(Heartbeat, WithAnUnknownValueIsRefusedThoughItsChecksumIsRight) {
  EXPECT_TRUE(decode_heartbeat(changed(6, 1)));
  EXPECT_FALSE(decode_heartbeat(changed(0, 'X')));
  EXPECT_FALSE(decode_heartbeat(changed(4, 9)));      // version
  EXPECT_FALSE(decode_heartbeat(changed(6, 0)));      // role
  EXPECT_FALSE(decode_heartbeat(changed(6, 3)));      // role
  EXPECT_FALSE(decode_heartbeat(changed(7, 1)));      // reserved
  EXPECT_FALSE(decode_heartbeat(changed(72, 0x20)));  // health
  EXPECT_FALSE(decode_heartbeat(changed(76, 1)));     // reserved
}

RC_GTEST_PROP(HeartbeatProperty, AnyHeartbeatComesBackAsItWasSent, ()) {
  const auto any = [] { return *rc::gen::arbitrary<uint64_t>(); };
  Heartbeat h;
  h.role = any() % 2 == 0 ? HeartbeatRole::kPrimary : HeartbeatRole::kStandby;
  h.session = SessionId{any()};
  h.generation = Generation{any()};
  h.sequence = any();
  h.echo_sequence = any();
  h.sent_at = any();
  h.echo_sent_at = any();
  h.epoch = Epoch{any()};
  h.committed = Epoch{any()};
  h.health = static_cast<uint32_t>(any()) & kHealthMask;
  const Result<Heartbeat> back = decode_heartbeat(encode_heartbeat(h));
  RC_ASSERT(back.has_value());
  RC_ASSERT(*back == h);
}

}  // namespace
}  // namespace us
