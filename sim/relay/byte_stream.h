// ByteStream: what an application has written, as a function of the place in the stream and of its history.
//
// A guest that is taken back to an earlier checkpoint writes other bytes from there on: branch().  So a byte tells
// which history it is of.  Spans: an ordered set of [start, end) on 64-bit offsets.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <vector>

#include "base/bytes.h"

namespace us::sim::relay {

// A rule was broken; ends the run.
class Violation : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class ByteStream {
 public:
  ByteStream() = default;
  explicit ByteStream(uint64_t salt) : parts_{{0, salt}} {}

  void branch(uint64_t from, uint64_t salt) {
    while (!parts_.empty() && parts_.back().from >= from) parts_.pop_back();
    parts_.push_back({from, salt});
  }
  uint8_t at(uint64_t offset) const { return byte(part_of(offset).salt, offset); }
  Bytes slice(uint64_t from, size_t n) const {
    Bytes out(n);
    for (size_t i = 0; i < n; ++i) out[i] = at(from + i);
    return out;
  }
  // The first place where `bytes`, which begin at `from`, are others; -1: none.
  int64_t difference(uint64_t from, ByteSpan bytes) const {
    for (size_t i = 0; i < bytes.size(); ++i)
      if (bytes[i] != at(from + i)) return static_cast<int64_t>(from + i);
    return -1;
  }

 private:
  struct Part {
    uint64_t from, salt;
  };
  const Part& part_of(uint64_t offset) const {
    size_t i = parts_.size() - 1;
    while (i > 0 && parts_[i].from > offset) --i;
    return parts_[i];
  }
  static uint8_t byte(uint64_t salt, uint64_t x) {
    return static_cast<uint8_t>((salt >> (8 * (x & 7))) ^ (x * 37) ^ ((x >> 8) * 101));
  }
  std::vector<Part> parts_;
};

class Spans {
 public:
  void add(uint64_t start, uint64_t end) {
    if (start >= end) return;
    auto it = map_.upper_bound(start);
    if (it != map_.begin() && std::prev(it)->second >= start) --it;
    while (it != map_.end() && it->first <= end) {
      start = std::min(start, it->first);
      end = std::max(end, it->second);
      it = map_.erase(it);
    }
    map_[start] = end;
  }
  void erase_below(uint64_t to) {
    while (!map_.empty() && map_.begin()->first < to) {
      const uint64_t end = map_.begin()->second;
      map_.erase(map_.begin());
      if (end > to) map_[to] = end;
    }
  }
  bool contains(uint64_t start, uint64_t end) const {
    auto it = map_.upper_bound(start);
    return start >= end || (it != map_.begin() && std::prev(it)->second >= end);
  }
  // The end of what is there without a gap from `start` on.
  uint64_t reach(uint64_t start) const {
    auto it = map_.upper_bound(start);
    return it != map_.begin() ? std::max(start, std::prev(it)->second) : start;
  }
  // The first span that begins at or after `from`; the largest number if there is none.
  uint64_t next_start(uint64_t from) const {
    auto it = map_.lower_bound(from);
    return it == map_.end() ? UINT64_MAX : it->first;
  }
  void clear() { map_.clear(); }
  bool empty() const { return map_.empty(); }
  const std::map<uint64_t, uint64_t>& all() const { return map_; }

 private:
  std::map<uint64_t, uint64_t> map_;
};

}  // namespace us::sim::relay
