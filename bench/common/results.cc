#include "common/results.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "common/statistics.h"

namespace us::bench {
namespace {

namespace fs = std::filesystem;

constexpr const char* kKeyColumns = "scenario,params,mode,epoch_ms,direction,mtu,rtt_ms,loss,cc,round";

bool is_word(const std::string& text) {
  return !text.empty() && text.front() != '.' && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
  });
}

}  // namespace

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + "\"";
}

std::string csv_key(const Key& key) {
  return fmt::format("{},{},{},{},{},{},{},{},{},{}", csv_field(key.scenario), csv_field(key.params),
                     csv_field(key.mode), csv_field(key.epoch), csv_field(key.direction),
                     key.mtu == 0 ? "" : std::to_string(key.mtu), key.rtt_ms, key.loss, csv_field(key.cc), key.round);
}

Result<Results> Results::open(const std::string& directory, const std::string& step) {
  if (!is_word(step)) return fail(ErrorKind::kInput, fmt::format("\"{}\" cannot be the name of a step", step));
  Results results(directory, step);
  for (const char* kind : {"rows", "samples", "series"}) {
    std::error_code error;
    fs::create_directories(fs::path(directory) / kind, error);
    if (!error) fs::remove(results.path(kind), error);
    if (error) return fail(ErrorKind::kSystem, fmt::format("{}/{}: {}", directory, kind, error.message()));
  }
  return results;
}

void Results::line(std::ofstream& file, const char* kind, const char* columns, const Key& key,
                   const std::string& rest) {
  if (directory_.empty()) return;
  if (!file.is_open()) {
    file.open(path(kind));
    file << kKeyColumns << "," << columns << "\n";
  }
  file << csv_key(key) << "," << rest << "\n" << std::flush;
  if (!file && failed_.empty()) failed_ = path(kind);
}

void Results::row(const Key& key, const std::string& metric, double value, const std::string& unit) {
  line(rows_, "rows", "metric,value,unit", key, fmt::format("{},{:.9g},{}", csv_field(metric), value, csv_field(unit)));
}

void Results::sample(const Key& key, const std::string& metric, double value, const std::string& unit, uint64_t count) {
  line(samples_, "samples", "metric,value,count,unit", key,
       fmt::format("{},{:.9g},{},{}", csv_field(metric), value, count, csv_field(unit)));
}

void Results::samples(const Key& key, const std::string& metric, const std::vector<double>& values,
                      const std::string& unit) {
  if (values.size() <= kSamplesMax) {
    for (const double value : values) sample(key, metric, value, unit);
    return;
  }
  for (const auto& [edge, count] : bins(values)) sample(key, metric, edge, unit, count);
}

void Results::point(const Key& key, const std::string& metric, double t_ms, double value, const std::string& unit) {
  line(series_, "series", "metric,t_ms,value,unit", key,
       fmt::format("{},{:.9g},{:.9g},{}", csv_field(metric), t_ms, value, csv_field(unit)));
}

Status Results::status() const {
  if (failed_.empty()) return {};
  return fail(ErrorKind::kSystem, "cannot write " + failed_);
}

std::string Results::capture_file(const std::string& name) const {
  std::error_code error;
  fs::create_directories(fs::path(directory_) / "captures", error);
  return fmt::format("{}/captures/{}-{}.pcap", directory_, step_, name);
}

}  // namespace us::bench
