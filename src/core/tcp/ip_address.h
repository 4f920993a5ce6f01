// IpAddress: an IPv4 or IPv6 address as a value; Endpoint: with its port.
//
// An IPv4-mapped IPv6 address (::ffff:a.b.c.d) is not the IPv4 address a.b.c.d: the version is compared too.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace us {

enum class IpVersion : uint8_t { kV4 = 4, kV6 = 6 };

class IpAddress {
 public:
  constexpr IpAddress() = default;  // 0.0.0.0
  static constexpr IpAddress v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
    IpAddress out;
    out.bytes_ = {a, b, c, d};
    return out;
  }
  // Exactly 4 or 16 bytes in network order.
  static Result<IpAddress> from_bytes(ByteSpan bytes);
  static IpAddress from_v4_bytes(const uint8_t* four_bytes);
  static IpAddress from_v6_bytes(const uint8_t* sixteen_bytes);

  constexpr IpVersion version() const { return version_; }
  constexpr bool is_v4() const { return version_ == IpVersion::kV4; }
  // 4 or 16 bytes in network order.
  ByteSpan bytes() const { return {bytes_.data(), is_v4() ? size_t{4} : size_t{16}}; }

  auto operator<=>(const IpAddress&) const = default;

 private:
  std::array<uint8_t, 16> bytes_{};  // IPv4: the first four, the rest zero
  IpVersion version_ = IpVersion::kV4;
};

struct Endpoint {
  IpAddress address;
  uint16_t port = 0;
  auto operator<=>(const Endpoint&) const = default;
};

// "192.0.2.1"; IPv6 as RFC 5952 recommends.
std::string to_string(const IpAddress&);
// "192.0.2.1:80", "[2001:db8::1]:80".
std::string to_string(const Endpoint&);

}  // namespace us

// Not keyed: a table that the network can fill must mix in a secret of its own.
template <>
struct std::hash<us::IpAddress> {
  size_t operator()(const us::IpAddress&) const noexcept;
};
