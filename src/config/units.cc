#include "config/units.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <limits>
#include <span>

namespace us::config {
namespace {

struct Unit {
  std::string_view name;
  uint64_t factor;
};
constexpr std::array kSizeUnits = {Unit{"T", kTiB}, Unit{"G", kGiB}, Unit{"M", kMiB}, Unit{"K", kKiB}};
constexpr std::array kTimeUnits = {Unit{"s", 1'000'000'000}, Unit{"ms", 1'000'000}, Unit{"us", 1'000}, Unit{"ns", 1}};
constexpr uint64_t kValueMax = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());

std::optional<uint64_t> parse(std::string_view text, std::span<const Unit> units) {
  uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{}) return std::nullopt;
  const std::string_view name(rest, static_cast<size_t>(end - rest));
  for (const Unit& unit : units) {
    if (unit.name != name) continue;
    if (number > kValueMax / unit.factor) return std::nullopt;
    return number * unit.factor;
  }
  return std::nullopt;
}

std::string text(uint64_t value, std::span<const Unit> units, std::string_view smallest) {
  for (const Unit& unit : units)
    if (value != 0 && value % unit.factor == 0) return fmt::format("{}{}", value / unit.factor, unit.name);
  return fmt::format("{}{}", value, smallest);
}

}  // namespace

std::optional<uint64_t> parse_size(std::string_view text) { return parse(text, kSizeUnits); }

std::optional<Duration> parse_duration(std::string_view text) {
  const auto nanos = parse(text, kTimeUnits);
  if (!nanos) return std::nullopt;
  return Duration::nanos(static_cast<int64_t>(*nanos));
}

std::string size_text(uint64_t bytes) { return text(bytes, kSizeUnits, " bytes"); }

std::string duration_text(Duration duration) {
  return text(static_cast<uint64_t>(duration.to_nanos()), kTimeUnits, "s");
}

}  // namespace us::config
