#include "config/derived_names.h"

#include <fmt/format.h>

#include <algorithm>

namespace us::config {
namespace {

// FNV-1a, 64 bits: stable across hosts and versions, which std::hash is not.
uint64_t stable_hash(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const unsigned char c : text) hash = (hash ^ c) * 0x100000001b3u;
  return hash;
}

}  // namespace

std::string derived_tap_name(std::string_view vm_name, size_t nic) {
  std::string whole = fmt::format("us-{}-{}", vm_name, nic);
  if (whole.size() <= kInterfaceNameMax) return whole;
  const std::string tail = fmt::format("{:04x}-{}", stable_hash(vm_name) & 0xffff, nic);
  return fmt::format("us-{}{}", vm_name.substr(0, kInterfaceNameMax - 3 - tail.size()), tail);
}

std::array<uint8_t, 6> derived_mac(std::string_view vm_name, size_t nic) {
  const uint64_t hash = stable_hash(fmt::format("{}/{}", vm_name, nic));
  return {
      0x52, 0x54, 0x00, static_cast<uint8_t>(hash >> 16), static_cast<uint8_t>(hash >> 8), static_cast<uint8_t>(hash)};
}

bool is_interface_name(std::string_view name) {
  if (name.empty() || name.size() > kInterfaceNameMax) return false;
  if (name == "." || name == ".." || name == "all" || name == "default") return false;
  return std::none_of(name.begin(), name.end(),
                      [](unsigned char c) { return c == '/' || c == ':' || c == '%' || c <= 0x20 || c >= 0x7f; });
}

}  // namespace us::config
