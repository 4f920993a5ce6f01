// Packet: a TCP segment of the simulated endpoints, and its bytes in an Ethernet frame.
//
// Written without the product's parser and builder: a mistake in those must not cancel out.  Strict: a frame of the
// relay with a wrong length, checksum or option is a violation, not a drop.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "core/net/ethernet_frame.h"

namespace us::sim::relay {

namespace flag {
inline constexpr uint8_t kFin = 1, kSyn = 2, kRst = 4, kPsh = 8, kAck = 16;
}

struct Sack {
  uint32_t start = 0, end = 0;
};

struct Packet {
  uint8_t conn = 0;  // which connection; in the frame it is the addresses and ports
  uint8_t flags = 0;
  uint32_t seq = 0, ack = 0;
  uint16_t window = 0;
  uint16_t segment_bytes = 0;  // of each wire segment, when the payload is longer: a super-segment; 0: one segment
  std::optional<uint16_t> mss;
  std::optional<uint8_t> scale;
  bool sack_permitted = false;
  bool has_timestamps = false;
  uint32_t tsval = 0, tsecr = 0;
  std::vector<Sack> sacks;
  Bytes payload;

  bool has(uint8_t f) const { return (flags & f) != 0; }
  // Sequence numbers it occupies.
  uint32_t length() const {
    return static_cast<uint32_t>(payload.size()) + (has(flag::kSyn) ? 1 : 0) + (has(flag::kFin) ? 1 : 0);
  }
};

std::string describe(const Packet& packet);

// Packet::conn is the number of the connection; with this bit it runs over IPv6.
inline constexpr uint8_t kV6 = 0x80;
constexpr bool is_v6(uint8_t conn) { return (conn & kV6) != 0; }
constexpr size_t number_of(uint8_t conn) { return conn & 0x7f; }
inline constexpr uint16_t kClientPort = 40000;  // plus conn

// `offload`: the TCP checksum is left open, as a guest with offloads does; needed for super-segments.
EthernetFrame build_frame(const Packet& packet, bool from_guest, bool offload);

struct Parsed {
  std::optional<Packet> packet;
  std::string fault;  // why there is none
};
Parsed read_frame(const EthernetFrame& frame, bool from_guest);

// As a network card does it: one packet for each wire segment.
std::vector<Packet> cut_into_segments(Packet packet);

}  // namespace us::sim::relay
