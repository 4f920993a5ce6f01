// FieldReader: takes the keys of one table one by one, and collects every fault instead of stopping at the first.
//
// A getter returns nothing when the key is absent or wrong; a wrong one has then been reported.  `finish`
// reports the keys nobody asked for, with a suggestion when one of the known keys is close.
#pragma once

#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/document.h"
#include "config/units.h"

namespace us::config {

class Faults {
 public:
  explicit Faults(std::string file_name) : file_name_(std::move(file_name)) {}

  void add(Location at, std::string what) { list_.push_back({at, std::move(what)}); }
  bool empty() const { return list_.empty(); }
  std::string text() const;  // all faults in file order, one line each, no newline at the end

 private:
  struct Fault {
    Location at;
    std::string what;
  };
  std::string file_name_;
  std::vector<Fault> list_;
};

// Inclusive bounds.
template <typename T>
struct Range {
  T low;
  T high;
};

class FieldReader {
 public:
  // `path` is put before keys in messages: "replication", "nic[0]", or nothing for the top of the file.
  // `table` and `faults` must outlive the reader.  A null table reads as an empty one that starts at `at`.
  FieldReader(const Node* table, std::string path, Location at, Faults& faults);

  bool has(std::string_view key) const;
  const Node* any(std::string_view key);  // every kind
  const Node* table(std::string_view key);
  // The items of a list whose items must all be `item_kind`; empty when absent or wrong.
  std::span<const Node> list(std::string_view key, Node::Kind item_kind);

  std::optional<std::string> string(std::string_view key);  // not empty, no control characters
  std::optional<bool> boolean(std::string_view key);
  std::optional<int64_t> integer(std::string_view key, Range<int64_t> range);
  std::optional<uint64_t> size(std::string_view key, Range<uint64_t> range, uint64_t step);
  std::optional<Duration> duration(std::string_view key, Range<Duration> range);
  // The index of the value in `accepted`.
  std::optional<size_t> one_of(std::string_view key, std::span<const std::string_view> accepted);

  void require(std::string_view key, std::string_view advice);
  void fault(std::string_view key, std::string what);  // at the key's value, or at the table when absent
  // `elsewhere` lists keys of other tables ("epoch.length"), for a hint when one of them stands here.
  void finish(std::span<const std::string_view> elsewhere = {});

  std::string full_key(std::string_view key) const;

 private:
  const Node* take(std::string_view key);
  const Node* take(std::string_view key, Node::Kind kind, std::string_view example);

  const Node* table_;
  std::string path_;
  Location at_;
  Faults& faults_;
  std::set<std::string, std::less<>> known_;
};

// The candidate nearest to `word`, when it is near enough to be a slip of the fingers.
std::optional<std::string_view> closest(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace us::config
