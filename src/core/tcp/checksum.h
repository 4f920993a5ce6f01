// The Internet checksum (RFC 1071) over data in several pieces.
//
// The sum is kept in host byte order and folded at the end, which the arithmetic allows (RFC 1071 section 2 (B));
// a piece that begins at an odd offset counts with its bytes swapped.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "core/tcp/ip_address.h"
#include "core/tcp/relay_buffer.h"

namespace us {

class InternetSum {
 public:
  void add(ByteSpan bytes);
  void add(Gather pieces);
  // A 16- or 32-bit field in network order, given by value.  Only at an even offset.
  void add_u16(uint16_t value) { sum_ += byte_swap(value); }
  void add_u32(uint32_t value) {
    add_u16(static_cast<uint16_t>(value >> 16));
    add_u16(static_cast<uint16_t>(value));
  }
  // The sum folded to 16 bits: what NEEDS_CSUM expects in the checksum field of a partial checksum.
  uint16_t folded() const;
  // Its complement: the checksum.  A sum over data with its right checksum in place gives 0.
  uint16_t checksum() const { return static_cast<uint16_t>(~folded()); }

 private:
  uint64_t sum_ = 0;  // of 16-bit words in host order; far from overflow below 2^47 bytes
  bool odd_ = false;  // bytes so far
};

// Sum of the TCP pseudo-header: RFC 9293 section 3.1 for IPv4, RFC 8200 section 8.1 for IPv6.
// `tcp_length` is header and payload.  The addresses are 4 or 16 bytes each, both alike.
InternetSum tcp_pseudo_header_sum(ByteSpan source, ByteSpan destination, uint32_t tcp_length);

}  // namespace us
