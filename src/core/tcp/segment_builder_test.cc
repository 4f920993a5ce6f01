#include "core/tcp/segment_builder.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "core/tcp/slow_frame.h"

namespace us {
namespace {

// The frame of `f` with the headers of the test's own making.
FrameTemplate template_of(const SlowFrame& f) {
  const Bytes bytes = f.bytes();
  FrameView view;
  EXPECT_EQ(parse_frame(bytes, static_cast<uint32_t>(bytes.size()), VnetHeader{}, view), FrameStatus::kTcp);
  return FrameTemplate::from_frame(view);
}

Segment segment_of(const SlowFrame& f) {
  const Bytes bytes = f.bytes();
  FrameView view;
  parse_frame(bytes, static_cast<uint32_t>(bytes.size()), VnetHeader{}, view);
  return view.segment;
}

Bytes whole(const BuiltHeader& header, Gather payload) {
  Bytes out(header.span().begin(), header.span().end());
  for (ByteSpan piece : payload) out.insert(out.end(), piece.begin(), piece.end());
  return out;
}

SlowFrame any_frame() {
  SlowFrame f = *rc::gen::arbitrary<bool>() ? SlowFrame::ipv6() : SlowFrame();
  const int vlans = *rc::gen::inRange(0, 3);
  for (int i = 0; i < vlans; ++i) f.vlans.push_back(0x81000000 | *rc::gen::inRange<uint32_t>(0, 65536));
  f.traffic_class = *rc::gen::arbitrary<uint8_t>();
  f.hop_limit = *rc::gen::arbitrary<uint8_t>();
  f.fragment = *rc::gen::element<uint16_t>(0, 0x4000);
  f.ip_id = *rc::gen::arbitrary<uint16_t>();
  f.seq = *rc::gen::arbitrary<uint32_t>();
  f.ack = *rc::gen::arbitrary<uint32_t>();
  f.flags = *rc::gen::inRange<uint16_t>(0, 0x200);
  f.window = *rc::gen::arbitrary<uint16_t>();
  if (*rc::gen::arbitrary<bool>()) f.options = {1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8};
  f.payload = *rc::gen::arbitrary<Bytes>();
  return f;
}

RC_GTEST_PROP(SegmentBuilder, RebuildsAFrameByteForByte, ()) {
  const SlowFrame f = any_frame();
  FrameTemplate t = template_of(f);
  t.ip_id = f.ip_id;
  SegmentBuilder builder(t);
  const size_t cut = *rc::gen::inRange<size_t>(0, f.payload.size() + 1);
  const std::array<ByteSpan, 2> payload{ByteSpan(f.payload).first(cut), ByteSpan(f.payload).subspan(cut)};
  const BuiltHeader header = builder.build(segment_of(f), payload, ChecksumMode::kFull);
  RC_ASSERT(header.vnet == VnetHeader{});
  RC_ASSERT(whole(header, payload) == f.bytes());
}

RC_GTEST_PROP(SegmentBuilder, APartialChecksumIsTheSumOfThePseudoHeader, ()) {
  const SlowFrame f = any_frame();
  SegmentBuilder builder(template_of(f));
  const ByteSpan payload(f.payload);
  const BuiltHeader header = builder.build(segment_of(f), {&payload, 1}, ChecksumMode::kPartial);
  Bytes bytes = whole(header, {&payload, 1});
  RC_ASSERT(header.vnet.flags == VnetHeader::kNeedsChecksum);
  RC_ASSERT(header.vnet.checksum_start == f.tcp_offset());
  // What the receiver of the frame does: sum from checksum_start on, complement, store.
  const auto start = static_cast<std::ptrdiff_t>(header.vnet.checksum_start);
  const uint16_t sum = slow_internet_checksum(Bytes(bytes.begin() + start, bytes.end()));
  store_be(bytes.data() + start + header.vnet.checksum_offset, sum);
  SlowFrame expected = f;
  expected.ip_id = static_cast<uint16_t>(f.ip_id + 1);
  const Bytes want = expected.bytes();
  const uint16_t checksum = load_be<uint16_t>(want.data() + start + 16);
  // 0 and ffff are the same number to a verifier.
  RC_ASSERT(sum == checksum || (sum ^ checksum) == 0xffff);
}

RC_GTEST_PROP(SegmentBuilder, BehavesTheSameAfterRestore, ()) {
  const SlowFrame f = any_frame();
  SegmentBuilder builder(template_of(f));
  const Segment segment = segment_of(f);
  const ByteSpan payload(f.payload);
  builder.build(segment, {&payload, 1}, ChecksumMode::kFull);
  auto restored = SegmentBuilder::restore(builder.snapshot());
  RC_ASSERT(restored.has_value());
  RC_ASSERT(restored->snapshot() == builder.snapshot());
  RC_ASSERT(whole(restored->build(segment, {&payload, 1}, ChecksumMode::kFull), {&payload, 1}) ==
            whole(builder.build(segment, {&payload, 1}, ChecksumMode::kFull), {&payload, 1}));
}

TEST(SegmentBuilder, ASuperSegmentSaysHowItIsToBeCut) {
  for (const bool v6 : {false, true}) {
    SlowFrame f = v6 ? SlowFrame::ipv6() : SlowFrame();
    f.options = {1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2};
    f.payload = Bytes(20'000, 7);
    f.flags = 0x90;  // ACK, CWR
    Segment segment = segment_of(f);
    segment.gso_size = 1448;
    SegmentBuilder builder(template_of(f));
    const uint16_t first_id = builder.snapshot().ip_id;
    const ByteSpan payload(f.payload);
    const BuiltHeader header = builder.build(segment, {&payload, 1}, ChecksumMode::kPartial);
    EXPECT_EQ(header.vnet.gso_type, (v6 ? VnetHeader::kGsoTcp6 : VnetHeader::kGsoTcp4) | VnetHeader::kGsoEcn);
    EXPECT_EQ(header.vnet.gso_size, 1448);
    EXPECT_EQ(header.vnet.header_length, header.length);
    EXPECT_EQ(static_cast<uint16_t>(builder.snapshot().ip_id - first_id), 14);
    // And our own parser, which judges what a guest asks for, accepts it.
    const Bytes bytes = whole(header, {&payload, 1});
    FrameView view;
    ASSERT_EQ(parse_frame(bytes, static_cast<uint32_t>(bytes.size()), header.vnet, view), FrameStatus::kTcp);
    EXPECT_EQ(view.segment.gso_size, 1448);
  }
}

TEST(SegmentBuilder, APayloadOfOneSegmentIsNotASuperSegment) {
  SlowFrame f;
  f.payload = Bytes(1448, 7);
  Segment segment = segment_of(f);
  segment.gso_size = 1448;
  const ByteSpan payload(f.payload);
  const BuiltHeader header = SegmentBuilder(template_of(f)).build(segment, {&payload, 1}, ChecksumMode::kFull);
  EXPECT_EQ(header.vnet.gso_type, VnetHeader::kGsoNone);
  EXPECT_EQ(header.vnet.gso_size, 0);
}

TEST(SegmentBuilder, CarriesSackBlocks) {
  SlowFrame f;
  f.options = {1, 1, 5, 18, 0, 0, 0, 9, 0, 0, 0, 10, 0, 0, 0, 20, 0, 0, 0, 30};
  SegmentBuilder builder(template_of(f));
  f.ip_id++;
  EXPECT_EQ(whole(builder.build(segment_of(f), {}, ChecksumMode::kFull), {}), f.bytes());
  EXPECT_EQ(builder.ip_tcp_header_bytes(20), 60u);
}

TEST(SegmentBuilder, RefusesATemplateThatCannotBe) {
  FrameTemplate good = template_of(SlowFrame());
  EXPECT_TRUE(SegmentBuilder::restore(good));
  FrameTemplate bad = good;
  bad.vlan_tags = 3;
  EXPECT_FALSE(SegmentBuilder::restore(bad));
  bad = good;
  bad.traffic_class = 1;
  EXPECT_FALSE(SegmentBuilder::restore(bad));
  bad = good;
  bad.flow_label = 0x100000;
  EXPECT_FALSE(SegmentBuilder::restore(bad));
  bad = good;
  bad.destination = template_of(SlowFrame::ipv6()).destination;
  EXPECT_FALSE(SegmentBuilder::restore(bad));
}

}  // namespace
}  // namespace us
