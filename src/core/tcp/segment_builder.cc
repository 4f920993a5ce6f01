#include "core/tcp/segment_builder.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "core/tcp/checksum.h"

namespace us {

namespace {
constexpr uint16_t kTypeIpv4 = 0x0800;
constexpr uint16_t kTypeIpv6 = 0x86dd;
constexpr uint8_t kTcp = 6;
constexpr size_t kTcpBytes = 20;
constexpr uint16_t kTcpChecksumAt = 16;
constexpr uint8_t kEcnBits = 3;
constexpr size_t kIpv4Bytes = 20;
constexpr size_t kIpv4AddressesAt = 12;
constexpr size_t kIpv6AddressesAt = 8;
constexpr uint16_t kDontFragment = 0x4000;
constexpr uint32_t kFlowLabelMax = 0xfffff;
}  // namespace

FrameTemplate FrameTemplate::from_frame(const FrameView& frame) {
  FrameTemplate out;
  const uint8_t* p = frame.head.data();
  std::copy_n(p, 6, out.destination_mac.begin());
  std::copy_n(p + 6, 6, out.source_mac.begin());
  out.vlan_tags = frame.vlan_tags;
  for (size_t i = 0; i < frame.vlan_tags; ++i)
    out.vlan[i] = {load_be<uint16_t>(p + 12 + 4 * i), load_be<uint16_t>(p + 14 + 4 * i)};
  out.source = frame.source();
  out.destination = frame.destination();
  out.traffic_class = frame.traffic_class & static_cast<uint8_t>(~kEcnBits);
  out.hop_limit = frame.hop_limit;
  out.flow_label = frame.flow_label;
  out.dont_fragment = frame.dont_fragment;
  out.ip_id = static_cast<uint16_t>(frame.ip_id + 1);
  return out;
}

uint32_t FrameTemplate::vlan_ids() const {
  uint32_t ids = 0;
  for (size_t i = 0; i < vlan_tags; ++i) ids = ids << 12 | (vlan[i].control & 0xfffu);
  return ids;
}

SegmentBuilder::SegmentBuilder(const FrameTemplate& frame) : ip_id_(frame.ip_id) {
  US_CHECK(frame.vlan_tags <= frame.vlan.size());
  US_CHECK(frame.source.address.version() == frame.destination.address.version());
  const bool v4 = frame.source.address.is_v4();
  const ByteSpan source = frame.source.address.bytes();
  const ByteSpan destination = frame.destination.address.bytes();
  uint8_t* p = prefix_.data();
  p = std::copy(frame.destination_mac.begin(), frame.destination_mac.end(), p);
  p = std::copy(frame.source_mac.begin(), frame.source_mac.end(), p);
  for (size_t i = 0; i < frame.vlan_tags; ++i, p += 4) {
    store_be(p, frame.vlan[i].type);
    store_be(p + 2, frame.vlan[i].control);
  }
  store_be(p, v4 ? kTypeIpv4 : kTypeIpv6);
  uint8_t* ip = p + 2;
  if (v4) {
    ip[0] = 0x45;
    ip[1] = frame.traffic_class;
    store_be(ip + 6, frame.dont_fragment ? kDontFragment : uint16_t{0});
    ip[8] = frame.hop_limit;
    ip[9] = kTcp;
  } else {
    store_be(ip, uint32_t{6} << 28 | uint32_t{frame.traffic_class} << 20 | frame.flow_label);
    ip[6] = kTcp;
    ip[7] = frame.hop_limit;
  }
  uint8_t* addresses = ip + (v4 ? kIpv4AddressesAt : kIpv6AddressesAt);
  uint8_t* tcp = std::copy(destination.begin(), destination.end(), std::copy(source.begin(), source.end(), addresses));
  store_be(tcp, frame.source.port);
  store_be(tcp + 2, frame.destination.port);
  ip_offset_ = static_cast<uint8_t>(ip - prefix_.data());
  tcp_offset_ = static_cast<uint8_t>(tcp - prefix_.data());
  pseudo_sum_ = tcp_pseudo_header_sum(source, destination, 0).folded();
}

Result<SegmentBuilder> SegmentBuilder::restore(const FrameTemplate& untrusted) {
  if (untrusted.vlan_tags > untrusted.vlan.size()) return fail(ErrorKind::kProtocol, "frame: too many VLAN tags");
  if (untrusted.source.address.version() != untrusted.destination.address.version())
    return fail(ErrorKind::kProtocol, "frame: addresses of two IP versions");
  if ((untrusted.traffic_class & kEcnBits) != 0 || untrusted.flow_label > kFlowLabelMax)
    return fail(ErrorKind::kProtocol, "frame: IP fields out of range");
  return SegmentBuilder(untrusted);
}

FrameTemplate SegmentBuilder::snapshot() const {
  FrameTemplate out;
  const uint8_t* p = prefix_.data();
  const uint8_t* ip = p + ip_offset_;
  const uint8_t* tcp = p + tcp_offset_;
  std::copy_n(p, 6, out.destination_mac.begin());
  std::copy_n(p + 6, 6, out.source_mac.begin());
  out.vlan_tags = static_cast<uint8_t>((ip_offset_ - 14) / 4);
  for (size_t i = 0; i < out.vlan_tags; ++i)
    out.vlan[i] = {load_be<uint16_t>(p + 12 + 4 * i), load_be<uint16_t>(p + 14 + 4 * i)};
  if (is_v4()) {
    out.source.address = IpAddress::from_v4_bytes(ip + kIpv4AddressesAt);
    out.destination.address = IpAddress::from_v4_bytes(ip + kIpv4AddressesAt + 4);
    out.traffic_class = ip[1];
    out.hop_limit = ip[8];
    out.dont_fragment = load_be<uint16_t>(ip + 6) == kDontFragment;
  } else {
    out.source.address = IpAddress::from_v6_bytes(ip + kIpv6AddressesAt);
    out.destination.address = IpAddress::from_v6_bytes(ip + kIpv6AddressesAt + 16);
    out.traffic_class = static_cast<uint8_t>(load_be<uint16_t>(ip) >> 4);
    out.hop_limit = ip[7];
    out.flow_label = load_be<uint32_t>(ip) & kFlowLabelMax;
    out.dont_fragment = true;
  }
  out.source.port = load_be<uint16_t>(tcp);
  out.destination.port = load_be<uint16_t>(tcp + 2);
  out.ip_id = ip_id_;
  return out;
}

void SegmentBuilder::fill_ip(uint8_t* ip, const Segment& segment, uint32_t tcp_length) const {
  const auto ecn = static_cast<uint8_t>(segment.ecn);
  if (!is_v4()) {
    ip[1] |= static_cast<uint8_t>(ecn << 4);
    store_be(ip + 4, static_cast<uint16_t>(tcp_length));
    return;
  }
  ip[1] |= ecn;
  store_be(ip + 2, static_cast<uint16_t>(kIpv4Bytes + tcp_length));
  store_be(ip + 4, ip_id_);
  InternetSum sum;
  sum.add(ByteSpan(ip, kIpv4Bytes));
  store_be(ip + 10, sum.checksum());
}

BuiltHeader SegmentBuilder::build(const Segment& segment, Gather payload, ChecksumMode mode) {
  US_CHECK(segment.payload_length <= payload_max());
  BuiltHeader out;
  std::memcpy(out.bytes.data(), prefix_.data(), tcp_offset_ + size_t{4});
  uint8_t* tcp = out.bytes.data() + tcp_offset_;
  const size_t options =
      write_tcp_options(segment.options, std::span<uint8_t, TcpOptions::kBytesMax>(tcp + kTcpBytes, 40));
  const auto header = static_cast<uint32_t>(kTcpBytes + options);
  const uint32_t tcp_length = header + segment.payload_length;
  out.length = static_cast<uint8_t>(tcp_offset_ + header);

  fill_ip(out.bytes.data() + ip_offset_, segment, tcp_length);
  store_be(tcp + 4, segment.seq.value());
  store_be(tcp + 8, segment.ack.value());
  store_be(tcp + 12, static_cast<uint16_t>((header / 4) << 12 | (segment.flags & 0x1ff)));
  store_be(tcp + 14, segment.window);
  store_be(tcp + 16, uint32_t{0});  // checksum, urgent pointer

  InternetSum sum;
  sum.add_u16(pseudo_sum_);
  sum.add_u32(tcp_length);
  uint32_t wire_segments = 1;
  if (mode == ChecksumMode::kPartial) {
    out.vnet.flags = VnetHeader::kNeedsChecksum;
    out.vnet.checksum_start = tcp_offset_;
    out.vnet.checksum_offset = kTcpChecksumAt;
    out.vnet.header_length = out.length;
    store_be(tcp + kTcpChecksumAt, sum.folded());
  } else {
    sum.add(ByteSpan(tcp, header));
    sum.add(payload);
    store_be(tcp + kTcpChecksumAt, sum.checksum());
  }
  if (segment.gso_size != 0 && segment.payload_length > segment.gso_size) {
    US_CHECK(mode == ChecksumMode::kPartial);
    wire_segments = (segment.payload_length + segment.gso_size - 1) / segment.gso_size;
    out.vnet.gso_size = segment.gso_size;
    out.vnet.gso_type = is_v4() ? VnetHeader::kGsoTcp4 : VnetHeader::kGsoTcp6;
    if (segment.has(tcp_flag::kCwr)) out.vnet.gso_type |= VnetHeader::kGsoEcn;
  }
  // Whoever cuts a super-segment gives its segments consecutive IDs.
  ip_id_ = static_cast<uint16_t>(ip_id_ + wire_segments);
  return out;
}

}  // namespace us
