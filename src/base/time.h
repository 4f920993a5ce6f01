// Instant and Duration: nanoseconds, and two different types, so that a point in time is never mistaken
// for a length of time.  Nothing here reads a clock (os/clock.h does); cores get `now` as an argument.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>

namespace us {

class Duration {
 public:
  constexpr Duration() = default;
  static constexpr Duration nanos(int64_t n) { return Duration(n); }
  static constexpr Duration micros(int64_t n) { return Duration(n * 1'000); }
  static constexpr Duration millis(int64_t n) { return Duration(n * 1'000'000); }
  static constexpr Duration seconds(int64_t n) { return Duration(n * 1'000'000'000); }
  static constexpr Duration infinite() { return Duration(std::numeric_limits<int64_t>::max()); }

  constexpr int64_t to_nanos() const { return ns_; }
  constexpr int64_t to_micros() const { return ns_ / 1'000; }
  constexpr int64_t to_millis() const { return ns_ / 1'000'000; }
  constexpr double to_seconds() const { return static_cast<double>(ns_) / 1e9; }
  constexpr double to_millis_f() const { return static_cast<double>(ns_) / 1e6; }

  constexpr auto operator<=>(const Duration&) const = default;
  constexpr Duration operator+(Duration o) const { return Duration(ns_ + o.ns_); }
  constexpr Duration operator-(Duration o) const { return Duration(ns_ - o.ns_); }
  constexpr Duration operator-() const { return Duration(-ns_); }
  constexpr Duration operator*(int64_t k) const { return Duration(ns_ * k); }
  constexpr Duration operator/(int64_t k) const { return Duration(ns_ / k); }
  constexpr Duration& operator+=(Duration o) {
    ns_ += o.ns_;
    return *this;
  }
  constexpr Duration& operator-=(Duration o) {
    ns_ -= o.ns_;
    return *this;
  }

 private:
  explicit constexpr Duration(int64_t ns) : ns_(ns) {}
  int64_t ns_ = 0;
};

// A point on one host's monotonic clock.  Instants of two hosts must never be compared.
class Instant {
 public:
  constexpr Instant() = default;
  static constexpr Instant from_nanos(int64_t n) {
    Instant i;
    i.ns_ = n;
    return i;
  }
  static constexpr Instant far_future() { return from_nanos(std::numeric_limits<int64_t>::max()); }
  constexpr int64_t to_nanos() const { return ns_; }

  constexpr auto operator<=>(const Instant&) const = default;
  constexpr Instant operator+(Duration d) const { return from_nanos(ns_ + d.to_nanos()); }
  constexpr Instant operator-(Duration d) const { return from_nanos(ns_ - d.to_nanos()); }
  constexpr Duration operator-(Instant o) const { return Duration::nanos(ns_ - o.ns_); }
  constexpr Instant& operator+=(Duration d) {
    ns_ += d.to_nanos();
    return *this;
  }

 private:
  int64_t ns_ = 0;
};

}  // namespace us
