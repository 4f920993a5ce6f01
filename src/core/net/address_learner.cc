// ARP: RFC 826.  Neighbour advertisement: RFC 4861, section 4.4.
//
// Snapshot: u8 count, then for each address, oldest first: u8 family (4 or 6), u8 claimed (0 or 1), 16 bytes.
#include "core/net/address_learner.h"

#include <algorithm>

namespace us {
namespace {

constexpr size_t kEthernetBytes = 14;
constexpr uint16_t kTypeIpv4 = 0x0800, kTypeArp = 0x0806, kTypeIpv6 = 0x86dd;
constexpr size_t kArpBytes = 28, kIpv4Bytes = 20, kIpv6Bytes = 40, kNaBytes = 24;
constexpr uint8_t kNextHeaderIcmpv6 = 58, kNeighborAdvertisement = 136;
constexpr size_t kSnapshotEntryBytes = 18;

LearnedAddress make_v4(const uint8_t* p) {
  LearnedAddress a;
  std::copy_n(p, 4, a.bytes.begin());
  return a;
}

LearnedAddress make_v6(const uint8_t* p) {
  LearnedAddress a;
  a.v6 = true;
  std::copy_n(p, 16, a.bytes.begin());
  return a;
}

// Can a single host own it?  Not: unspecified, this-network, loopback, multicast, broadcast.
bool is_ownable(const LearnedAddress& a) {
  if (!a.v6) return a.bytes[0] != 0 && a.bytes[0] != 127 && a.bytes[0] < 224;
  const bool mostly_zero = std::all_of(a.bytes.begin(), a.bytes.end() - 1, [](uint8_t b) { return b == 0; });
  return a.bytes[0] != 0xff && !(mostly_zero && a.bytes[15] <= 1);
}

}  // namespace

void AddressLearner::observe(ByteSpan ethernet) {
  if (ethernet.size() < kEthernetBytes || !std::equal(mac_.begin(), mac_.end(), ethernet.begin() + 6)) return;
  const ByteSpan packet = ethernet.subspan(kEthernetBytes);
  switch (load_be<uint16_t>(ethernet.data() + 12)) {
    case kTypeArp:
      return observe_arp(packet);
    case kTypeIpv4:
      return observe_ipv4(packet);
    case kTypeIpv6:
      return observe_ipv6(packet);
    default:
      return;
  }
}

void AddressLearner::observe_arp(ByteSpan packet) {
  if (packet.size() < kArpBytes) return;
  const bool ethernet_ipv4 = load_be<uint16_t>(packet.data()) == 1 &&
                             load_be<uint16_t>(packet.data() + 2) == kTypeIpv4 && packet[4] == 6 && packet[5] == 4;
  if (!ethernet_ipv4 || !std::equal(mac_.begin(), mac_.end(), packet.begin() + 8)) return;
  learn(make_v4(packet.data() + 14), true);
}

void AddressLearner::observe_ipv4(ByteSpan packet) {
  if (claimed_[0] || packet.size() < kIpv4Bytes) return;
  learn(make_v4(packet.data() + 12), false);
}

void AddressLearner::observe_ipv6(ByteSpan packet) {
  if (packet.size() < kIpv6Bytes) return;
  if (packet[6] == kNextHeaderIcmpv6 && packet.size() >= kIpv6Bytes + kNaBytes &&
      packet[kIpv6Bytes] == kNeighborAdvertisement)
    return learn(make_v6(packet.data() + kIpv6Bytes + 8), true);
  if (!claimed_[1]) learn(make_v6(packet.data() + 8), false);
}

void AddressLearner::learn(const LearnedAddress& address, bool claimed) {
  if (!is_ownable(address)) return;
  const auto known =
      std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.address == address; });
  if (known != entries_.end()) {
    known->claimed |= claimed;
  } else {
    if (entries_.size() == kMax) {
      auto victim = std::find_if(entries_.begin(), entries_.end(), [](const Entry& e) { return !e.claimed; });
      if (victim == entries_.end()) {
        if (!claimed) return;
        victim = entries_.begin();
      }
      entries_.erase(victim);
    }
    entries_.push_back({address, claimed});
  }
  claimed_ = {has_claim(false), has_claim(true)};
}

bool AddressLearner::has_claim(bool v6) const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [v6](const Entry& e) { return e.claimed && e.address.v6 == v6; });
}

std::vector<LearnedAddress> AddressLearner::addresses() const {
  std::vector<LearnedAddress> out;
  for (const Entry& e : entries_)
    if (e.claimed || !claimed_[e.address.v6 ? 1 : 0]) out.push_back(e.address);
  return out;
}

Bytes AddressLearner::snapshot() const {
  Bytes out;
  ByteWriter w(out);
  w.le(static_cast<uint8_t>(entries_.size()));
  for (const Entry& e : entries_) {
    w.le(static_cast<uint8_t>(e.address.v6 ? 6 : 4));
    w.le(static_cast<uint8_t>(e.claimed ? 1 : 0));
    w.bytes(e.address.bytes);
  }
  return out;
}

Status AddressLearner::restore(ByteSpan snapshot) {
  ByteReader in(snapshot);
  const uint8_t count = in.le<uint8_t>();
  if (!in.ok() || count > kMax || in.remaining() != count * kSnapshotEntryBytes)
    return fail(ErrorKind::kProtocol, "learned addresses: wrong length");
  std::vector<Entry> entries;
  for (uint8_t i = 0; i < count; ++i) {
    const uint8_t family = in.le<uint8_t>();
    const uint8_t claimed = in.le<uint8_t>();
    Entry e{{.v6 = family == 6}, claimed == 1};
    const ByteSpan bytes = in.bytes(16);
    std::copy(bytes.begin(), bytes.end(), e.address.bytes.begin());
    if ((family != 4 && family != 6) || claimed > 1 || !is_ownable(e.address))
      return fail(ErrorKind::kProtocol, "learned addresses: an entry makes no sense");
    entries.push_back(e);
  }
  entries_ = std::move(entries);
  claimed_ = {has_claim(false), has_claim(true)};
  return {};
}

}  // namespace us
