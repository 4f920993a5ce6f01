#include "config/field_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

namespace us::config {
namespace {

// Levenshtein distance: insertions, deletions and replacements.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

// A string that can be an argument, a path or a line of canonical text.
bool is_plain(std::string_view text) {
  const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
  return !text.empty() && std::none_of(text.begin(), text.end(), is_control);
}

// "epoch" for the key "length" when `full_keys` has "epoch.length".
std::optional<std::string_view> table_of(std::string_view key, std::span<const std::string_view> full_keys) {
  for (const std::string_view full : full_keys) {
    const size_t dot = full.rfind('.');
    if (full.substr(dot + 1) == key) return full.substr(0, dot);
  }
  return std::nullopt;
}

}  // namespace

std::string Faults::text() const {
  std::vector<Fault> sorted = list_;
  std::stable_sort(sorted.begin(), sorted.end(), [](const Fault& a, const Fault& b) { return a.at < b.at; });
  std::string out;
  for (const Fault& fault : sorted) {
    if (!out.empty()) out += '\n';
    out += file_name_;
    if (fault.at.line > 0) out += fmt::format(":{}:{}", fault.at.line, fault.at.column);
    out += ": " + fault.what;
  }
  return out;
}

FieldReader::FieldReader(const Node* table, std::string path, Location at, Faults& faults)
    : table_(table), path_(std::move(path)), at_(at), faults_(faults) {}

std::string FieldReader::full_key(std::string_view key) const {
  return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

bool FieldReader::has(std::string_view key) const {
  if (table_ == nullptr) return false;
  return std::any_of(table_->members.begin(), table_->members.end(), [&](const Member& m) { return m.key == key; });
}

const Node* FieldReader::take(std::string_view key) {
  known_.emplace(key);
  if (table_ == nullptr) return nullptr;
  for (const Member& member : table_->members)
    if (member.key == key) return &member.value;
  return nullptr;
}

const Node* FieldReader::take(std::string_view key, Node::Kind kind, std::string_view example) {
  const Node* node = take(key);
  if (node == nullptr || node->kind == kind) return node;
  faults_.add(node->at, fmt::format("{}: {} is {}; expected {}{}", full_key(key), shown(*node), kind_name(node->kind),
                                    kind_name(kind), example));
  return nullptr;
}

const Node* FieldReader::any(std::string_view key) { return take(key); }

const Node* FieldReader::table(std::string_view key) {
  const Node* node = take(key);
  if (node == nullptr || node->kind == Node::Kind::kTable) return node;
  faults_.add(node->at, fmt::format("{}: expected a table, written as [{}] on a line of its own", full_key(key), key));
  return nullptr;
}

std::span<const Node> FieldReader::list(std::string_view key, Node::Kind item_kind) {
  std::string example = item_kind == Node::Kind::kTable ? fmt::format(" of tables, each written as [[{}]]", key)
                                                        : std::string(" of strings, such as [\"...\", \"...\"]");
  const Node* node = take(key, Node::Kind::kArray, example);
  if (node == nullptr) return {};
  bool good = true;
  for (const Node& item : node->items) {
    if (item.kind != item_kind) {
      faults_.add(item.at, fmt::format("{}: {} is {}; expected {}", full_key(key), shown(item), kind_name(item.kind),
                                       kind_name(item_kind)));
    } else if (item.kind == Node::Kind::kString && !is_plain(item.text)) {
      faults_.add(item.at, fmt::format("{}: {} is empty or has control characters", full_key(key), shown(item)));
    } else {
      continue;
    }
    good = false;
  }
  return good ? std::span<const Node>(node->items) : std::span<const Node>{};
}

std::optional<std::string> FieldReader::string(std::string_view key) {
  const Node* node = take(key, Node::Kind::kString, "");
  if (node == nullptr) return std::nullopt;
  if (!is_plain(node->text)) {
    faults_.add(node->at, fmt::format("{}: {} is empty or has control characters", full_key(key), shown(*node)));
    return std::nullopt;
  }
  return node->text;
}

std::optional<bool> FieldReader::boolean(std::string_view key) {
  const Node* node = take(key, Node::Kind::kBoolean, ": true or false");
  return node == nullptr ? std::nullopt : std::optional(node->boolean);
}

std::optional<int64_t> FieldReader::integer(std::string_view key, Range<int64_t> range) {
  const Node* node = take(key, Node::Kind::kInteger, fmt::format(" from {} to {}", range.low, range.high));
  if (node == nullptr) return std::nullopt;
  if (node->integer >= range.low && node->integer <= range.high) return node->integer;
  faults_.add(node->at, fmt::format("{}: {} is out of range; expected an integer from {} to {}", full_key(key),
                                    node->integer, range.low, range.high));
  return std::nullopt;
}

std::optional<uint64_t> FieldReader::size(std::string_view key, Range<uint64_t> range, uint64_t step) {
  std::string accepted = fmt::format("from \"{}\" to \"{}\"", size_text(range.low), size_text(range.high));
  if (step > 1) accepted += fmt::format(", a multiple of {}", size_text(step));
  const Node* node = take(key, Node::Kind::kString, " with a unit, " + accepted);
  if (node == nullptr) return std::nullopt;
  const auto bytes = parse_size(node->text);
  if (bytes && *bytes >= range.low && *bytes <= range.high && *bytes % step == 0) return bytes;
  const std::string_view what = bytes ? "is not an accepted size" : "is not a size (a whole number and K, M, G or T)";
  faults_.add(node->at, fmt::format("{}: {} {}; expected a size {}", full_key(key), shown(*node), what, accepted));
  return std::nullopt;
}

std::optional<Duration> FieldReader::duration(std::string_view key, Range<Duration> range) {
  const std::string accepted =
      fmt::format("from \"{}\" to \"{}\"", duration_text(range.low), duration_text(range.high));
  const Node* node = take(key, Node::Kind::kString, " with a unit, " + accepted);
  if (node == nullptr) return std::nullopt;
  const auto value = parse_duration(node->text);
  if (value && *value >= range.low && *value <= range.high) return value;
  const std::string_view what = value ? "is out of range" : "is not a time (a whole number and us, ms or s)";
  faults_.add(node->at, fmt::format("{}: {} {}; expected a time {}", full_key(key), shown(*node), what, accepted));
  return std::nullopt;
}

std::optional<size_t> FieldReader::one_of(std::string_view key, std::span<const std::string_view> accepted) {
  const std::string list = fmt::format("\"{}\"", fmt::join(accepted, "\", \""));
  const Node* node = take(key, Node::Kind::kString, ": one of " + list);
  if (node == nullptr) return std::nullopt;
  const auto found = std::find(accepted.begin(), accepted.end(), node->text);
  if (found != accepted.end()) return static_cast<size_t>(found - accepted.begin());
  std::string what = fmt::format("{}: {} is not known; expected one of {}", full_key(key), shown(*node), list);
  if (const auto near = closest(node->text, accepted)) what += fmt::format(" (did you mean \"{}\"?)", *near);
  faults_.add(node->at, std::move(what));
  return std::nullopt;
}

void FieldReader::require(std::string_view key, std::string_view advice) {
  if (!has(key)) faults_.add(at_, fmt::format("{} is missing: {}", full_key(key), advice));
}

void FieldReader::fault(std::string_view key, std::string what) {
  const Node* node = take(key);
  faults_.add(node != nullptr ? node->at : at_, fmt::format("{}: {}", full_key(key), what));
}

void FieldReader::finish(std::span<const std::string_view> elsewhere) {
  if (table_ == nullptr) return;
  const std::vector<std::string_view> known(known_.begin(), known_.end());
  for (const Member& member : table_->members) {
    if (known_.contains(member.key)) continue;
    std::string what = fmt::format("{}: unknown key; ", full_key(member.key));
    if (const auto home = table_of(member.key, elsewhere)) {
      what += fmt::format("{} belongs in [{}]. ", member.key, *home);
    } else if (const auto near = closest(member.key, known)) {
      what += fmt::format("did you mean {}? ", *near);
    }
    what += fmt::format("Known here: {}", fmt::join(known, ", "));
    faults_.add(member.key_at, std::move(what));
  }
}

std::optional<std::string_view> closest(std::string_view word, std::span<const std::string_view> candidates) {
  constexpr size_t kLengthMax = 64;  // bounds the work; no key is nearly as long
  if (word.size() > kLengthMax) return std::nullopt;
  std::optional<std::string_view> best;
  size_t best_distance = std::max<size_t>(1, word.size() / 3) + 1;
  for (const std::string_view candidate : candidates) {
    const size_t distance = edit_distance(word, candidate);
    if (distance >= best_distance) continue;
    best = candidate;
    best_distance = distance;
  }
  return best;
}

}  // namespace us::config
