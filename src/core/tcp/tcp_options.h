// TcpOptions: the options of one segment (RFC 9293 section 3.2, RFC 7323, RFC 2018), read from and written to a
// TCP header.
//
// What the relay does not know is not kept but named in `unusual`: such a connection is not relayed (tcp.md, rule 8).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/bytes.h"
#include "core/tcp/seq_num.h"

namespace us {

struct Timestamps {
  uint32_t value = 0;  // TSval
  uint32_t echo = 0;   // TSecr
  bool operator==(const Timestamps&) const = default;
};

struct TcpOptions {
  static constexpr size_t kBytesMax = 40;
  static constexpr size_t kSackBlocksMax = 4;  // three beside timestamps
  static constexpr uint8_t kWindowScaleMax = 14;

  // Bits of `unusual`.
  static constexpr uint8_t kMd5 = 1;         // RFC 2385
  static constexpr uint8_t kAo = 2;          // RFC 5925
  static constexpr uint8_t kMultipath = 4;   // RFC 8684
  static constexpr uint8_t kFastOpen = 8;    // RFC 7413, and its experimental form (RFC 6994)
  static constexpr uint8_t kUnknown = 16;    // any other kind
  static constexpr uint8_t kMalformed = 32;  // a length that cannot be; options from there on were not read

  std::optional<uint16_t> mss;
  std::optional<uint8_t> window_scale;  // at most kWindowScaleMax: more counts as that (RFC 7323 section 2.3)
  bool sack_permitted = false;
  uint8_t unusual = 0;
  uint8_t sack_count = 0;
  std::optional<Timestamps> timestamps;
  std::array<SeqRange, kSackBlocksMax> sack_blocks;  // as they came, unjudged; sack_count of them

  std::span<const SeqRange> sack() const { return {sack_blocks.data(), sack_count}; }
  void add_sack(SeqRange block) {
    if (sack_count < kSackBlocksMax) sack_blocks[sack_count++] = block;
  }
};

// `bytes` is what lies between the fixed 20 bytes and the payload.
TcpOptions parse_tcp_options(ByteSpan bytes);

// Writes the options and pads them to a multiple of four; returns the length.  `unusual` is not written; SACK blocks
// for which there is no room are left out from the back.  Beside a SYN's options no SACK blocks are written.
size_t write_tcp_options(const TcpOptions& options, std::span<uint8_t, TcpOptions::kBytesMax> out);

}  // namespace us
