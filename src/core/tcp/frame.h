// FrameView: a TCP segment inside an Ethernet frame, read from untrusted bytes.
//
//   [ Ethernet 14 | VLAN tags 0–2 × 4 | IPv4 20–60 or IPv6 40 + extension headers | TCP 20–60 | payload | padding ]
//   0                                 ip_offset                                   tcp_offset  payload_offset
//
// parse_frame() needs only the first bytes of the frame, in one piece (kHeadBytes always suffice); payload is never
// read, so it may stay scattered in guest memory.  The frame may be a super-segment of up to 64 KiB (TSO, GRO), as
// its virtio-net header says.  Nothing is owned: the view points into `head`.
//
// A frame that is not TCP, or a fragment, is not an error: it goes through the plain gate.  A malformed frame does
// too, since it is for the guest's or the client's stack to judge; but it never touches a relayed flow.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "core/net/vnet_header.h"
#include "core/tcp/ip_address.h"
#include "core/tcp/relay_buffer.h"
#include "core/tcp/segment.h"

namespace us {

enum class FrameStatus : uint8_t {
  kTcp,
  // Not for the relay:
  kNotIp,            // ARP, LLDP, 802.3 …
  kNotTcp,           // UDP, ICMP, ESP …
  kFragment,         // IPv4 or IPv6 fragment, also an atomic one
  kTooManyVlanTags,  // more than two
  kTooManyExtensionHeaders,
  // Malformed:
  kTruncated,    // a header or the IP packet ends after the frame, or headers after `head`
  kBadIpHeader,  // version, header length, total length
  kBadIpChecksum,
  kBadTcpHeader,  // data offset
  kBadOffload,    // the virtio-net header does not fit the frame
};
std::string_view to_string(FrameStatus);

enum class TcpChecksum : uint8_t {
  kUnverified,  // full checksum that nobody has checked: verify_tcp_checksum()
  kPartial,     // the field holds the pseudo-header sum (NEEDS_CSUM): the bytes never left a machine
  kVerified,    // whoever gave us the frame has checked it (DATA_VALID)
};

struct FrameView {
  // 14 + 2 × 4 Ethernet and VLAN, 40 IPv6, 128 extension headers, 60 TCP.
  static constexpr size_t kHeadBytes = 256;
  static constexpr size_t kExtensionHeadersMax = 4;
  static constexpr size_t kExtensionBytesMax = 128;

  ByteSpan head;
  uint32_t frame_length = 0;
  uint16_t ip_offset = 0;
  uint16_t tcp_offset = 0;
  uint16_t payload_offset = 0;  // payload length: segment.payload_length; Ethernet padding is not in it
  uint8_t vlan_tags = 0;
  uint32_t vlan_ids = 0;  // as in IpPlace
  IpVersion ip_version = IpVersion::kV4;
  bool ip_options = false;     // IPv4 options or IPv6 extension headers were skipped
  bool dont_fragment = false;  // IPv4; always true for IPv6
  uint8_t traffic_class = 0;   // DSCP and ECN
  uint8_t hop_limit = 0;       // TTL
  uint16_t ip_id = 0;          // IPv4
  uint32_t flow_label = 0;     // IPv6
  TcpChecksum checksum = TcpChecksum::kUnverified;
  Segment segment;

  ByteSpan source_bytes() const;  // 4 or 16 bytes
  ByteSpan destination_bytes() const;
  Endpoint source() const;
  Endpoint destination() const;
};

// Where the IP packet of a frame begins: kTcp when there is one, with whatever in it.
struct IpPlace {
  FrameStatus status = FrameStatus::kTruncated;
  uint16_t offset = 0;
  uint8_t vlan_tags = 0;
  uint32_t vlan_ids = 0;  // of the tags, 12 bits each, the innermost lowest; 0 is untagged or priority-tagged
  IpVersion version = IpVersion::kV4;
};
IpPlace find_ip(ByteSpan head);

// Reads the frame's headers into `out`, which is complete only when the result is kTcp.  `head` is the beginning
// of the frame (all of it, or at least kHeadBytes), without the virtio-net header.
FrameStatus parse_frame(ByteSpan head, uint32_t frame_length, const VnetHeader& vnet, FrameView& out);

// `payload` is the frame from payload_offset on, segment.payload_length bytes.  True unless the checksum is full
// and wrong.
bool verify_tcp_checksum(const FrameView& frame, Gather payload);

// relay_obstacle() of the segment, and of the IP header.
RelayObstacle relay_obstacle(const FrameView& frame);

}  // namespace us
