#include "core/virtio/vhost_user.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace us {
namespace {

Bytes header(uint32_t request, uint32_t flags, uint32_t bytes) {
  Bytes out;
  ByteWriter w(out);
  w.le(request);
  w.le(flags);
  w.le(bytes);
  return out;
}

TEST(VhostUser, RefusesAHeaderThatMakesNoSense) {
  EXPECT_TRUE(decode_vhost_user_header(header(1, 1, 0)).has_value());
  EXPECT_TRUE(decode_vhost_user_header(header(1, 9, 0))->need_reply);
  EXPECT_FALSE(decode_vhost_user_header(header(0, 1, 0)).has_value()) << "unknown request";
  EXPECT_FALSE(decode_vhost_user_header(header(37, 1, 8)).has_value()) << "request that was not offered";
  EXPECT_FALSE(decode_vhost_user_header(header(1, 2, 0)).has_value()) << "another version";
  EXPECT_FALSE(decode_vhost_user_header(header(1, 5, 0)).has_value()) << "a reply";
  EXPECT_FALSE(decode_vhost_user_header(header(1, 1, 8)).has_value()) << "payload where there is none";
  EXPECT_FALSE(decode_vhost_user_header(header(2, 1, 4)).has_value()) << "payload too short";
  EXPECT_FALSE(decode_vhost_user_header(header(5, 1, 8 + 9 * 32)).has_value()) << "more regions than allowed";
  EXPECT_FALSE(decode_vhost_user_header(header(5, 1, 0xffffffff)).has_value());
  EXPECT_FALSE(decode_vhost_user_header(Bytes(11)).has_value());
}

TEST(VhostUser, DecodesARingAddress) {
  Bytes payload;
  ByteWriter w(payload);
  w.le(uint32_t{1});
  w.le(uint32_t{0});
  for (const uint64_t v : {0x1000, 0x2000, 0x3000, 0x4000}) w.le(v);
  const auto m = decode_vhost_user({VhostUserRequest::kSetVringAddr, 40, false}, payload);
  ASSERT_TRUE(m.has_value());
  EXPECT_EQ(m->ring, 1u);
  EXPECT_EQ(m->descriptors_user, 0x1000u);
  EXPECT_EQ(m->used_user, 0x2000u) << "used comes before available";
  EXPECT_EQ(m->avail_user, 0x3000u);
}

TEST(VhostUser, DecodesAMemoryTable) {
  Bytes payload;
  ByteWriter w(payload);
  w.le(uint32_t{2});
  w.le(uint32_t{0});
  for (uint64_t v = 1; v <= 8; ++v) w.le(v);
  const auto m = decode_vhost_user({VhostUserRequest::kSetMemTable, 72, false}, payload);
  ASSERT_TRUE(m.has_value());
  ASSERT_EQ(m->regions.size(), 2u);
  EXPECT_EQ(m->fd_count(), 2u);
  EXPECT_EQ(m->regions[1].guest.value(), 5u);
  EXPECT_EQ(m->regions[1].bytes, 6u);
  EXPECT_EQ(m->regions[1].user, 7u);
  EXPECT_EQ(m->regions[1].file_offset, 8u);
}

TEST(VhostUser, RefusesAMemoryTableThatNamesMoreRegionsThanItHas) {
  for (const uint32_t count : {2u, 9u, 0xffffffffu}) {
    Bytes payload;
    ByteWriter w(payload);
    w.le(count);
    w.zeros(4 + 32);
    EXPECT_FALSE(decode_vhost_user({VhostUserRequest::kSetMemTable, 40, false}, payload).has_value()) << count;
  }
}

TEST(VhostUser, KnowsWhetherADescriptorComesAlong) {
  for (const uint64_t value : {uint64_t{0x001}, uint64_t{0x101}}) {
    Bytes payload;
    ByteWriter(payload).le(value);
    const auto m = decode_vhost_user({VhostUserRequest::kSetVringCall, 8, false}, payload);
    ASSERT_TRUE(m.has_value());
    EXPECT_EQ(m->ring, 1u);
    EXPECT_EQ(m->fd_count(), value == 1 ? 1u : 0u);
  }
}

TEST(VhostUser, EveryTruncationOfEveryPayloadIsRefusedOrWhole) {
  Rng rng(5);
  for (uint32_t request = 0; request < 45; ++request) {
    for (uint32_t bytes = 0; bytes <= 300; ++bytes) {
      const auto h = decode_vhost_user_header(header(request, 1, bytes));
      if (!h) continue;
      Bytes payload(bytes);
      for (uint8_t& b : payload) b = static_cast<uint8_t>(rng.below(4));
      const auto m = decode_vhost_user(*h, payload);
      EXPECT_TRUE(!m || m->fd_count() <= kVhostUserFdsMax);
    }
  }
}

TEST(VhostUser, AnswersCarryTheReplyFlag) {
  const Bytes a = encode_vhost_user_ring_state(VhostUserRequest::kGetVringBase, 1, 0x1234);
  EXPECT_EQ(a, (Bytes{11, 0, 0, 0, 5, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0x34, 0x12, 0, 0}));
  const Bytes b = encode_vhost_user_u64(VhostUserRequest::kGetFeatures, 0x1'0000'0002);
  EXPECT_EQ(b, (Bytes{1, 0, 0, 0, 5, 0, 0, 0, 8, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0}));
}

}  // namespace
}  // namespace us
