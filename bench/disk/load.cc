#include "disk/load.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

namespace us::bench {
namespace {

using nlohmann::json;

constexpr const char* kFile = "/var/tmp/fio";
constexpr const char* kPgbench = "pgbench";

DiskLoad fio(const std::string& name, const std::string& words, double seconds) {
  return {.name = name,
          .commands = fmt::format("fio --output-format=json --name={} --filename={} --size=256M --time_based "
                                  "--runtime={} --randrepeat=0 {}",
                                  name, kFile, std::lround(seconds), words),
          .seconds = seconds};
}

double percentile_ms(const json& times, const char* which) {
  const auto found = times.find("percentile");
  if (found == times.end() || !found->contains(which)) return 0;
  return found->at(which).get<double>() / 1e6;
}

Result<std::vector<DiskQuantity>> read_fio(const DiskLoad& load, std::string_view report) {
  // It may warn before the report.
  const size_t begin = report.find('{');
  const json parsed =
      json::parse(report.substr(begin == std::string_view::npos ? report.size() : begin), nullptr, false);
  if (!parsed.is_object() || !parsed.contains("jobs") || parsed["jobs"].empty())
    return fail(ErrorKind::kProtocol, fmt::format("fio did not report: {}", report.substr(0, 500)));
  const json& job = parsed["jobs"][0];
  if (job.value("error", 0) != 0)
    return fail(ErrorKind::kProtocol, fmt::format("fio met error {}", job.value("error", 0)));
  const json& way = job.at(load.name.ends_with("read") ? "read" : "write");
  std::vector<DiskQuantity> out = {{"iops", "1/s", way.value("iops", 0.0), true},
                                   {"throughput", "MB/s", way.value("bw_bytes", 0.0) / 1e6, true}};
  const bool synced = load.name == "fsync";
  const json& times = synced ? job.at("sync").at("lat_ns") : way.at("clat_ns");
  out.push_back({synced ? "fsync-p50" : "latency-p50", "ms", percentile_ms(times, "50.000000")});
  out.push_back({synced ? "fsync-p99" : "latency-p99", "ms", percentile_ms(times, "99.000000")});
  return out;
}

Result<double> number_after(std::string_view text, std::string_view label) {
  const size_t at = text.find(label);
  if (at == std::string_view::npos)
    return fail(ErrorKind::kProtocol, fmt::format("pgbench did not report: {}", text.substr(0, 500)));
  const std::string_view rest = text.substr(at + label.size());
  double value = 0;
  if (std::from_chars(rest.data(), rest.data() + rest.size(), value).ec != std::errc())
    return fail(ErrorKind::kProtocol, fmt::format("pgbench reported no number for \"{}\"", label));
  return value;
}

}  // namespace

std::vector<DiskLoad> disk_loads(double seconds) {
  const std::string deep = "--direct=1 --ioengine=libaio ";
  return {
      fio("random-read", deep + "--rw=randread --bs=4k --iodepth=16", seconds),
      fio("random-write", deep + "--rw=randwrite --bs=4k --iodepth=16", seconds),
      fio("sequential-read", deep + "--rw=read --bs=1M --iodepth=4", seconds),
      fio("sequential-write", deep + "--rw=write --bs=1M --iodepth=4", seconds),
      fio("fsync", "--direct=0 --ioengine=psync --rw=randwrite --bs=4k --fsync=1", seconds),
      {.name = kPgbench,
       .commands =
           fmt::format("pgbench --username=postgres --host=/run/postgresql --no-vacuum --client=4 --time={} bench 2>&1",
                       std::lround(seconds)),
       .seconds = seconds},
  };
}

std::string fio_file_commands() {
  return fmt::format(
      "fio --output-format=json --name=lay --filename={} --size=256M --rw=write --bs=1M --direct=1 --ioengine=libaio "
      "--iodepth=4 --end_fsync=1",
      kFile);
}

Result<std::vector<DiskQuantity>> read_disk_report(const DiskLoad& load, std::string_view report) {
  if (load.name != kPgbench) return read_fio(load, report);
  US_ASSIGN(const double tps, number_after(report, "tps = "));
  US_ASSIGN(const double latency, number_after(report, "latency average = "));
  return std::vector<DiskQuantity>{{"transactions", "1/s", tps, true}, {"latency-mean", "ms", latency}};
}

}  // namespace us::bench
