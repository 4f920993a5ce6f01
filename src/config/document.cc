#include "config/document.h"

#include <fmt/format.h>

#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#include <toml++/toml.h>

namespace us::config {
namespace {

constexpr int kDepthMax = 16;
constexpr size_t kShownMax = 80;

Location location_of(const toml::source_region& region) {
  return {static_cast<int>(region.begin.line), static_cast<int>(region.begin.column)};
}

template <typename T>
std::string toml_text(const T& value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

Node convert(const toml::node& from, int depth);

void convert_members(const toml::table& from, Node& to, int depth) {
  to.kind = Node::Kind::kTable;
  for (const auto& [key, value] : from)
    to.members.push_back({std::string(key.str()), location_of(key.source()), convert(value, depth + 1)});
}

void convert_items(const toml::array& from, Node& to, int depth) {
  to.kind = Node::Kind::kArray;
  for (const toml::node& item : from) to.items.push_back(convert(item, depth + 1));
}

// Tables deeper than kDepthMax lose their contents; no VM file has a use for them, so they are reported
// as unknown keys anyway.
Node convert(const toml::node& from, int depth) {
  Node to;
  to.at = location_of(from.source());
  if (const auto* table = from.as_table()) {
    if (depth < kDepthMax) convert_members(*table, to, depth);
  } else if (const auto* array = from.as_array()) {
    to.kind = Node::Kind::kArray;
    if (depth < kDepthMax) convert_items(*array, to, depth);
  } else if (const auto* text = from.as_string()) {
    to.kind = Node::Kind::kString;
    to.text = text->get();
  } else if (const auto* integer = from.as_integer()) {
    to.kind = Node::Kind::kInteger;
    to.integer = integer->get();
    to.text = fmt::to_string(to.integer);
  } else if (const auto* boolean = from.as_boolean()) {
    to.kind = Node::Kind::kBoolean;
    to.boolean = boolean->get();
    to.text = to.boolean ? "true" : "false";
  } else if (const auto* number = from.as_floating_point()) {
    to.kind = Node::Kind::kFloat;
    to.text = toml_text(*number);
  } else {
    to.kind = Node::Kind::kTime;
    if (const auto* date = from.as_date()) to.text = toml_text(*date);
    if (const auto* time = from.as_time()) to.text = toml_text(*time);
    if (const auto* both = from.as_date_time()) to.text = toml_text(*both);
  }
  return to;
}

}  // namespace

std::string_view kind_name(Node::Kind kind) {
  switch (kind) {
    case Node::Kind::kTable:
      return "a table";
    case Node::Kind::kArray:
      return "a list";
    case Node::Kind::kString:
      return "a string";
    case Node::Kind::kInteger:
      return "an integer";
    case Node::Kind::kFloat:
      return "a floating-point number";
    case Node::Kind::kBoolean:
      return "a boolean";
    case Node::Kind::kTime:
      return "a date or time";
  }
  return "a value";
}

std::string shown(const Node& node) {
  if (node.kind == Node::Kind::kTable || node.kind == Node::Kind::kArray) return std::string(kind_name(node.kind));
  std::string out = node.text.substr(0, kShownMax);
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  if (node.text.size() > kShownMax) out += "...";
  return node.kind == Node::Kind::kString ? '"' + out + '"' : out;
}

Result<Node> parse_document(std::string_view text, std::string_view file_name) {
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    const Location at = location_of(parsed.error().source());
    return fail(ErrorKind::kInput,
                fmt::format("{}:{}:{}: {}", file_name, at.line, at.column, parsed.error().description()));
  }
  return convert(parsed.table(), 0);
}

}  // namespace us::config
