// ReplicaAddress: where a host listens for the other host of a VM, "10.0.0.1:7400" or "[fd00::1]:7400".
//
// Only numeric addresses: a name server must never decide whether a standby is found.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace us {

struct ReplicaAddress {
  std::string ip;  // as inet_ntop writes it, so that equal addresses are equal strings; no brackets
  uint16_t port = 0;

  bool is_ipv6() const { return ip.find(':') != std::string::npos; }
  std::string text() const;  // parses back to the same address
  auto operator<=>(const ReplicaAddress&) const = default;
};

// Nothing when `text` is not a numeric address and a port from 1 to 65535.
std::optional<ReplicaAddress> parse_replica_address(std::string_view text);

}  // namespace us
