#include "core/tcp/frame.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "core/tcp/slow_frame.h"

namespace us {
namespace {

const VnetHeader kPlain;

FrameStatus status_of(const Bytes& bytes, const VnetHeader& vnet = kPlain) {
  FrameView view;
  return parse_frame(bytes, static_cast<uint32_t>(bytes.size()), vnet, view);
}

FrameView parsed(const Bytes& bytes, const VnetHeader& vnet = kPlain) {
  FrameView view;
  EXPECT_EQ(parse_frame(bytes, static_cast<uint32_t>(bytes.size()), vnet, view), FrameStatus::kTcp);
  return view;
}

bool checksum_ok(const FrameView& view, const Bytes& bytes) {
  const ByteSpan payload = ByteSpan(bytes).subspan(view.payload_offset, view.segment.payload_length);
  return verify_tcp_checksum(view, {&payload, 1});
}

VnetHeader offload(const SlowFrame& f, uint16_t gso_size = 0) {
  VnetHeader v;
  v.flags = VnetHeader::kNeedsChecksum;
  v.checksum_start = static_cast<uint16_t>(f.tcp_offset());
  v.checksum_offset = 16;
  v.gso_size = gso_size;
  if (gso_size != 0) v.gso_type = f.v6 ? VnetHeader::kGsoTcp6 : VnetHeader::kGsoTcp4;
  return v;
}

TEST(Frame, ReadsEveryFieldOfAnIpv4Segment) {
  SlowFrame f;
  f.traffic_class = 0xb9;  // DSCP 46, ECT(1)
  f.hop_limit = 57;
  f.seq = 0xfffffff0;
  f.ack = 0x01020304;
  f.flags = 0x1ff & ~0x22;  // all but SYN and URG
  f.options = {1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 6};
  f.payload = {'h', 'e', 'l', 'l', 'o'};
  f.padding = 7;
  const Bytes bytes = f.bytes();
  const FrameView v = parsed(bytes);
  EXPECT_EQ(to_string(v.source()), "192.0.2.1:4000");
  EXPECT_EQ(to_string(v.destination()), "198.51.100.2:80");
  EXPECT_EQ(v.traffic_class, 0xb9);
  EXPECT_EQ(v.hop_limit, 57);
  EXPECT_EQ(v.ip_id, 0x1234);
  EXPECT_TRUE(v.dont_fragment);
  EXPECT_FALSE(v.ip_options);
  EXPECT_EQ(v.payload_offset, 14 + 20 + 32);
  const Segment& s = v.segment;
  EXPECT_EQ(s.seq, SeqNum(0xfffffff0));
  EXPECT_EQ(s.ack, SeqNum(0x01020304));
  EXPECT_EQ(s.flags, 0x1ff & ~0x22);
  EXPECT_EQ(s.window, 500);
  EXPECT_EQ(s.payload_length, 5u);  // not the padding
  EXPECT_EQ(s.ecn, Ecn::kEct1);
  EXPECT_EQ(s.options.timestamps, (Timestamps{5, 6}));
  EXPECT_EQ(s.seq_length(), 6u);  // and the FIN
  EXPECT_TRUE(checksum_ok(v, bytes));
}

TEST(Frame, ReadsIpv6BehindTwoVlanTags) {
  SlowFrame f = SlowFrame::ipv6();
  f.vlans = {0x88a80064, 0x81002005};
  f.traffic_class = 3;
  f.payload = Bytes(33, 7);
  const Bytes bytes = f.bytes();
  const FrameView v = parsed(bytes);
  EXPECT_EQ(v.vlan_tags, 2);
  EXPECT_EQ(v.flow_label, 0x54321u);
  EXPECT_EQ(to_string(v.source()), "[2001:db8::1]:4000");
  EXPECT_EQ(v.segment.ecn, Ecn::kCe);
  EXPECT_EQ(v.segment.payload_length, 33u);
  EXPECT_TRUE(checksum_ok(v, bytes));
}

TEST(Frame, AWrongChecksumIsFoundUnlessSomebodyElseVouchesForIt) {
  SlowFrame f;
  f.payload = Bytes(100, 9);
  Bytes bytes = f.bytes();
  bytes.back() ^= 1;
  EXPECT_FALSE(checksum_ok(parsed(bytes), bytes));
  EXPECT_TRUE(checksum_ok(parsed(bytes, offload(f)), bytes));
  VnetHeader valid;
  valid.flags = VnetHeader::kDataValid;
  EXPECT_TRUE(checksum_ok(parsed(bytes, valid), bytes));
}

TEST(Frame, WhatIsNotATcpSegmentIsNamed) {
  SlowFrame f;
  EXPECT_EQ(status_of(f.bytes()), FrameStatus::kTcp);
  f.protocol = 17;
  EXPECT_EQ(status_of(f.bytes()), FrameStatus::kNotTcp);
  f = SlowFrame();
  for (const int fragment : {0x2000, 0x0001, 0x1fff, 0x6000}) {
    f.fragment = static_cast<uint16_t>(fragment);
    EXPECT_EQ(status_of(f.bytes()), FrameStatus::kFragment) << fragment;
  }
  f = SlowFrame();
  f.vlans = {0x81000001, 0x81000002, 0x81000003};
  EXPECT_EQ(status_of(f.bytes()), FrameStatus::kTooManyVlanTags);
  Bytes arp(60, 0);
  arp[12] = 0x08;
  arp[13] = 0x06;
  EXPECT_EQ(status_of(arp), FrameStatus::kNotIp);
  EXPECT_EQ(status_of(Bytes(13, 0)), FrameStatus::kTruncated);
}

TEST(Frame, IpOptionsAndExtensionHeadersAreSkippedButStandInTheWayOfTheRelay) {
  SlowFrame f;
  EXPECT_EQ(relay_obstacle(parsed(f.bytes())), RelayObstacle::kNone);
  f.ip_options = {1, 1, 1, 0};
  Bytes bytes = f.bytes();
  FrameView v = parsed(bytes);
  EXPECT_EQ(v.segment.destination_port, 80);
  EXPECT_EQ(relay_obstacle(v), RelayObstacle::kIpOptions);

  SlowFrame g = SlowFrame::ipv6();
  g.first_next = 0;                                                         // hop-by-hop, then
  g.extension_headers = {60, 0, 1, 4, 0, 0, 0, 0, 6, 1, 1, 4, 0, 0, 0, 0};  // destination options of 16 bytes
  g.extension_headers.resize(24);
  bytes = g.bytes();
  v = parsed(bytes);
  EXPECT_EQ(v.tcp_offset, 14 + 40 + 24);
  EXPECT_EQ(relay_obstacle(v), RelayObstacle::kIpOptions);
  EXPECT_TRUE(checksum_ok(v, bytes));
}

TEST(Frame, ExtensionHeadersAreFollowedOnlyWithinLimits) {
  SlowFrame f = SlowFrame::ipv6();
  f.first_next = 60;
  for (int i = 0; i < 5; ++i)
    for (const int byte : {i == 4 ? 6 : 60, 0, 1, 4, 0, 0, 0, 0})
      f.extension_headers.push_back(static_cast<uint8_t>(byte));
  EXPECT_EQ(status_of(f.bytes()), FrameStatus::kTooManyExtensionHeaders);
  f.extension_headers = {6, 16};  // 136 bytes
  f.extension_headers.resize(136);
  EXPECT_EQ(status_of(f.bytes()), FrameStatus::kTooManyExtensionHeaders);
  f.first_next = 44;
  f.extension_headers = {6, 0, 0, 0, 0, 0, 0, 1};
  EXPECT_EQ(status_of(f.bytes()), FrameStatus::kFragment);
  f.first_next = 50;
  EXPECT_EQ(status_of(f.bytes()), FrameStatus::kNotTcp);
}

TEST(Frame, HeadersThatContradictThemselvesAreMalformed) {
  const SlowFrame f;
  Bytes bytes = f.bytes();
  bytes[14] = 0x65;
  EXPECT_EQ(status_of(bytes), FrameStatus::kBadIpHeader);
  bytes = f.bytes();
  bytes[14] = 0x44;
  EXPECT_EQ(status_of(bytes), FrameStatus::kBadIpHeader);
  bytes = f.bytes();
  bytes[17] = 19;  // total length below the header's
  EXPECT_EQ(status_of(bytes), FrameStatus::kBadIpHeader);
  bytes = f.bytes();
  bytes[22] ^= 1;
  EXPECT_EQ(status_of(bytes), FrameStatus::kBadIpChecksum);
  bytes = f.bytes();
  bytes[34 + 12] = 0x40;
  EXPECT_EQ(status_of(bytes), FrameStatus::kBadTcpHeader);
  bytes[34 + 12] = 0x60;  // options beyond the packet
  EXPECT_EQ(status_of(bytes), FrameStatus::kBadTcpHeader);
  // A packet that ends inside the TCP header, in a frame that goes on.
  SlowFrame six = SlowFrame::ipv6();
  six.padding = 40;
  bytes = six.bytes();
  bytes[14 + 5] = 19;
  EXPECT_EQ(status_of(bytes), FrameStatus::kTruncated);
}

TEST(Frame, EveryTruncationIsRefused) {
  SlowFrame six = SlowFrame::ipv6();
  six.vlans = {0x81000001};
  SlowFrame four;
  four.options = Bytes(40, 1);
  for (SlowFrame* f : {&four, &six}) {
    f->payload = Bytes(50, 1);
    const Bytes bytes = f->bytes();
    for (size_t n = 0; n < bytes.size(); ++n)
      EXPECT_EQ(status_of(Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n))),
                FrameStatus::kTruncated)
          << n;
  }
}

TEST(Frame, ASuperSegmentNeedsOnlyItsHeadInOnePiece) {
  SlowFrame f;
  f.options = {1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 6};
  f.payload = Bytes(65'000, 3);
  const Bytes bytes = f.bytes();
  FrameView v;
  ASSERT_EQ(parse_frame(ByteSpan(bytes).first(FrameView::kHeadBytes), static_cast<uint32_t>(bytes.size()),
                        offload(f, 1448), v),
            FrameStatus::kTcp);
  EXPECT_EQ(v.segment.payload_length, 65'000u);
  EXPECT_EQ(v.segment.gso_size, 1448);
  EXPECT_EQ(v.segment.wire_payload(), 1448u);
  EXPECT_EQ(v.checksum, TcpChecksum::kPartial);
}

TEST(Frame, AnOffloadRequestThatDoesNotFitTheFrameIsRefused) {
  SlowFrame f;
  f.payload = Bytes(5000, 3);
  const Bytes bytes = f.bytes();
  EXPECT_EQ(status_of(bytes, offload(f, 1448)), FrameStatus::kTcp);
  VnetHeader v = offload(f);
  v.checksum_start += 2;
  EXPECT_EQ(status_of(bytes, v), FrameStatus::kBadOffload);
  v = offload(f);
  v.checksum_offset = 6;
  EXPECT_EQ(status_of(bytes, v), FrameStatus::kBadOffload);
  v = offload(f, 1448);
  v.gso_type = VnetHeader::kGsoTcp6;
  EXPECT_EQ(status_of(bytes, v), FrameStatus::kBadOffload);
  v.gso_type = 3;  // UDP
  EXPECT_EQ(status_of(bytes, v), FrameStatus::kBadOffload);
  v = offload(f, 1448);
  v.gso_size = 0;
  EXPECT_EQ(status_of(bytes, v), FrameStatus::kBadOffload);
  v = offload(f, 1448);
  v.flags = 0;
  EXPECT_EQ(status_of(bytes, v), FrameStatus::kBadOffload);
  v = offload(f, 1448);
  v.gso_type |= VnetHeader::kGsoEcn;
  EXPECT_EQ(status_of(bytes, v), FrameStatus::kTcp);
}

TEST(Frame, NamesWhyAHandshakeIsNotRelayed) {  // tcp.md, rule 8
  const auto obstacle = [](uint16_t flags, Bytes options, Bytes payload) {
    SlowFrame f;
    f.flags = flags;
    f.options = std::move(options);
    f.payload = std::move(payload);
    const Bytes bytes = f.bytes();
    return relay_obstacle(parsed(bytes));
  };
  EXPECT_EQ(obstacle(0x02, {2, 4, 5, 0xb4}, {}), RelayObstacle::kNone);
  EXPECT_EQ(obstacle(0x02, {}, {1}), RelayObstacle::kSynData);
  EXPECT_EQ(obstacle(0x03, {}, {}), RelayObstacle::kSynData);
  EXPECT_EQ(obstacle(0x02, {34, 2, 1, 1}, {}), RelayObstacle::kFastOpen);
  EXPECT_EQ(obstacle(0x02, {30, 4, 0, 1}, {}), RelayObstacle::kMultipath);
  EXPECT_EQ(obstacle(0x02, {29, 4, 0, 0}, {}), RelayObstacle::kAo);
  EXPECT_EQ(obstacle(0x02, {99, 4, 0, 0}, {}), RelayObstacle::kUnknownOption);
  EXPECT_EQ(obstacle(0x02, {99, 0, 0, 0}, {}), RelayObstacle::kMalformedOptions);
  EXPECT_EQ(obstacle(0x1c2, {}, {}), RelayObstacle::kAccurateEcn);
  EXPECT_EQ(obstacle(0x30, {}, {1}), RelayObstacle::kUrgent);
  Bytes md5(20, 1);
  md5[0] = 19;
  md5[1] = 18;
  EXPECT_EQ(obstacle(0x02, md5, {}), RelayObstacle::kMd5);
}

RC_GTEST_PROP(Frame, AnyBytesCanBeReadWithoutHarm, ()) {
  SlowFrame f = *rc::gen::arbitrary<bool>() ? SlowFrame::ipv6() : SlowFrame();
  f.payload = Bytes(*rc::gen::inRange<size_t>(0, 300), 5);
  Bytes bytes = f.bytes();
  const int flips = *rc::gen::inRange(0, 8);
  for (int i = 0; i < flips; ++i)
    bytes[*rc::gen::inRange<size_t>(0, std::min<size_t>(bytes.size(), 90))] = *rc::gen::arbitrary<uint8_t>();
  bytes.resize(*rc::gen::inRange<size_t>(0, bytes.size() + 1));
  FrameView v;
  if (parse_frame(bytes, static_cast<uint32_t>(bytes.size()), kPlain, v) == FrameStatus::kTcp) {
    RC_ASSERT(v.payload_offset + v.segment.payload_length <= bytes.size());
    checksum_ok(v, bytes);
  }
}

}  // namespace
}  // namespace us
