// Segment: one TCP segment as TCP sees it (RFC 9293 section 3.1), without addresses and payload bytes.
// It is what frame.h reads out of a frame, what the receiver judges, and what segment_builder.h writes into a frame.
//
// A super-segment (TSO, GRO) is one Segment of up to 64 KiB with gso_size set: several segments on the wire.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "core/tcp/seq_num.h"
#include "core/tcp/tcp_options.h"

namespace us {

namespace tcp_flag {
inline constexpr uint16_t kFin = 0x01;
inline constexpr uint16_t kSyn = 0x02;
inline constexpr uint16_t kRst = 0x04;
inline constexpr uint16_t kPsh = 0x08;
inline constexpr uint16_t kAck = 0x10;
inline constexpr uint16_t kUrg = 0x20;
inline constexpr uint16_t kEce = 0x40;
inline constexpr uint16_t kCwr = 0x80;
inline constexpr uint16_t kAe = 0x100;  // Accurate ECN (RFC 9768), formerly NS
}  // namespace tcp_flag

// The ECN field of the IP header (RFC 3168 section 5).
enum class Ecn : uint8_t { kNotEct = 0, kEct1 = 1, kEct0 = 2, kCe = 3 };

struct Segment {
  SeqNum seq;
  SeqNum ack;  // meaningless without the ACK flag
  uint32_t payload_length = 0;
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
  uint16_t flags = 0;
  uint16_t window = 0;    // as in the header, not scaled
  uint16_t gso_size = 0;  // payload of each wire segment of a super-segment; 0: this is one wire segment
  Ecn ecn = Ecn::kNotEct;
  TcpOptions options;

  bool has(uint16_t flag) const { return (flags & flag) != 0; }
  // SEG.LEN: SYN and FIN occupy a sequence number each.
  uint32_t seq_length() const {
    return payload_length + (has(tcp_flag::kSyn) ? 1u : 0u) + (has(tcp_flag::kFin) ? 1u : 0u);
  }
  SeqNum end() const { return seq + seq_length(); }
  // Sequence number of the first payload byte.
  SeqNum payload_start() const { return has(tcp_flag::kSyn) ? seq + 1 : seq; }
  SeqNum payload_end() const { return payload_start() + payload_length; }
  uint32_t wire_payload() const {
    return gso_size == 0 ? payload_length : std::min<uint32_t>(gso_size, payload_length);
  }
};

// Why a connection with this segment in its handshake is not relayed (tcp.md, rule 8).
enum class RelayObstacle : uint8_t {
  kNone,
  kMalformedOptions,
  kSynData,    // payload or FIN on a SYN
  kFastOpen,   // RFC 7413
  kMultipath,  // RFC 8684
  kMd5,        // RFC 2385
  kAo,         // RFC 5925
  kUnknownOption,
  kUrgent,       // RFC 6093
  kAccurateEcn,  // a SYN with AE set asks for RFC 9768
  kIpOptions,    // IPv4 options or IPv6 extension headers
};
std::string_view to_string(RelayObstacle);
RelayObstacle relay_obstacle(const Segment&);

}  // namespace us
