// SeqNum: a TCP sequence number, a 32-bit number modulo 2^32 (RFC 9293 section 3.4).
//
//          before              at              after
//   ----[-2^31 ......... -1]---[0]---[1 ......... 2^31-1]----   distance from `at`
//
// Two numbers can be put in order only when they are less than 2^31 apart, which everything inside one
// window is (RFC 7323 section 2.3).  The order is not transitive around the circle, so there is no
// operator< and no std::hash: comparisons are named functions, and a container must say what it sorts by.
// Lengths and distances are uint32_t (forward, modulo 2^32) or int32_t (signed, nearest way round).
#pragma once

#include <cstdint>

namespace us {

class SeqNum {
 public:
  constexpr SeqNum() = default;
  explicit constexpr SeqNum(uint32_t value) : value_(value) {}
  constexpr uint32_t value() const { return value_; }

  constexpr bool operator==(const SeqNum&) const = default;

  // a.before(b): b lies 1 … 2^31-1 ahead of a.  Exactly 2^31 apart, neither is before the other.
  // Input that could be so far away is to be range-checked first (in_window()).
  constexpr bool before(SeqNum b) const { return signed_distance_to(b) > 0; }
  constexpr bool after(SeqNum b) const { return b.before(*this); }
  constexpr bool at_or_before(SeqNum b) const { return value_ == b.value_ || before(b); }
  constexpr bool at_or_after(SeqNum b) const { return value_ == b.value_ || after(b); }

  // How far one walks forward from *this to `to`: 0 … 2^32-1.
  constexpr uint32_t distance_to(SeqNum to) const { return to.value_ - value_; }
  // The same, the nearest way round: -2^31 … 2^31-1; negative when `to` is behind.
  constexpr int32_t signed_distance_to(SeqNum to) const { return static_cast<int32_t>(to.value_ - value_); }

  // *this is in [first, first + length), walking forward; never true for length 0.
  constexpr bool in_window(SeqNum first, uint32_t length) const { return first.distance_to(*this) < length; }
  // *this is in [first, last], walking forward from first to last (RFC 9293's  first =< x =< last).
  constexpr bool in_range(SeqNum first, SeqNum last) const {
    return first.distance_to(*this) <= first.distance_to(last);
  }

  constexpr SeqNum operator+(uint32_t n) const { return SeqNum(value_ + n); }
  constexpr SeqNum operator-(uint32_t n) const { return SeqNum(value_ - n); }
  constexpr SeqNum& operator+=(uint32_t n) {
    value_ += n;
    return *this;
  }

 private:
  uint32_t value_ = 0;
};

// The later and the earlier of two numbers less than 2^31 apart.
constexpr SeqNum later(SeqNum a, SeqNum b) { return a.before(b) ? b : a; }
constexpr SeqNum earlier(SeqNum a, SeqNum b) { return a.before(b) ? a : b; }

// [start, end) walking forward; empty when both are equal.  A SACK block is one (RFC 2018 section 3).
struct SeqRange {
  SeqNum start;
  SeqNum end;
  constexpr uint32_t length() const { return start.distance_to(end); }
  constexpr bool empty() const { return start == end; }
  constexpr bool contains(SeqNum seq) const { return seq.in_window(start, length()); }
  constexpr bool operator==(const SeqRange&) const = default;
};

}  // namespace us
