// Document: a TOML file as a plain tree in which every key and value knows its line and column.
//
// The only place that touches the TOML library is document.cc, so the rest of config/ compiles fast and
// reports every error at the right place in the user's file.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace us::config {

// Both count from 1; 0 means "the file as a whole".
struct Location {
  int line = 0;
  int column = 0;
  auto operator<=>(const Location&) const = default;
};

struct Member;

struct Node {
  enum class Kind { kTable, kArray, kString, kInteger, kFloat, kBoolean, kTime };

  Kind kind = Kind::kTable;
  Location at;
  std::string text;  // kString: the characters.  Other scalars: as TOML writes them
  int64_t integer = 0;
  bool boolean = false;
  std::vector<Node> items;      // kArray, in file order
  std::vector<Member> members;  // kTable, sorted by key
};

struct Member {
  std::string key;
  Location key_at;
  Node value;
};

// "a string", "an integer", "a table": for messages.
std::string_view kind_name(Node::Kind kind);

// The value as the user wrote it, strings in quotes, tables and lists by their kind; at most 80 characters.
std::string shown(const Node& node);

// Parses `text`.  A syntax error reads "FILE:LINE:COLUMN: what"; TOML parsing stops at the first one.
Result<Node> parse_document(std::string_view text, std::string_view file_name);

}  // namespace us::config
