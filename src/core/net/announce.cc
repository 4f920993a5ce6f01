#include "core/net/announce.h"

namespace us {
namespace {

constexpr MacAddress kBroadcast = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
constexpr MacAddress kAllNodesMac = {0x33, 0x33, 0, 0, 0, 1};
constexpr std::array<uint8_t, 16> kAllNodes = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
constexpr size_t kEthernetMin = 60;  // without the checksum
constexpr uint16_t kTypeArp = 0x0806, kTypeRarp = 0x8035, kTypeIpv6 = 0x86dd;
constexpr uint16_t kArpRequest = 1, kArpReply = 2, kRarpRequest = 3;
constexpr uint8_t kIcmpv6 = 58, kNeighborAdvertisement = 136, kTargetLinkLayer = 2;
constexpr uint32_t kOverride = 0x2000'0000;

void ethernet(ByteWriter& w, const MacAddress& to, const MacAddress& from, uint16_t type) {
  w.bytes(to);
  w.bytes(from);
  w.be(type);
}

EthernetFrame padded(Bytes& bytes) {
  if (bytes.size() < kEthernetMin) bytes.resize(kEthernetMin);
  return EthernetFrame(ByteSpan(bytes));
}

// ARP and RARP share a layout.  Sender and target are both the guest.
EthernetFrame arp(uint16_t type, uint16_t operation, const MacAddress& mac, ByteSpan address,
                  const MacAddress& target_mac) {
  Bytes out;
  ByteWriter w(out);
  ethernet(w, kBroadcast, mac, type);
  w.be(uint16_t{1});  // Ethernet
  w.be(uint16_t{0x0800});
  w.le(uint8_t{6});
  w.le(uint8_t{4});
  w.be(operation);
  w.bytes(mac);
  w.bytes(address);
  w.bytes(target_mac);
  w.bytes(address);
  return padded(out);
}

// RFC 4443, section 2.3: over a pseudo-header of addresses, length and next header, then the message.
uint16_t icmpv6_checksum(ByteSpan source, ByteSpan destination, ByteSpan message) {
  uint64_t sum = message.size() + kIcmpv6;
  for (const ByteSpan part : {source, destination, message})
    for (size_t i = 0; i < part.size(); i += 2) sum += load_be<uint16_t>(part.data() + i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

EthernetFrame neighbor_advertisement(const MacAddress& mac, const LearnedAddress& address) {
  Bytes message;
  ByteWriter m(message);
  m.le(kNeighborAdvertisement);
  m.le(uint8_t{0});
  m.be(uint16_t{0});  // checksum, below
  m.be(kOverride);
  m.bytes(address.bytes);
  m.le(kTargetLinkLayer);
  m.le(uint8_t{1});  // in units of 8 bytes
  m.bytes(mac);
  store_be(message.data() + 2, icmpv6_checksum(address.bytes, kAllNodes, message));

  Bytes out;
  ByteWriter w(out);
  ethernet(w, kAllNodesMac, mac, kTypeIpv6);
  w.be(uint32_t{0x6000'0000});
  w.be(static_cast<uint16_t>(message.size()));
  w.le(kIcmpv6);
  w.le(uint8_t{255});  // hop limit: receivers refuse any other
  w.bytes(address.bytes);
  w.bytes(kAllNodes);
  w.bytes(message);
  return padded(out);
}

}  // namespace

std::vector<EthernetFrame> announcement(const MacAddress& mac, std::span<const LearnedAddress> addresses) {
  constexpr std::array<uint8_t, 4> kNoAddress{};
  std::vector<EthernetFrame> frames;
  frames.push_back(arp(kTypeRarp, kRarpRequest, mac, kNoAddress, mac));
  for (const LearnedAddress& a : addresses) {
    if (a.v6) {
      frames.push_back(neighbor_advertisement(mac, a));
      continue;
    }
    const ByteSpan v4 = ByteSpan(a.bytes).first(4);
    frames.push_back(arp(kTypeArp, kArpRequest, mac, v4, MacAddress{}));
    frames.push_back(arp(kTypeArp, kArpReply, mac, v4, mac));
  }
  return frames;
}

}  // namespace us
