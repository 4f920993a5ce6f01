// ByteWriter and ByteReader: fixed-width integers in little or big endian over plain byte buffers.
//
// The reader never reads past its end: the first short read marks it failed, every later read returns
// zero or an empty span, and one `ok()` at the end of a decoder judges them all.  It owns nothing.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace us {

using Bytes = std::vector<uint8_t>;
using ByteSpan = std::span<const uint8_t>;

static_assert(std::endian::native == std::endian::little, "only little-endian hosts are supported");

template <std::unsigned_integral T>
constexpr T byte_swap(T v) {
  T out = 0;
  for (size_t i = 0; i < sizeof(T); ++i) out = static_cast<T>((out << 8) | ((v >> (8 * i)) & 0xff));
  return out;
}

template <std::unsigned_integral T>
inline T load_le(const uint8_t* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <std::unsigned_integral T>
inline T load_be(const uint8_t* p) {
  return byte_swap(load_le<T>(p));
}
template <std::unsigned_integral T>
inline void store_le(uint8_t* p, T v) {
  std::memcpy(p, &v, sizeof v);
}
template <std::unsigned_integral T>
inline void store_be(uint8_t* p, T v) {
  store_le(p, byte_swap(v));
}

class ByteWriter {
 public:
  explicit ByteWriter(Bytes& out) : out_(out) {}

  template <std::unsigned_integral T>
  void le(T v) {
    uint8_t raw[sizeof(T)];
    store_le(raw, v);
    out_.insert(out_.end(), raw, raw + sizeof raw);
  }
  template <std::unsigned_integral T>
  void be(T v) {
    le(byte_swap(v));
  }
  void bytes(ByteSpan b) { out_.insert(out_.end(), b.begin(), b.end()); }
  void zeros(size_t n) { out_.insert(out_.end(), n, uint8_t{0}); }
  // A 32-bit little-endian length, then the characters.
  void text(std::string_view s) {
    le(static_cast<uint32_t>(s.size()));
    out_.insert(out_.end(), s.begin(), s.end());
  }
  size_t size() const { return out_.size(); }

 private:
  Bytes& out_;
};

class ByteReader {
 public:
  explicit ByteReader(ByteSpan in) : in_(in) {}

  template <std::unsigned_integral T>
  T le() {
    if (!take(sizeof(T))) return 0;
    return load_le<T>(in_.data() + at_ - sizeof(T));
  }
  template <std::unsigned_integral T>
  T be() {
    return byte_swap(le<T>());
  }
  ByteSpan bytes(size_t n) { return take(n) ? in_.subspan(at_ - n, n) : ByteSpan{}; }
  // What ByteWriter::text wrote; fails if it is longer than `limit`.
  std::string_view text(size_t limit) {
    const uint32_t n = le<uint32_t>();
    if (n > limit) ok_ = false;
    const ByteSpan b = ok_ ? bytes(n) : ByteSpan{};
    return {reinterpret_cast<const char*>(b.data()), b.size()};
  }
  void skip(size_t n) { take(n); }
  size_t remaining() const { return ok_ ? in_.size() - at_ : 0; }
  bool ok() const { return ok_; }
  // Everything was read and nothing was missing.
  bool done() const { return ok_ && at_ == in_.size(); }

 private:
  bool take(size_t n) {
    if (!ok_ || n > in_.size() - at_) {
      ok_ = false;
      return false;
    }
    at_ += n;
    return true;
  }

  ByteSpan in_;
  size_t at_ = 0;
  bool ok_ = true;
};

}  // namespace us
