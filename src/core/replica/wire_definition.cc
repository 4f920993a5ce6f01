#include "core/replica/wire_definition.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <map>
#include <vector>

#include "core/replica/wire_text.h"

namespace us {
namespace {

constexpr size_t kShownBytesMax = 200;  // of one value in the explanation
constexpr std::string_view kSeparator = " = ";

struct Definition {
  std::vector<std::string_view> keys;  // in order of first appearance
  std::map<std::string_view, std::vector<std::string_view>> values;
};

// A line without a separator counts as a key with an empty value.
Definition parse_definition(std::string_view text) {
  Definition out;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    if (line.empty()) continue;
    const size_t cut = line.find(kSeparator);
    const std::string_view key = line.substr(0, cut);
    std::vector<std::string_view>& values = out.values[key];
    if (values.empty()) out.keys.push_back(key);
    values.push_back(cut == std::string_view::npos ? std::string_view{} : line.substr(cut + kSeparator.size()));
  }
  return out;
}

std::string show(const std::vector<std::string_view>* values) {
  if (values == nullptr) return "absent";
  std::string all;
  for (const std::string_view value : *values) {
    if (!all.empty()) all += ", ";
    all += fmt::format("\"{}\"", value);
    if (all.size() > kShownBytesMax) return clean_text(all, kShownBytesMax) + "...";
  }
  return all;
}

const std::vector<std::string_view>* find(const Definition& definition, std::string_view key) {
  const auto at = definition.values.find(key);
  return at == definition.values.end() ? nullptr : &at->second;
}

}  // namespace

uint64_t definition_hash(std::string_view text) { return XXH3_64bits(text.data(), text.size()); }

std::string explain_definition_difference(std::string_view primary, std::string_view standby) {
  const Definition a = parse_definition(primary);
  const Definition b = parse_definition(standby);
  std::string out;
  const auto compare = [&](std::string_view key) {
    const auto* on_primary = find(a, key);
    const auto* on_standby = find(b, key);
    if (on_primary != nullptr && on_standby != nullptr && *on_primary == *on_standby) return;
    if (!out.empty()) out += "; ";
    out += fmt::format("{} is {} on the primary and {} on the standby", clean_text(key, kShownBytesMax),
                       show(on_primary), show(on_standby));
  };
  for (const std::string_view key : a.keys) compare(key);
  for (const std::string_view key : b.keys)
    if (find(a, key) == nullptr) compare(key);
  return out;
}

}  // namespace us
