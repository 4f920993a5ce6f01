#include "sim/scale/parameters.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <map>

namespace us::sim::scale {
namespace {

std::string trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1));
}

std::map<std::string, double*> fields_of(Parameters& p) {
  return {{"relay_frame_us", &p.relay_frame_us},         {"relay_byte_ns", &p.relay_byte_ns},
          {"pause_base_ms", &p.pause_base_ms},           {"pause_page_us", &p.pause_page_us},
          {"encode_page_us", &p.encode_page_us},         {"page_wire_bytes", &p.page_wire_bytes},
          {"device_state_bytes", &p.device_state_bytes}, {"apply_page_us", &p.apply_page_us},
          {"commit_fixed_ms", &p.commit_fixed_ms},       {"log_byte_ratio", &p.log_byte_ratio},
          {"pages_per_mbyte", &p.pages_per_mbyte},       {"idle_pages_per_second", &p.idle_pages_per_second}};
}

}  // namespace

Result<Parameters> parse_parameters(std::string_view text) {
  Parameters out;
  std::map<std::string, double*> missing = fields_of(out);
  int number = 0;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    ++number;
    line = line.substr(0, line.find('#'));
    if (trim(line).empty()) continue;
    const size_t equals = line.find('=');
    if (equals == std::string_view::npos)
      return fail(ErrorKind::kInput, fmt::format("line {}: not \"name = value\"", number));
    const std::string name = trim(line.substr(0, equals)), value = trim(line.substr(equals + 1));
    const auto field = missing.find(name);
    if (field == missing.end())
      return fail(ErrorKind::kInput, fmt::format("line {}: \"{}\" is unknown or there twice", number, name));
    char* after = nullptr;
    *field->second = std::strtod(value.c_str(), &after);
    if (value.empty() || *after != '\0' || !std::isfinite(*field->second) || *field->second < 0)
      return fail(ErrorKind::kInput, fmt::format("line {}: \"{}\" is not a number of 0 or more", number, value));
    missing.erase(field);
  }
  if (!missing.empty()) return fail(ErrorKind::kInput, fmt::format("\"{}\" is missing", missing.begin()->first));
  return out;
}

}  // namespace us::sim::scale
