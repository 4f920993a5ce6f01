#include "qemu/block_stats.h"

#include <nlohmann/json.hpp>

namespace us {
namespace {

uint64_t number(const nlohmann::json& object, const char* name) {
  const auto it = object.find(name);
  return it != object.end() && it->is_number_unsigned() ? it->get<uint64_t>() : 0;
}

}  // namespace

FlushCounts parse_flush_counts(const nlohmann::json& answer) {
  FlushCounts out;
  if (!answer.is_array()) return out;
  for (const nlohmann::json& device : answer) {
    if (!device.is_object()) continue;
    const auto node = device.find("node-name");
    const auto stats = device.find("stats");
    if (node == device.end() || !node->is_string() || stats == device.end() || !stats->is_object()) continue;
    const auto flushes = stats->find("flush_operations");
    if (flushes == stats->end() || !flushes->is_number_unsigned()) continue;
    out[node->get<std::string>()] = flushes->get<uint64_t>() + number(*stats, "failed_flush_operations");
  }
  return out;
}

}  // namespace us
