// PacketTooBig: a router's report that a segment of a connection was too large for its next link (tcp.md, rule 9):
// ICMPv4 "fragmentation needed" (RFC 792, RFC 1191) or ICMPv6 "packet too big" (RFC 4443, RFC 8201).
//
// Anybody can forge one.  Here is checked what the frame itself can tell: checksums, that it quotes a TCP segment which
// its addressee would have sent, and that the limit is below that segment's size and not below what IP guarantees.
// Whether the quoted sequence number is in flight is for the sender half to judge (RFC 5927 section 4).
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "core/tcp/ip_address.h"
#include "core/tcp/seq_num.h"

namespace us {

struct PacketTooBig {
  Endpoint source;  // of the segment that did not pass
  Endpoint destination;
  SeqNum seq;
  uint32_t vlan_ids = 0;  // of the report (IpPlace)
  uint32_t ip_bytes = 0;  // the largest IP packet that passes

  static constexpr uint32_t kIpv4BytesMin = 68;    // RFC 791
  static constexpr uint32_t kIpv6BytesMin = 1280;  // RFC 8200
};

// `frame` is whole.  Nothing if it is anything else.
std::optional<PacketTooBig> parse_packet_too_big(ByteSpan frame);

}  // namespace us
