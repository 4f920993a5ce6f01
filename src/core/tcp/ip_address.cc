#include "core/tcp/ip_address.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace us {

Result<IpAddress> IpAddress::from_bytes(ByteSpan bytes) {
  if (bytes.size() == 4) return from_v4_bytes(bytes.data());
  if (bytes.size() == 16) return from_v6_bytes(bytes.data());
  return fail(ErrorKind::kProtocol, "an IP address has 4 or 16 bytes");
}

IpAddress IpAddress::from_v4_bytes(const uint8_t* four_bytes) {
  IpAddress out;
  std::memcpy(out.bytes_.data(), four_bytes, 4);
  return out;
}

IpAddress IpAddress::from_v6_bytes(const uint8_t* sixteen_bytes) {
  IpAddress out;
  std::memcpy(out.bytes_.data(), sixteen_bytes, 16);
  out.version_ = IpVersion::kV6;
  return out;
}

namespace {

// RFC 5952 section 4.2: the longest run of at least two zero groups, the first of equals, becomes "::".
std::string v6_to_string(const uint8_t* bytes) {
  std::array<uint16_t, 8> groups;
  for (size_t i = 0; i < 8; ++i) groups[i] = load_be<uint16_t>(bytes + 2 * i);
  size_t run_start = 8;
  size_t run_length = 1;
  for (size_t i = 0; i < 8; ++i) {
    size_t n = 0;
    while (i + n < 8 && groups[i + n] == 0) ++n;
    if (n > run_length) run_start = i, run_length = n;
  }
  std::string out;
  for (size_t i = 0; i < 8; ++i) {
    if (i == run_start) {
      out += "::";
      i += run_length - 1;
    } else {
      if (!out.empty() && out.back() != ':') out += ':';
      out += fmt::format("{:x}", groups[i]);
    }
  }
  return out;
}

}  // namespace

std::string to_string(const IpAddress& address) {
  const uint8_t* b = address.bytes().data();
  return address.is_v4() ? fmt::format("{}.{}.{}.{}", b[0], b[1], b[2], b[3]) : v6_to_string(b);
}

std::string to_string(const Endpoint& e) {
  const std::string address = to_string(e.address);
  return e.address.is_v4() ? fmt::format("{}:{}", address, e.port) : fmt::format("[{}]:{}", address, e.port);
}

}  // namespace us

size_t std::hash<us::IpAddress>::operator()(const us::IpAddress& address) const noexcept {
  // Two words through the finalizer of MurmurHash3; IPv4 has its four bytes in the first word.
  const us::ByteSpan bytes = address.bytes();
  uint8_t raw[16] = {};
  std::memcpy(raw, bytes.data(), bytes.size());
  uint64_t h = us::load_le<uint64_t>(raw) ^ (us::load_le<uint64_t>(raw + 8) * 0x9e3779b97f4a7c15u);
  h ^= h >> 33;
  h *= 0xff51afd7ed558ccdu;
  h ^= h >> 33;
  return static_cast<size_t>(h ^ bytes.size());
}
