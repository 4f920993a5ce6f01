#include "core/tcp/frame.h"

#include <algorithm>

#include "base/check.h"
#include "core/tcp/checksum.h"

namespace us {

namespace {

constexpr size_t kMacBytes = 12;
constexpr uint16_t kTypeIpv4 = 0x0800;
constexpr uint16_t kTypeIpv6 = 0x86dd;
constexpr uint16_t kTypeVlan = 0x8100;         // IEEE 802.1Q
constexpr uint16_t kTypeServiceVlan = 0x88a8;  // IEEE 802.1ad
constexpr uint8_t kVlanTagsMax = 2;

// IANA "Protocol Numbers".
constexpr uint8_t kHopByHop = 0;
constexpr uint8_t kTcp = 6;
constexpr uint8_t kRouting = 43;
constexpr uint8_t kFragmentHeader = 44;
constexpr uint8_t kDestinationOptions = 60;

constexpr size_t kIpv4Bytes = 20;
constexpr size_t kIpv6Bytes = 40;
constexpr size_t kTcpBytes = 20;
constexpr uint16_t kTcpChecksumAt = 16;

bool is_vlan(uint16_t type) { return type == kTypeVlan || type == kTypeServiceVlan; }

// Walks through one frame; each step leaves the offset of the next header in out_.
class Parser {
 public:
  Parser(ByteSpan head, uint32_t frame_length, const VnetHeader& vnet, FrameView& out)
      : head_(head), vnet_(vnet), out_(out) {
    out_ = FrameView{};
    out_.head = head;
    out_.frame_length = frame_length;
  }

  FrameStatus run() {
    FrameStatus status = ethernet();
    if (status == FrameStatus::kTcp) status = out_.ip_version == IpVersion::kV4 ? ipv4() : ipv6();
    if (status == FrameStatus::kTcp) status = tcp();
    if (status == FrameStatus::kTcp) status = offload();
    return status;
  }

 private:
  bool has(size_t offset, size_t length) const { return offset + length <= head_.size(); }
  uint8_t u8(size_t at) const { return head_[at]; }
  uint16_t u16(size_t at) const { return load_be<uint16_t>(head_.data() + at); }
  uint32_t u32(size_t at) const { return load_be<uint32_t>(head_.data() + at); }

  FrameStatus ethernet() {
    const IpPlace ip = find_ip(head_);
    out_.ip_offset = ip.offset;
    out_.vlan_tags = ip.vlan_tags;
    out_.vlan_ids = ip.vlan_ids;
    out_.ip_version = ip.version;
    return ip.status;
  }

  // RFC 791 section 3.1.
  FrameStatus ipv4() {
    const size_t at = out_.ip_offset;
    if (!has(at, kIpv4Bytes)) return FrameStatus::kTruncated;
    const size_t header = size_t{4} * (u8(at) & 0xf);
    const size_t total = u16(at + 2);
    if (u8(at) >> 4 != 4 || header < kIpv4Bytes || total < header) return FrameStatus::kBadIpHeader;
    if (!has(at, header) || at + total > out_.frame_length) return FrameStatus::kTruncated;
    InternetSum sum;
    sum.add(head_.subspan(at, header));
    if (sum.checksum() != 0) return FrameStatus::kBadIpChecksum;
    const uint16_t fragment = u16(at + 6);  // reserved, DF, MF, 13 bits of offset
    if ((fragment & 0x3fff) != 0) return FrameStatus::kFragment;
    if (u8(at + 9) != kTcp) return FrameStatus::kNotTcp;
    out_.ip_options = header > kIpv4Bytes;
    out_.dont_fragment = (fragment & 0x4000) != 0;
    out_.traffic_class = u8(at + 1);
    out_.hop_limit = u8(at + 8);
    out_.ip_id = u16(at + 4);
    out_.tcp_offset = static_cast<uint16_t>(at + header);
    packet_end_ = at + total;
    return FrameStatus::kTcp;
  }

  // RFC 8200 section 3.
  FrameStatus ipv6() {
    const size_t at = out_.ip_offset;
    if (!has(at, kIpv6Bytes)) return FrameStatus::kTruncated;
    if (u8(at) >> 4 != 6) return FrameStatus::kBadIpHeader;
    packet_end_ = at + kIpv6Bytes + u16(at + 4);
    if (packet_end_ > out_.frame_length) return FrameStatus::kTruncated;
    out_.dont_fragment = true;
    out_.traffic_class = static_cast<uint8_t>(u16(at) >> 4);
    out_.hop_limit = u8(at + 7);
    out_.flow_label = u32(at) & 0xfffff;
    return extension_headers(u8(at + 6), at + kIpv6Bytes);
  }

  // RFC 8200 section 4: those that may stand before TCP, each with its length in its second byte.
  FrameStatus extension_headers(uint8_t next, size_t at) {
    const size_t first = at;
    for (size_t count = 0; next != kTcp; ++count) {
      if (next == kFragmentHeader) return FrameStatus::kFragment;
      if (next != kHopByHop && next != kRouting && next != kDestinationOptions) return FrameStatus::kNotTcp;
      if (count == FrameView::kExtensionHeadersMax) return FrameStatus::kTooManyExtensionHeaders;
      if (!has(at, 2)) return FrameStatus::kTruncated;
      next = u8(at);
      at += 8 * (size_t{u8(at + 1)} + 1);
      if (at - first > FrameView::kExtensionBytesMax) return FrameStatus::kTooManyExtensionHeaders;
      out_.ip_options = true;
    }
    out_.tcp_offset = static_cast<uint16_t>(at);
    return FrameStatus::kTcp;
  }

  // RFC 9293 section 3.1.
  FrameStatus tcp() {
    const size_t at = out_.tcp_offset;
    if (!has(at, kTcpBytes) || at + kTcpBytes > packet_end_) return FrameStatus::kTruncated;
    const size_t header = size_t{4} * (u8(at + 12) >> 4);
    if (header < kTcpBytes || at + header > packet_end_) return FrameStatus::kBadTcpHeader;
    if (!has(at, header)) return FrameStatus::kTruncated;
    out_.payload_offset = static_cast<uint16_t>(at + header);
    Segment& s = out_.segment;
    s.source_port = u16(at);
    s.destination_port = u16(at + 2);
    s.seq = SeqNum(u32(at + 4));
    s.ack = SeqNum(u32(at + 8));
    s.flags = u16(at + 12) & 0x1ff;
    s.window = u16(at + 14);
    s.payload_length = static_cast<uint32_t>(packet_end_ - out_.payload_offset);
    s.ecn = static_cast<Ecn>(out_.traffic_class & 3);
    s.options = parse_tcp_options(head_.subspan(at + kTcpBytes, header - kTcpBytes));
    return FrameStatus::kTcp;
  }

  // virtio 1.2 section 5.1.6.2: what the sender of the frame left to its receiver.
  FrameStatus offload() {
    const bool partial = (vnet_.flags & VnetHeader::kNeedsChecksum) != 0;
    const bool valid = (vnet_.flags & VnetHeader::kDataValid) != 0;
    if (partial && (vnet_.checksum_start != out_.tcp_offset || vnet_.checksum_offset != kTcpChecksumAt))
      return FrameStatus::kBadOffload;
    if (partial) out_.checksum = TcpChecksum::kPartial;
    if (!partial && valid) out_.checksum = TcpChecksum::kVerified;
    const uint8_t type = vnet_.gso_type & static_cast<uint8_t>(~VnetHeader::kGsoEcn);
    if (type == VnetHeader::kGsoNone) return FrameStatus::kTcp;
    const uint8_t expected = out_.ip_version == IpVersion::kV4 ? VnetHeader::kGsoTcp4 : VnetHeader::kGsoTcp6;
    if (type != expected || vnet_.gso_size == 0 || out_.checksum == TcpChecksum::kUnverified)
      return FrameStatus::kBadOffload;
    out_.segment.gso_size = vnet_.gso_size;
    return FrameStatus::kTcp;
  }

  ByteSpan head_;
  const VnetHeader& vnet_;
  FrameView& out_;
  size_t packet_end_ = 0;  // of the IP packet in the frame
};

}  // namespace

std::string_view to_string(FrameStatus status) {
  switch (status) {
    case FrameStatus::kTcp:
      return "TCP";
    case FrameStatus::kNotIp:
      return "not IP";
    case FrameStatus::kNotTcp:
      return "not TCP";
    case FrameStatus::kFragment:
      return "IP fragment";
    case FrameStatus::kTooManyVlanTags:
      return "too many VLAN tags";
    case FrameStatus::kTooManyExtensionHeaders:
      return "too many IPv6 extension headers";
    case FrameStatus::kTruncated:
      return "truncated";
    case FrameStatus::kBadIpHeader:
      return "bad IP header";
    case FrameStatus::kBadIpChecksum:
      return "bad IP header checksum";
    case FrameStatus::kBadTcpHeader:
      return "bad TCP header";
    case FrameStatus::kBadOffload:
      return "bad offload request";
  }
  return "?";
}

IpPlace find_ip(ByteSpan head) {
  IpPlace out;
  size_t at = kMacBytes;
  const auto has_type = [&] { return at + 2 <= head.size(); };
  const auto type = [&] { return load_be<uint16_t>(head.data() + at); };
  for (; has_type() && is_vlan(type()); at += 4) {
    if (++out.vlan_tags > kVlanTagsMax) return IpPlace{FrameStatus::kTooManyVlanTags, 0, 0, 0, IpVersion::kV4};
    if (at + 4 > head.size()) return {};
    out.vlan_ids = out.vlan_ids << 12 | (load_be<uint16_t>(head.data() + at + 2) & 0xfffu);
  }
  if (!has_type()) return {};
  out.offset = static_cast<uint16_t>(at + 2);
  out.version = type() == kTypeIpv6 ? IpVersion::kV6 : IpVersion::kV4;
  out.status = type() == kTypeIpv4 || type() == kTypeIpv6 ? FrameStatus::kTcp : FrameStatus::kNotIp;
  return out;
}

FrameStatus parse_frame(ByteSpan head, uint32_t frame_length, const VnetHeader& vnet, FrameView& out) {
  US_CHECK(head.size() <= frame_length);
  return Parser(head, frame_length, vnet, out).run();
}

ByteSpan FrameView::source_bytes() const {
  return ip_version == IpVersion::kV4 ? head.subspan(ip_offset + 12u, 4) : head.subspan(ip_offset + 8u, 16);
}

ByteSpan FrameView::destination_bytes() const {
  return ip_version == IpVersion::kV4 ? head.subspan(ip_offset + 16u, 4) : head.subspan(ip_offset + 24u, 16);
}

namespace {
IpAddress address_of(ByteSpan bytes) {
  return bytes.size() == 4 ? IpAddress::from_v4_bytes(bytes.data()) : IpAddress::from_v6_bytes(bytes.data());
}
}  // namespace

Endpoint FrameView::source() const { return {address_of(source_bytes()), segment.source_port}; }
Endpoint FrameView::destination() const { return {address_of(destination_bytes()), segment.destination_port}; }

bool verify_tcp_checksum(const FrameView& frame, Gather payload) {
  if (frame.checksum != TcpChecksum::kUnverified) return true;
  const ByteSpan header = frame.head.subspan(frame.tcp_offset, frame.payload_offset - size_t{frame.tcp_offset});
  const auto length = static_cast<uint32_t>(header.size()) + frame.segment.payload_length;
  InternetSum sum = tcp_pseudo_header_sum(frame.source_bytes(), frame.destination_bytes(), length);
  sum.add(header);
  sum.add(payload);
  return sum.checksum() == 0;
}

RelayObstacle relay_obstacle(const FrameView& frame) {
  return frame.ip_options ? RelayObstacle::kIpOptions : relay_obstacle(frame.segment);
}

}  // namespace us
