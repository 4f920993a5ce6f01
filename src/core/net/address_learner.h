// AddressLearner: which IP addresses a guest has, learned from the frames it sends, so that a takeover can announce
// them from another host.
//
// An address is *claimed* when the guest says it is its own (sender of an ARP packet, target of a neighbour
// advertisement), or merely *seen* as the source of an IP packet, which a guest that routes does with other people's
// addresses too.  Seen ones count only for a family in which nothing is claimed.  Only frames from the NIC's own MAC,
// untagged.  At most kMax addresses; a new claim replaces the oldest seen one, then the oldest claim.
// Replicated with each epoch: restore(snapshot()) gives the same addresses.  Bounded, pure.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "core/net/mac_address.h"

namespace us {

struct LearnedAddress {
  bool v6 = false;
  std::array<uint8_t, 16> bytes{};  // the first 4 for IPv4, the rest zero
  bool operator==(const LearnedAddress&) const = default;
};

class AddressLearner {
 public:
  static constexpr size_t kMax = 16;

  explicit AddressLearner(MacAddress mac) : mac_(mac) {}

  // A frame the guest sent, from its Ethernet header on.
  void observe(ByteSpan ethernet);

  // What to announce: the claimed addresses of each family, or if it has none the seen ones.
  std::vector<LearnedAddress> addresses() const;

  Bytes snapshot() const;
  // kProtocol, and nothing changed, if the bytes are no snapshot.
  Status restore(ByteSpan snapshot);

 private:
  struct Entry {
    LearnedAddress address;
    bool claimed;
  };
  void observe_arp(ByteSpan packet);
  void observe_ipv4(ByteSpan packet);
  void observe_ipv6(ByteSpan packet);
  void learn(const LearnedAddress& address, bool claimed);
  bool has_claim(bool v6) const;

  MacAddress mac_;
  std::vector<Entry> entries_;     // oldest first
  std::array<bool, 2> claimed_{};  // by family: v4, v6
};

}  // namespace us
