#include "config/replica_address.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <charconv>

namespace us {
namespace {

std::optional<std::string> normal_ip(int family, const std::string& ip) {
  unsigned char raw[sizeof(in6_addr)];
  char text[INET6_ADDRSTRLEN];
  if (inet_pton(family, ip.c_str(), raw) != 1) return std::nullopt;
  if (inet_ntop(family, raw, text, sizeof text) == nullptr) return std::nullopt;
  return text;
}

std::optional<uint16_t> parse_port(std::string_view text) {
  uint16_t port = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, port);
  if (error != std::errc{} || rest != end || port == 0) return std::nullopt;
  return port;
}

}  // namespace

std::string ReplicaAddress::text() const {
  return is_ipv6() ? fmt::format("[{}]:{}", ip, port) : fmt::format("{}:{}", ip, port);
}

std::optional<ReplicaAddress> parse_replica_address(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view ip = text.substr(0, colon);
  const bool bracketed = ip.size() >= 2 && ip.front() == '[' && ip.back() == ']';
  if (bracketed) ip = ip.substr(1, ip.size() - 2);
  const auto port = parse_port(text.substr(colon + 1));
  const auto normal = normal_ip(bracketed ? AF_INET6 : AF_INET, std::string(ip));
  if (!port || !normal) return std::nullopt;
  return ReplicaAddress{*normal, *port};
}

}  // namespace us
