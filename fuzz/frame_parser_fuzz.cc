// The frame parser against any bytes, as a guest or the network may send them.
//
// Input: one byte of options, a virtio-net header of 12 bytes, then the frame.  Options: 1 mends the IPv4 header
// checksum (so that the fuzzer gets past it), 2 gives the parser only the head of the frame, 4 makes the frame longer
// than its head.  Oracles: the sanitizers; what is called TCP lies inside the frame; a frame built from what was read
// reads the same and has a right checksum.  Start from an empty corpus.
#include <algorithm>
#include <vector>

#include "base/check.h"
#include "core/tcp/checksum.h"
#include "core/tcp/frame.h"
#include "core/tcp/packet_too_big.h"
#include "core/tcp/segment_builder.h"

namespace {

using namespace us;

// Number of VLAN tags from the options, then the type of IP.
void write_types(uint8_t options, Bytes& frame) {
  const size_t tags = options >> 5 & 3;
  for (size_t i = 0; i <= tags; ++i) {
    const size_t at = 12 + 4 * i;
    const int type = i < tags ? 0x8100 : (options & 16) ? 0x86dd : 0x0800;
    if (frame.size() >= at + 2) store_be(frame.data() + at, static_cast<uint16_t>(type));
  }
}

// The right header checksum wherever an IPv4 header may begin.
void mend_ip_checksum(Bytes& frame) {
  for (const size_t at : {14u, 18u, 22u}) {
    if (frame.size() < at + 20 || frame[at] >> 4 != 4) continue;
    const size_t header = std::min<size_t>(size_t{4} * (frame[at] & 0xf), frame.size() - at);
    if (header < 20) continue;
    store_be(frame.data() + at + 10, uint16_t{0});
    InternetSum sum;
    sum.add(ByteSpan(frame).subspan(at, header));
    store_be(frame.data() + at + 10, sum.checksum());
  }
}

bool same(const Segment& a, const Segment& b) {
  return a.seq == b.seq && a.ack == b.ack && a.flags == b.flags && a.window == b.window && a.ecn == b.ecn &&
         a.payload_length == b.payload_length && a.source_port == b.source_port &&
         a.destination_port == b.destination_port && a.options.mss == b.options.mss &&
         a.options.window_scale == b.options.window_scale && a.options.timestamps == b.options.timestamps;
}

// Builds the frame that `view` describes, and reads it.
void build_and_read(const FrameView& view, ByteSpan payload) {
  SegmentBuilder builder(FrameTemplate::from_frame(view));
  US_CHECK(SegmentBuilder::restore(builder.snapshot()).has_value());
  Segment segment = view.segment;
  segment.gso_size = 0;
  // Only SYNs carry both kinds of options, and those need not fit when they came from a liar.
  const bool syn_options = segment.options.mss || segment.options.window_scale || segment.options.sack_permitted;
  if (syn_options) segment.options.sack_count = 0;
  segment.payload_length = std::min(segment.payload_length, SegmentBuilder::payload_max());
  payload = payload.first(segment.payload_length);
  const BuiltHeader header = builder.build(segment, {&payload, 1}, ChecksumMode::kFull);
  Bytes built(header.span().begin(), header.span().end());
  built.insert(built.end(), payload.begin(), payload.end());
  FrameView again;
  US_CHECK(parse_frame(built, static_cast<uint32_t>(built.size()), header.vnet, again) == FrameStatus::kTcp);
  US_CHECK(same(segment, again.segment));
  US_CHECK(again.source() == view.source() && again.destination() == view.destination());
  US_CHECK(verify_tcp_checksum(again, {&payload, 1}));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1 + VnetHeader::kSize) return 0;
  const uint8_t options = data[0];
  const VnetHeader vnet = VnetHeader::decode(data + 1);
  Bytes frame(data + 1 + VnetHeader::kSize, data + size);
  if (options & 8) write_types(options, frame);
  if (options & 1) mend_ip_checksum(frame);
  const size_t head = (options & 2) ? std::min(frame.size(), FrameView::kHeadBytes) : frame.size();
  if (options & 4) frame.resize(frame.size() + 2000);
  // A copy of exactly the head, so that the sanitizer sees a read past it.
  const Bytes copy(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(head));
  parse_packet_too_big(copy);
  FrameView view;
  if (parse_frame(copy, static_cast<uint32_t>(frame.size()), vnet, view) != FrameStatus::kTcp) return 0;
  US_CHECK(view.payload_offset <= copy.size());
  US_CHECK(view.payload_offset + size_t{view.segment.payload_length} <= frame.size());
  const ByteSpan payload = ByteSpan(frame).subspan(view.payload_offset, view.segment.payload_length);
  verify_tcp_checksum(view, {&payload, 1});
  relay_obstacle(view);
  build_and_read(view, payload);
  return 0;
}
