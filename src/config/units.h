// Sizes and times as a VM file writes them: "512M", "2G", "25ms".
//
// Sizes are binary (K = 1024 bytes, M = 1024 K, G, T); a unit is always required, so that nobody has to
// guess.  Times take ns, us, ms or s.  Whole numbers only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"

namespace us::config {

inline constexpr uint64_t kKiB = 1024;
inline constexpr uint64_t kMiB = 1024 * kKiB;
inline constexpr uint64_t kGiB = 1024 * kMiB;
inline constexpr uint64_t kTiB = 1024 * kGiB;

// Nothing when the text is not a whole number and a unit, or when the value does not fit in 63 bits.
std::optional<uint64_t> parse_size(std::string_view text);
std::optional<Duration> parse_duration(std::string_view text);

// The largest unit that divides the value: 536870912 is "512M", 25,000,000 ns is "25ms".
std::string size_text(uint64_t bytes);
std::string duration_text(Duration duration);

}  // namespace us::config
