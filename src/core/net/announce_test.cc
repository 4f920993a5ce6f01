#include "core/net/announce.h"

#include <gtest/gtest.h>

namespace us {
namespace {

constexpr MacAddress kMac = {0x52, 0x54, 0, 1, 2, 3};

Bytes bytes_of(const EthernetFrame& f) { return {f.ethernet().begin(), f.ethernet().end()}; }

Bytes padded(Bytes b) {
  b.resize(60);
  return b;
}

TEST(Announce, SendsRarpAloneWhenNoAddressIsKnown) {
  const auto frames = announcement(kMac, {});
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(bytes_of(frames[0]),
            padded({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 1, 2, 3, 0x80, 0x35,  // to all, RARP
                    0,    1,    8,    0,    6,    4,    0,    3,                             // "who am I?"
                    0x52, 0x54, 0,    1,    2,    3,    0,    0,    0, 0,                    // sender
                    0x52, 0x54, 0,    1,    2,    3,    0,    0,    0, 0}));                 // target
}

TEST(Announce, SendsBothFormsOfGratuitousArp) {
  LearnedAddress a;
  a.bytes = {10, 0, 0, 7};
  const auto frames = announcement(kMac, {&a, 1});
  ASSERT_EQ(frames.size(), 3u);
  EXPECT_EQ(bytes_of(frames[1]), padded({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 1, 2, 3, 8, 6,  //
                                         0,    1,    8,    0,    6,    4,    0,    1,                       // request
                                         0x52, 0x54, 0,    1,    2,    3,    10,   0,    0, 7,              //
                                         0,    0,    0,    0,    0,    0,    10,   0,    0, 7}));
  EXPECT_EQ(bytes_of(frames[2]), padded({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 1, 2, 3, 8, 6,  //
                                         0,    1,    8,    0,    6,    4,    0,    2,                       // reply
                                         0x52, 0x54, 0,    1,    2,    3,    10,   0,    0, 7,              //
                                         0x52, 0x54, 0,    1,    2,    3,    10,   0,    0, 7}));
}

TEST(Announce, SendsAnUnsolicitedNeighbourAdvertisementWithARightChecksum) {
  LearnedAddress a;
  a.v6 = true;
  a.bytes = {0xfd, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2};
  const auto frames = announcement(kMac, {&a, 1});
  ASSERT_EQ(frames.size(), 2u);
  const Bytes f = bytes_of(frames[1]);
  ASSERT_EQ(f.size(), 14u + 40 + 32);
  EXPECT_EQ(Bytes(f.begin(), f.begin() + 14), (Bytes{0x33, 0x33, 0, 0, 0, 1, 0x52, 0x54, 0, 1, 2, 3, 0x86, 0xdd}));
  const uint8_t* ip = f.data() + 14;
  EXPECT_EQ(load_be<uint16_t>(ip + 4), 32);
  EXPECT_EQ(ip[6], 58);
  EXPECT_EQ(ip[7], 255) << "RFC 4861, 7.1.2: receivers discard any other hop limit";
  EXPECT_EQ(ip[40], 136);
  EXPECT_EQ(ip[44], 0x20) << "override, neither router nor solicited";
  EXPECT_EQ(Bytes(ip + 48, ip + 64), Bytes(a.bytes.begin(), a.bytes.end()));
  EXPECT_EQ(Bytes(ip + 64, ip + 72), (Bytes{2, 1, 0x52, 0x54, 0, 1, 2, 3}));
  // RFC 1071: pseudo-header and message with its checksum sum up to all ones.
  uint32_t sum = 32 + 58;
  for (size_t i = 8; i < 72; i += 2) sum += load_be<uint16_t>(ip + i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  EXPECT_EQ(sum, 0xffffu);
}

TEST(Announce, NeedsNoOffload) {
  for (const EthernetFrame& f : announcement(kMac, {})) {
    EXPECT_EQ(f.header().flags, 0);
    EXPECT_EQ(f.header().gso_type, VnetHeader::kGsoNone);
  }
}

}  // namespace
}  // namespace us
