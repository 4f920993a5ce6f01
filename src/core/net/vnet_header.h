// VnetHeader: struct virtio_net_hdr_v1 (virtio 1.2 section 5.1.6), which a tap with IFF_VNET_HDR and a virtio-net
// ring put before every frame: who computes the checksum, and into which segments a super-segment is to be cut.
//
// Untrusted: frame.h judges the fields against the frame.  hdr_len is a hint that nothing here relies on.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace us {

struct VnetHeader {
  static constexpr size_t kSize = 12;
  static constexpr uint8_t kNeedsChecksum = 1;  // flags: the checksum field holds the pseudo-header sum only
  static constexpr uint8_t kDataValid = 2;      // flags: the checksum was verified by the sender of the frame
  static constexpr uint8_t kGsoNone = 0;
  static constexpr uint8_t kGsoTcp4 = 1;
  static constexpr uint8_t kGsoTcp6 = 4;
  static constexpr uint8_t kGsoEcn = 0x80;  // or-ed to the type: CWR is for the first segment only

  uint8_t flags = 0;
  uint8_t gso_type = kGsoNone;
  uint16_t header_length = 0;
  uint16_t gso_size = 0;         // payload bytes of each segment but the last
  uint16_t checksum_start = 0;   // offset in the frame
  uint16_t checksum_offset = 0;  // from checksum_start
  uint16_t buffer_count = 1;     // num_buffers: set by who writes a receive ring

  bool operator==(const VnetHeader&) const = default;

  // `raw` has kSize bytes.
  static VnetHeader decode(const uint8_t* raw) {
    return {raw[0],
            raw[1],
            load_le<uint16_t>(raw + 2),
            load_le<uint16_t>(raw + 4),
            load_le<uint16_t>(raw + 6),
            load_le<uint16_t>(raw + 8),
            load_le<uint16_t>(raw + 10)};
  }
  void encode(uint8_t* raw) const {
    raw[0] = flags;
    raw[1] = gso_type;
    store_le(raw + 2, header_length);
    store_le(raw + 4, gso_size);
    store_le(raw + 6, checksum_start);
    store_le(raw + 8, checksum_offset);
    store_le(raw + 10, buffer_count);
  }
};

}  // namespace us
