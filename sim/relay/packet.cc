#include "sim/relay/packet.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace us::sim::relay {
namespace {

constexpr size_t kEthernet = 14;
constexpr uint16_t kGuestPort = 80;
constexpr std::array<uint8_t, 6> kGuestMac = {2, 0, 0, 0, 0, 1}, kClientMac = {2, 0, 0, 0, 0, 2};

using Address = std::array<uint8_t, 16>;
Address address_of(bool guest, bool v6) {
  Address a{};
  if (v6) a = {0x20, 0x01, 0x0d, 0xb8};
  uint8_t* last = a.data() + (v6 ? 12 : 0);
  const uint8_t tail[4] = {10, 0, 0, static_cast<uint8_t>(guest ? 2 : 77)};
  std::memcpy(last, tail, 4);
  return a;
}

void put16(uint8_t* at, uint32_t v) {
  at[0] = static_cast<uint8_t>(v >> 8);
  at[1] = static_cast<uint8_t>(v);
}
void put32(uint8_t* at, uint32_t v) {
  put16(at, v >> 16);
  put16(at + 2, v & 0xffff);
}
uint16_t get16(const uint8_t* at) { return static_cast<uint16_t>(at[0] << 8 | at[1]); }
uint32_t get32(const uint8_t* at) { return uint32_t{get16(at)} << 16 | get16(at + 2); }

uint32_t sum_of(const uint8_t* at, size_t n, uint32_t sum = 0) {
  for (; n > 1; n -= 2, at += 2) sum += get16(at);
  return n == 1 ? sum + (uint32_t{*at} << 8) : sum;
}
uint16_t fold(uint32_t sum) {
  while (sum > 0xffff) sum = (sum >> 16) + (sum & 0xffff);
  return static_cast<uint16_t>(sum);
}

uint32_t pseudo_sum(const uint8_t* source, const uint8_t* destination, bool v6, size_t tcp_bytes) {
  const size_t n = v6 ? 16 : 4;
  return sum_of(source, n) + sum_of(destination, n) + 6 + static_cast<uint32_t>(tcp_bytes & 0xffff) +
         static_cast<uint32_t>(tcp_bytes >> 16);
}

size_t put_options(const Packet& p, uint8_t* at) {
  uint8_t* o = at;
  if (p.mss) {
    *o++ = 2, *o++ = 4;
    put16(o, *p.mss), o += 2;
  }
  if (p.has_timestamps) {
    *o++ = 1, *o++ = 1, *o++ = 8, *o++ = 10;
    put32(o, p.tsval), put32(o + 4, p.tsecr), o += 8;
  }
  if (p.sack_permitted) *o++ = 1, *o++ = 1, *o++ = 4, *o++ = 2;
  if (p.scale) *o++ = 1, *o++ = 3, *o++ = 3, *o++ = *p.scale;
  if (!p.sacks.empty()) {
    *o++ = 1, *o++ = 1, *o++ = 5, *o++ = static_cast<uint8_t>(2 + 8 * p.sacks.size());
    for (const Sack& s : p.sacks) put32(o, s.start), put32(o + 4, s.end), o += 8;
  }
  return static_cast<size_t>(o - at);
}

bool read_options(const uint8_t* at, const uint8_t* end, Packet& p) {
  while (at < end && *at != 0) {
    if (*at == 1) {
      ++at;
      continue;
    }
    if (end - at < 2 || at[1] < 2 || end - at < at[1]) return false;
    const uint8_t kind = at[0], n = at[1];
    if (kind == 2 && n == 4)
      p.mss = get16(at + 2);
    else if (kind == 3 && n == 3)
      p.scale = at[2];
    else if (kind == 4 && n == 2)
      p.sack_permitted = true;
    else if (kind == 8 && n == 10)
      p.has_timestamps = true, p.tsval = get32(at + 2), p.tsecr = get32(at + 6);
    else if (kind == 5 && n > 2 && (n - 2) % 8 == 0)
      for (uint8_t i = 2; i < n; i = static_cast<uint8_t>(i + 8)) p.sacks.push_back({get32(at + i), get32(at + i + 4)});
    else
      return false;
    at += n;
  }
  return true;
}

}  // namespace

std::string describe(const Packet& p) {
  std::string text = fmt::format("#{} {}{}{}{} seq {} len {} ack {} win {}", p.conn, p.has(flag::kSyn) ? "S" : "",
                                 p.has(flag::kFin) ? "F" : "", p.has(flag::kRst) ? "R" : "",
                                 p.has(flag::kAck) ? "." : "", p.seq, p.payload.size(), p.ack, p.window);
  if (p.has_timestamps) text += fmt::format(" ts {}/{}", p.tsval, p.tsecr);
  for (const Sack& s : p.sacks) text += fmt::format(" sack {}-{}", s.start, s.end);
  return text;
}

EthernetFrame build_frame(const Packet& p, bool from_guest, bool offload) {
  const bool v6 = is_v6(p.conn);
  const size_t ip_bytes = v6 ? 40 : 20;
  uint8_t options[60];
  const size_t tcp_header = 20 + put_options(p, options);
  const size_t tcp_bytes = tcp_header + p.payload.size();
  EthernetFrame frame(kEthernet + ip_bytes + tcp_bytes);
  uint8_t* b = frame.ethernet().data();
  std::memset(b, 0, kEthernet + ip_bytes + tcp_header);
  std::memcpy(b, (from_guest ? kClientMac : kGuestMac).data(), 6);
  std::memcpy(b + 6, (from_guest ? kGuestMac : kClientMac).data(), 6);
  put16(b + 12, v6 ? 0x86dd : 0x0800);
  uint8_t* ip = b + kEthernet;
  const Address source = address_of(from_guest, v6), destination = address_of(!from_guest, v6);
  if (v6) {
    ip[0] = 0x60;
    put16(ip + 4, static_cast<uint32_t>(tcp_bytes));
    ip[6] = 6, ip[7] = 64;
    std::memcpy(ip + 8, source.data(), 16);
    std::memcpy(ip + 24, destination.data(), 16);
  } else {
    ip[0] = 0x45;
    put16(ip + 2, static_cast<uint32_t>(ip_bytes + tcp_bytes));
    ip[6] = 0x40, ip[8] = 64, ip[9] = 6;
    std::memcpy(ip + 12, source.data(), 4);
    std::memcpy(ip + 16, destination.data(), 4);
    put16(ip + 10, 0xffffu & ~uint32_t{fold(sum_of(ip, 20))});
  }
  uint8_t* tcp = ip + ip_bytes;
  const auto client_port = static_cast<uint16_t>(kClientPort + p.conn);
  put16(tcp, from_guest ? kGuestPort : client_port);
  put16(tcp + 2, from_guest ? client_port : kGuestPort);
  put32(tcp + 4, p.seq);
  put32(tcp + 8, p.has(flag::kAck) ? p.ack : 0);
  tcp[12] = static_cast<uint8_t>(tcp_header / 4 << 4);
  tcp[13] = p.flags;
  put16(tcp + 14, p.window);
  std::memcpy(tcp + 20, options, tcp_header - 20);
  std::memcpy(tcp + tcp_header, p.payload.data(), p.payload.size());
  const uint32_t pseudo = pseudo_sum(source.data(), destination.data(), v6, tcp_bytes);
  VnetHeader vnet;
  if (offload) {
    vnet.flags = VnetHeader::kNeedsChecksum;
    vnet.checksum_start = static_cast<uint16_t>(kEthernet + ip_bytes);
    vnet.checksum_offset = 16;
    put16(tcp + 16, fold(pseudo));
    if (p.segment_bytes != 0 && p.payload.size() > p.segment_bytes) {
      vnet.gso_type = v6 ? VnetHeader::kGsoTcp6 : VnetHeader::kGsoTcp4;
      vnet.gso_size = p.segment_bytes;
      vnet.header_length = static_cast<uint16_t>(kEthernet + ip_bytes + tcp_header);
    }
  } else {
    put16(tcp + 16, 0xffffu & ~uint32_t{fold(sum_of(tcp, tcp_bytes, pseudo))});
  }
  frame.set_header(vnet);
  return frame;
}

Parsed read_frame(const EthernetFrame& frame, bool from_guest) {
  const auto fault = [](std::string text) { return Parsed{std::nullopt, std::move(text)}; };
  const ByteSpan bytes = frame.ethernet();
  if (bytes.size() < kEthernet + 40) return fault("shorter than its headers");
  const uint8_t* ip = bytes.data() + kEthernet;
  const uint16_t type = get16(bytes.data() + 12);
  if (type != 0x0800 && type != 0x86dd) return fault("not IP");
  const bool v6 = type == 0x86dd;
  const size_t ip_bytes = v6 ? 40 : 20;
  if (bytes.size() < kEthernet + ip_bytes + 20) return fault("shorter than its headers");
  const size_t total = v6 ? 40u + get16(ip + 4) : get16(ip + 2);
  if (kEthernet + total != bytes.size()) return fault("IP length");
  if (!v6 && fold(sum_of(ip, 20)) != 0xffff) return fault("IP checksum");
  if ((v6 ? ip[6] : ip[9]) != 6 || ip[0] != (v6 ? 0x60 : 0x45)) return fault("IP header");
  const uint8_t* source = ip + (v6 ? 8 : 12);
  const uint8_t* destination = ip + (v6 ? 24 : 16);
  const size_t n = v6 ? 16 : 4;
  if (std::memcmp(source, address_of(from_guest, v6).data(), n) != 0) return fault("source address");
  if (std::memcmp(destination, address_of(!from_guest, v6).data(), n) != 0) return fault("destination address");
  if (std::memcmp(bytes.data() + 6, (from_guest ? kGuestMac : kClientMac).data(), 6) != 0) return fault("source MAC");

  const uint8_t* tcp = ip + ip_bytes;
  const size_t tcp_bytes = total - ip_bytes;
  const size_t header = size_t{tcp[12]} / 16 * 4;
  if (header < 20 || header > tcp_bytes) return fault("TCP data offset");
  const VnetHeader vnet = frame.header();
  const uint32_t pseudo = pseudo_sum(source, destination, v6, tcp_bytes);
  if (vnet.flags & VnetHeader::kNeedsChecksum) {
    if (get16(tcp + 16) != fold(pseudo)) return fault("pseudo-header sum");
    if (vnet.checksum_start != kEthernet + ip_bytes || vnet.checksum_offset != 16) return fault("checksum place");
  } else if (fold(sum_of(tcp, tcp_bytes, pseudo)) != 0xffff) {
    return fault("TCP checksum");
  }
  const uint16_t near = get16(tcp + (from_guest ? 0 : 2)), far = get16(tcp + (from_guest ? 2 : 0));
  if (near != kGuestPort || far < kClientPort || far > kClientPort + 255) return fault("ports");

  Packet p;
  p.conn = static_cast<uint8_t>(far - kClientPort);
  p.seq = get32(tcp + 4);
  p.ack = get32(tcp + 8);
  p.flags = tcp[13];
  p.window = get16(tcp + 14);
  if (!read_options(tcp + 20, tcp + header, p)) return fault("TCP options");
  p.payload.assign(tcp + header, tcp + tcp_bytes);
  if (vnet.gso_type != VnetHeader::kGsoNone) {
    if (vnet.gso_type != (v6 ? VnetHeader::kGsoTcp6 : VnetHeader::kGsoTcp4)) return fault("GSO type");
    if (vnet.gso_size == 0) return fault("GSO size");
    p.segment_bytes = vnet.gso_size;
  }
  if (is_v6(p.conn) != v6) return fault("ports");
  return {std::move(p), {}};
}

std::vector<Packet> cut_into_segments(Packet packet) {
  std::vector<Packet> out;
  const size_t piece = packet.segment_bytes;
  if (piece == 0 || packet.payload.size() <= piece) {
    out.push_back(std::move(packet));
    return out;
  }
  for (size_t at = 0; at < packet.payload.size(); at += piece) {
    const size_t n = std::min(piece, packet.payload.size() - at);
    const bool last = at + n == packet.payload.size();
    Packet one = packet;
    one.segment_bytes = 0;
    one.seq = packet.seq + static_cast<uint32_t>(at);
    one.payload.assign(packet.payload.begin() + static_cast<ptrdiff_t>(at),
                       packet.payload.begin() + static_cast<ptrdiff_t>(at + n));
    if (!last) one.flags = static_cast<uint8_t>(one.flags & ~(flag::kFin | flag::kPsh));
    out.push_back(std::move(one));
  }
  return out;
}

}  // namespace us::sim::relay
