#include "qemu/memory_map.h"

#include <cinttypes>
#include <cstdio>
#include <sstream>
#include <string>

namespace us {
namespace {

// "  0000000000100000-0000000007ffffff (prio 0, ram): mem @0000000000100000"; without "@" the offset is 0.
std::optional<MappedRam> parse_piece(const std::string& line) {
  uint64_t first = 0, last = 0, offset = 0;
  int priority = 0, name_at = 0;
  if (std::sscanf(line.c_str(), " %" SCNx64 "-%" SCNx64 " (prio %d, ram): %n", &first, &last, &priority, &name_at) != 3)
    return std::nullopt;
  std::istringstream rest(line.substr(static_cast<size_t>(name_at)));
  std::string name, at;
  rest >> name >> at;
  if (name_at == 0 || name != "mem" || last < first) return std::nullopt;
  if (!at.empty() && std::sscanf(at.c_str(), "@%" SCNx64, &offset) != 1) return std::nullopt;
  return MappedRam{first, last - first + 1, offset};
}

}  // namespace

std::vector<MappedRam> parse_memory_map(std::string_view output) {
  std::vector<MappedRam> map;
  std::istringstream lines{std::string(output)};
  bool wanted = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("FlatView")) {
      wanted = false;
      if (!map.empty()) break;
    }
    wanted = wanted || line.find("AS \"memory\"") != std::string::npos;
    if (!wanted) continue;
    if (const auto piece = parse_piece(line)) map.push_back(*piece);
  }
  return map;
}

std::optional<GuestPhysAddr> guest_address(const std::vector<MappedRam>& map, uint64_t offset) {
  for (const MappedRam& piece : map)
    if (offset >= piece.offset && offset - piece.offset < piece.size)
      return GuestPhysAddr{piece.start + (offset - piece.offset)};
  return std::nullopt;
}

}  // namespace us
