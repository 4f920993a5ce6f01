// SlowFrame: for tests.  Makes Ethernet frames byte by byte as the RFCs draw them, and checks those of others, with
// an implementation of its own that shares nothing with frame.cc, checksum.cc and segment_builder.cc.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace us {

inline uint16_t slow_internet_checksum(const Bytes& bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    sum += uint32_t{bytes[i]} << (i % 2 == 0 ? 8 : 0);
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return static_cast<uint16_t>(~sum);
}

struct SlowFrame {
  Bytes destination_mac = Bytes(6, 0x02);
  Bytes source_mac = Bytes(6, 0x06);
  std::vector<uint32_t> vlans;  // TPID << 16 | TCI
  bool v6 = false;
  uint8_t traffic_class = 0;
  uint32_t flow_label = 0;
  uint16_t ip_id = 0x1234;
  uint16_t fragment = 0x4000;
  uint8_t hop_limit = 64;
  uint8_t protocol = 6;     // IPv6: of what follows the extension headers
  Bytes ip_options;         // IPv4: a multiple of four
  uint8_t first_next = 6;   // IPv6: next header of the fixed header
  Bytes extension_headers;  // IPv6: complete
  Bytes source = {192, 0, 2, 1};
  Bytes destination = {198, 51, 100, 2};
  uint16_t source_port = 4000;
  uint16_t destination_port = 80;
  uint32_t seq = 1;
  uint32_t ack = 2;
  uint16_t flags = 0x10;
  uint16_t window = 500;
  Bytes options;  // a multiple of four
  Bytes payload;
  size_t padding = 0;

  Bytes tcp() const {
    Bytes out;
    ByteWriter w(out);
    w.be(source_port);
    w.be(destination_port);
    w.be(seq);
    w.be(ack);
    w.be(static_cast<uint16_t>(((20 + options.size()) / 4) << 12 | flags));
    w.be(window);
    w.be(uint32_t{0});
    w.bytes(options);
    w.bytes(payload);
    return out;
  }

  // Pseudo-header and TCP; its sum is what the checksum is made of.
  Bytes summed(const Bytes& segment) const {
    Bytes out;
    ByteWriter w(out);
    w.bytes(source);
    w.bytes(destination);
    if (v6) {
      w.be(static_cast<uint32_t>(segment.size()));
      w.be(uint32_t{6});
    } else {
      w.be(uint16_t{6});
      w.be(static_cast<uint16_t>(segment.size()));
    }
    w.bytes(segment);
    return out;
  }

  Bytes ip_header(size_t tcp_size) const {
    Bytes out;
    ByteWriter w(out);
    if (v6) {
      w.be(uint32_t{6} << 28 | uint32_t{traffic_class} << 20 | flow_label);
      w.be(static_cast<uint16_t>(extension_headers.size() + tcp_size));
      w.be(extension_headers.empty() ? protocol : first_next);
      w.be(hop_limit);
      w.bytes(source);
      w.bytes(destination);
      w.bytes(extension_headers);
      return out;
    }
    const size_t header = 20 + ip_options.size();
    w.be(static_cast<uint8_t>(0x40 | header / 4));
    w.be(traffic_class);
    w.be(static_cast<uint16_t>(header + tcp_size));
    w.be(ip_id);
    w.be(fragment);
    w.be(hop_limit);
    w.be(protocol);
    w.be(uint16_t{0});
    w.bytes(source);
    w.bytes(destination);
    w.bytes(ip_options);
    store_be(out.data() + 10, slow_internet_checksum(out));
    return out;
  }

  Bytes bytes() const {
    Bytes segment = tcp();
    store_be(segment.data() + 16, slow_internet_checksum(summed(segment)));
    Bytes out;
    ByteWriter w(out);
    w.bytes(destination_mac);
    w.bytes(source_mac);
    for (uint32_t vlan : vlans) w.be(vlan);
    w.be(static_cast<uint16_t>(v6 ? 0x86dd : 0x0800));
    w.bytes(ip_header(segment.size()));
    w.bytes(segment);
    w.zeros(padding);
    return out;
  }

  size_t ip_offset() const { return 14 + 4 * vlans.size(); }
  size_t tcp_offset() const { return ip_offset() + (v6 ? 40 + extension_headers.size() : 20 + ip_options.size()); }

  static SlowFrame ipv6() {
    SlowFrame f;
    f.v6 = true;
    f.source = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    f.destination = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xab, 2};
    f.flow_label = 0x54321;
    return f;
  }
};

}  // namespace us
