// SegmentBuilder: writes the frames of one direction of one connection so that they look like those of the endpoint
// they stand for: same MAC addresses, VLAN tags, addresses, ports, DSCP, TTL, flow label, DF and running IPv4 ID.
//
// The unchanging header bytes and their sums are made once; build() copies them and fills in the rest.  The payload
// is not copied: the frame is BuiltHeader, then the pieces.  With ChecksumMode::kPartial the TCP checksum is left to
// the receiver of the frame (tap, guest), as its virtio-net header says, and one frame may be a super-segment that
// the receiver cuts into segments of gso_size.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"
#include "base/result.h"
#include "core/net/vnet_header.h"
#include "core/tcp/frame.h"
#include "core/tcp/ip_address.h"
#include "core/tcp/segment.h"

namespace us {

struct VlanTag {
  uint16_t type = 0x8100;  // TPID
  uint16_t control = 0;    // priority, DEI, VLAN ID
  bool operator==(const VlanTag&) const = default;
};

// Plain data: everything a frame of this direction has in common with the others.
struct FrameTemplate {
  std::array<uint8_t, 6> destination_mac{};
  std::array<uint8_t, 6> source_mac{};
  uint8_t vlan_tags = 0;
  std::array<VlanTag, 2> vlan{};
  Endpoint source;
  Endpoint destination;
  uint8_t traffic_class = 0;  // DSCP; the two ECN bits come with each segment
  uint8_t hop_limit = 64;
  uint32_t flow_label = 0;    // IPv6
  bool dont_fragment = true;  // IPv4
  uint16_t ip_id = 0;         // IPv4: of the next frame

  uint32_t vlan_ids() const;  // as IpPlace::vlan_ids
  // What the next frame of the same sender would look like.
  static FrameTemplate from_frame(const FrameView& frame);
  bool operator==(const FrameTemplate&) const = default;
};

enum class ChecksumMode : uint8_t { kFull, kPartial };

struct BuiltHeader {
  static constexpr size_t kBytesMax = 14 + 2 * 4 + 40 + 60;
  VnetHeader vnet;
  uint8_t length = 0;
  std::array<uint8_t, kBytesMax> bytes;
  ByteSpan span() const { return {bytes.data(), length}; }
};

class SegmentBuilder {
 public:
  // A template from another host is to go through restore().
  explicit SegmentBuilder(const FrameTemplate& frame);
  static Result<SegmentBuilder> restore(const FrameTemplate& untrusted);
  FrameTemplate snapshot() const;

  // The frame of `segment` with the bytes of `payload`, total_size(payload) == segment.payload_length; ports of
  // `segment` are not used.  gso_size matters only when the payload is longer, and then the mode must be kPartial.
  // The payload must fit an IP packet: payload_max() bytes at most.
  BuiltHeader build(const Segment& segment, Gather payload, ChecksumMode mode);
  // For IPv4 and IPv6 alike, whatever the options.
  static constexpr uint32_t payload_max() { return 65535 - 20 - 60; }

  // Bytes of the IP and TCP headers with this many bytes of TCP options: what counts for the MTU beside the payload.
  uint32_t ip_tcp_header_bytes(uint32_t option_bytes) const { return 20u + (is_v4() ? 20u : 40u) + option_bytes; }

 private:
  bool is_v4() const { return tcp_offset_ - ip_offset_ == 20; }
  void fill_ip(uint8_t* ip, const Segment& segment, uint32_t tcp_length) const;

  std::array<uint8_t, 14 + 2 * 4 + 40 + 4> prefix_{};  // Ethernet to TCP ports; lengths, ID, sums and ECN are zero
  uint8_t ip_offset_ = 0;
  uint8_t tcp_offset_ = 0;
  uint16_t pseudo_sum_ = 0;  // addresses and protocol, folded
  uint16_t ip_id_ = 0;
};

}  // namespace us
