// Histogram of durations: log-linear buckets, 1/16 relative resolution from 1 µs to more than an hour, fixed memory
// (4 KiB), no allocation, never loses a count.  Quantiles are the upper edge of their bucket, the maximum is exact.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "base/time.h"

namespace us {

class Histogram {
 public:
  void record(Duration d) {
    const uint64_t us = static_cast<uint64_t>(std::max<int64_t>(0, d.to_micros()));
    ++buckets_[bucket_of(us)];
    ++count_;
    sum_ += d;
    max_ = std::max(max_, d);
  }
  void add(const Histogram& other) {
    for (size_t b = 0; b < kBuckets; ++b) buckets_[b] += other.buckets_[b];
    count_ += other.count_;
    sum_ += other.sum_;
    max_ = std::max(max_, other.max_);
  }
  uint64_t count() const { return count_; }
  Duration max() const { return max_; }
  Duration sum() const { return sum_; }
  Duration mean() const { return count_ == 0 ? Duration{} : sum_ / static_cast<int64_t>(count_); }

  // The smallest bucket edge that at least `fraction` (0..1) of the samples do not exceed; 0 without samples.
  Duration quantile(double fraction) const {
    const auto wanted = static_cast<uint64_t>(fraction * static_cast<double>(count_) + 0.5);
    uint64_t seen = 0;
    for (size_t b = 0; b < kBuckets; ++b) {
      seen += buckets_[b];
      if (seen > 0 && seen >= wanted) return std::min(max_, Duration::micros(static_cast<int64_t>(upper_edge(b))));
    }
    return max_;
  }

 private:
  static constexpr unsigned kSubBits = 4;
  static constexpr size_t kBuckets = 512;

  // Values below 16 have a bucket each; above, each power of two is cut into 16.
  static size_t bucket_of(uint64_t us) {
    if (us < (1u << kSubBits)) return us;
    const unsigned exponent = static_cast<unsigned>(std::bit_width(us)) - 1 - kSubBits;
    const size_t bucket = ((exponent + 1) << kSubBits) + ((us >> exponent) & ((1u << kSubBits) - 1));
    return std::min(bucket, kBuckets - 1);
  }
  static uint64_t upper_edge(size_t bucket) {
    if (bucket < (1u << kSubBits)) return bucket;
    const unsigned exponent = static_cast<unsigned>(bucket >> kSubBits) - 1;
    const uint64_t mantissa = (bucket & ((1u << kSubBits) - 1)) | (1u << kSubBits);
    return ((mantissa + 1) << exponent) - 1;
  }

  std::array<uint64_t, kBuckets> buckets_{};
  uint64_t count_ = 0;
  Duration sum_;
  Duration max_;
};

}  // namespace us
