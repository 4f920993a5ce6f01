// FieldWriter and FieldReader: the two things that can be done with the list of fields of a message (wire.cc): append
// them to a payload, or read them from one, strictly.  Internal to the codec.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <concepts>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/bytes.h"
#include "base/check.h"
#include "base/result.h"
#include "base/strong.h"
#include "base/time.h"
#include "core/replica/wire_text.h"

namespace us {

class FieldWriter {
 public:
  explicit FieldWriter(Bytes& out) : w_(out) {}

  template <std::unsigned_integral T>
  void number(const char*, T v) {
    w_.le(v);
  }
  template <typename Tag, typename Rep>
  void number(const char*, Strong<Tag, Rep> v) {
    w_.le(v.value());
  }
  template <typename Tag, typename Rep, typename Valid>
  void index(const char* field, Strong<Tag, Rep> v, Valid&& valid) {
    US_CHECK(valid(v));
    number(field, v);
  }
  template <size_t N>
  void id(const char*, const std::array<uint8_t, N>& v) {
    w_.bytes(v);
  }
  void flag(const char*, bool v) { w_.le(static_cast<uint8_t>(v ? 1 : 0)); }
  template <typename E, typename Valid>
  void choice(const char*, E v, Valid&& valid) {
    US_CHECK(valid(v));
    w_.le(static_cast<std::underlying_type_t<E>>(v));
  }
  void micros(const char*, Duration d) {
    w_.le(static_cast<uint32_t>(std::clamp<int64_t>(d.to_micros(), 0, std::numeric_limits<uint32_t>::max())));
  }
  void text(const char*, const std::string& v, size_t limit) { w_.text(clean_text(v, limit)); }
  void rest(const char*, ByteSpan v, size_t limit) {
    US_CHECK(v.size() <= limit);
    w_.bytes(v);
  }

 private:
  ByteWriter w_;
};

class FieldReader {
 public:
  FieldReader(ByteSpan in, std::string_view message) : r_(in), message_(message) {}

  template <std::unsigned_integral T>
  void number(const char* field, T& v) {
    v = r_.le<T>();
    whole(field);
  }
  template <typename Tag, typename Rep>
  void number(const char* field, Strong<Tag, Rep>& v) {
    v = Strong<Tag, Rep>(r_.le<Rep>());
    whole(field);
  }
  template <typename Tag, typename Rep, typename Valid>
  void index(const char* field, Strong<Tag, Rep>& v, Valid&& valid) {
    number(field, v);
    if (r_.ok() && !valid(v)) error(field, fmt::format("cannot be {}", v.value()));
  }
  template <size_t N>
  void id(const char* field, std::array<uint8_t, N>& v) {
    const ByteSpan raw = r_.bytes(N);
    if (whole(field)) std::ranges::copy(raw, v.begin());
  }
  void flag(const char* field, bool& v) {
    const uint8_t raw = r_.le<uint8_t>();
    if (!whole(field)) return;
    if (raw > 1) error(field, fmt::format("is {}, not 0 or 1", raw));
    v = raw == 1;
  }
  template <typename E, typename Valid>
  void choice(const char* field, E& v, Valid&& valid) {
    v = static_cast<E>(r_.le<std::underlying_type_t<E>>());
    if (whole(field) && !valid(v)) error(field, fmt::format("has no value {}", static_cast<unsigned>(v)));
  }
  void micros(const char* field, Duration& d) {
    d = Duration::micros(r_.le<uint32_t>());
    whole(field);
  }
  void text(const char* field, std::string& v, size_t limit) {
    const uint32_t size = r_.le<uint32_t>();
    if (!whole(field)) return;
    if (size > limit) return error(field, fmt::format("of {} bytes, more than the limit of {}", size, limit));
    const ByteSpan raw = r_.bytes(size);
    if (!whole(field)) return;
    v.assign(raw.begin(), raw.end());
    if (!is_clean_text(v)) error(field, "is not UTF-8 without control characters");
  }
  void rest(const char* field, ByteSpan& v, size_t limit) {
    v = r_.bytes(r_.remaining());
    if (v.size() > limit) error(field, fmt::format("of {} bytes, more than the limit of {}", v.size(), limit));
  }

  Status finish() {
    if (r_.ok() && !r_.done()) error("payload", fmt::format("has {} bytes too many", r_.remaining()));
    if (error_.empty()) return {};
    return fail(ErrorKind::kProtocol, error_);
  }

 private:
  bool whole(const char* field) {
    if (!r_.ok()) error(field, "is cut off");
    return r_.ok();
  }
  void error(const char* field, const std::string& what) {
    if (error_.empty()) error_ = fmt::format("{}: {} {}", message_, field, what);
  }

  ByteReader r_;
  std::string_view message_;
  std::string error_;
};

}  // namespace us
