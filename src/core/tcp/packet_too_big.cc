#include "core/tcp/packet_too_big.h"

#include <algorithm>
#include <array>

#include "core/tcp/checksum.h"
#include "core/tcp/frame.h"

namespace us {

namespace {

constexpr uint8_t kTcp = 6;
constexpr uint8_t kIcmp4 = 1;
constexpr uint8_t kIcmp6 = 58;
constexpr uint16_t kFragmentationNeeded = 0x0304;  // type 3, code 4
constexpr uint16_t kPacketTooBig6 = 0x0200;        // type 2, code 0
constexpr size_t kIcmpBytes = 8;
constexpr size_t kQuotedTcpBytes = 8;  // ports and sequence number

// RFC 1191 section 7.1: a router that does not say its limit gets the next common one.
uint32_t guess(uint32_t quoted_bytes) {
  constexpr std::array<uint32_t, 11> kPlateaus{65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68};
  const auto next = std::find_if(kPlateaus.begin(), kPlateaus.end(), [&](uint32_t p) { return p < quoted_bytes; });
  return next == kPlateaus.end() ? PacketTooBig::kIpv4BytesMin : *next;
}

// The connection that the quoted TCP header names; the limit is filled in by the caller.
PacketTooBig quoted_segment(const IpAddress& source, const IpAddress& destination, const uint8_t* tcp) {
  return {{source, load_be<uint16_t>(tcp)},
          {destination, load_be<uint16_t>(tcp + 2)},
          SeqNum(load_be<uint32_t>(tcp + 4)),
          0,
          0};
}

std::optional<PacketTooBig> parse_v4(ByteSpan packet) {
  if (packet.size() < 20 || packet[0] >> 4 != 4) return std::nullopt;
  const size_t header = size_t{4} * (packet[0] & 0xf);
  const size_t total = load_be<uint16_t>(packet.data() + 2);
  const bool fragment = (load_be<uint16_t>(packet.data() + 6) & 0x3fff) != 0;
  if (header < 20 || total > packet.size() || total < header + kIcmpBytes + 20 || packet[9] != kIcmp4 || fragment)
    return std::nullopt;
  const ByteSpan icmp = packet.subspan(header, total - header);
  InternetSum sum;
  sum.add(icmp);
  if (load_be<uint16_t>(icmp.data()) != kFragmentationNeeded || sum.checksum() != 0) return std::nullopt;

  const ByteSpan quoted = icmp.subspan(kIcmpBytes);
  const size_t quoted_header = size_t{4} * (quoted[0] & 0xf);
  const bool whole = (load_be<uint16_t>(quoted.data() + 6) & 0x3fff) == 0;
  if (quoted[0] >> 4 != 4 || quoted_header < 20 || quoted.size() < quoted_header + kQuotedTcpBytes ||
      quoted[9] != kTcp || !whole)
    return std::nullopt;
  const IpAddress source = IpAddress::from_v4_bytes(quoted.data() + 12);
  if (source != IpAddress::from_v4_bytes(packet.data() + 16)) return std::nullopt;
  PacketTooBig out =
      quoted_segment(source, IpAddress::from_v4_bytes(quoted.data() + 16), quoted.data() + quoted_header);
  const uint32_t quoted_bytes = load_be<uint16_t>(quoted.data() + 2);
  const uint32_t limit = load_be<uint16_t>(icmp.data() + 6);
  out.ip_bytes = std::max(limit == 0 ? guess(quoted_bytes) : limit, PacketTooBig::kIpv4BytesMin);
  if (out.ip_bytes >= quoted_bytes) return std::nullopt;
  return out;
}

// Neither the report nor the quoted segment may have extension headers: relayed segments have none.
std::optional<PacketTooBig> parse_v6(ByteSpan packet) {
  if (packet.size() < 40 || packet[0] >> 4 != 6 || packet[6] != kIcmp6) return std::nullopt;
  const size_t length = load_be<uint16_t>(packet.data() + 4);
  if (length > packet.size() - 40 || length < kIcmpBytes + 40 + kQuotedTcpBytes) return std::nullopt;
  const ByteSpan icmp = packet.subspan(40, length);
  InternetSum sum;
  sum.add(packet.subspan(8, 32));
  sum.add_u32(static_cast<uint32_t>(length));
  sum.add_u16(kIcmp6);
  sum.add(icmp);
  if (load_be<uint16_t>(icmp.data()) != kPacketTooBig6 || sum.checksum() != 0) return std::nullopt;

  const ByteSpan quoted = icmp.subspan(kIcmpBytes);
  if (quoted[0] >> 4 != 6 || quoted[6] != kTcp) return std::nullopt;
  const IpAddress source = IpAddress::from_v6_bytes(quoted.data() + 8);
  if (source != IpAddress::from_v6_bytes(packet.data() + 24)) return std::nullopt;
  PacketTooBig out = quoted_segment(source, IpAddress::from_v6_bytes(quoted.data() + 24), quoted.data() + 40);
  const uint32_t quoted_bytes = 40u + load_be<uint16_t>(quoted.data() + 4);
  // RFC 8201 section 4: never below the minimum of IPv6.
  out.ip_bytes = std::max(load_be<uint32_t>(icmp.data() + 4), PacketTooBig::kIpv6BytesMin);
  if (out.ip_bytes >= quoted_bytes) return std::nullopt;
  return out;
}

}  // namespace

std::optional<PacketTooBig> parse_packet_too_big(ByteSpan frame) {
  const IpPlace ip = find_ip(frame);
  if (ip.status != FrameStatus::kTcp) return std::nullopt;
  const ByteSpan packet = frame.subspan(ip.offset);
  std::optional<PacketTooBig> report = ip.version == IpVersion::kV4 ? parse_v4(packet) : parse_v6(packet);
  if (report) report->vlan_ids = ip.vlan_ids;
  return report;
}

}  // namespace us
