// What a capture costs: pauses and their parts, dirty pages, replication traffic, CPU and memory of a protected guest,
// idle and under iperf3 at full speed in each direction.  `./do bench capture [--seconds N] [--json FILE]`.
//
// Real QEMU, guest and clients on network namespaces (src/demo).  Figures of one run on one machine: the two hosts
// share its cores, so they are upper bounds.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "demo/cluster.h"
#include "demo/netns.h"
#include "host/control_server.h"

namespace us {
namespace {

using Json = nlohmann::json;
using demo::Cluster;

constexpr Duration kBoot = Duration::seconds(90);

Result<Json> status_of(const Cluster& cluster, size_t host) {
  const std::string runtime = (cluster.log_file(host).parent_path() / "runtime").string();
  return control_request(control_path(runtime, demo::kVmName), {{"command", "status"}});
}

// User and system time of all processes of a host whose name begins with `name`, in seconds.
double cpu_seconds(Cluster& cluster, size_t host, const std::string& name) {
  double ticks = 0;
  for (const pid_t pid : cluster.lab().host(host).processes()) {
    if (!demo::process_name(pid).starts_with(name)) continue;
    std::ifstream file(fmt::format("/proc/{}/stat", pid));
    std::string text;
    std::getline(file, text);
    // Fields 14 and 15 of proc(5); the name in parentheses may hold spaces.
    long long user = 0, system = 0;
    if (std::sscanf(text.c_str() + text.rfind(')') + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lld %lld", &user,
                    &system) == 2)
      ticks += static_cast<double>(user + system);
  }
  return ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

// Proportional set size: memory shared by daemon and QEMU counts once.
double memory_mb(Cluster& cluster, size_t host) {
  double kilobytes = 0;
  for (const pid_t pid : cluster.lab().host(host).processes()) {
    std::ifstream file(fmt::format("/proc/{}/smaps_rollup", pid));
    for (std::string line; std::getline(file, line);) {
      long long value = 0;
      if (std::sscanf(line.c_str(), "Pss: %lld kB", &value) == 1) kilobytes += static_cast<double>(value);
    }
  }
  return kilobytes / 1024;
}

// Mbit/s as the receiver counts them; 0 when iperf3 failed.
double run_iperf(Cluster& cluster, int seconds, bool from_guest) {
  const std::string command = fmt::format("ip netns exec {} iperf3 -c 10.50.0.10 -C cubic -t {} {} -J 2>/dev/null",
                                          cluster.lab().client().name(), seconds, from_guest ? "-R" : "");
  std::FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return 0;
  std::string text;
  char chunk[4096];
  for (size_t n; (n = std::fread(chunk, 1, sizeof chunk, pipe)) > 0;) text.append(chunk, n);
  ::pclose(pipe);
  const Json report = Json::parse(text, nullptr, false);
  if (!report.is_object() || !report.contains("end")) return 0;
  return report["end"].value("/sum_received/bits_per_second"_json_pointer, 0.0) / 1e6;
}

struct Row {
  std::string load;
  double mbit_per_second;
  Json status;
  double daemon_cpu;
  double qemu_cpu;
  double standby_cpu;
  double replication_mbit;
};

// A fresh cluster for each row, so that its histograms are the row's alone.
Result<Row> measure(const std::string& load, int seconds, const std::string& epoch, double& standby_mb) {
  demo::ClusterOptions options;
  options.prefix = fmt::format("us-bench-{}", ::getpid());
  options.program = US_PROGRAM;
  options.guest_dir = US_GUEST_DIR;
  options.epoch = epoch;
  options.detection = "1s";
  US_ASSIGN(const auto cluster, Cluster::create(options));
  US_TRY(cluster->start_primary(0));
  US_TRY(cluster->wait_guest(kBoot));
  US_TRY(cluster->start_standby(1));
  US_TRY(cluster->wait_protected(0, kBoot));
  US_ASSIGN(const Json before, status_of(*cluster, 0));
  const double daemon = cpu_seconds(*cluster, 0, "understudy"), qemu = cpu_seconds(*cluster, 0, "qemu");
  const double standby = cpu_seconds(*cluster, 1, "understudy");
  Row row{load, 0, {}, 0, 0, 0, 0};
  if (load == "idle")
    US_TRY(cluster->sleep(Duration::seconds(seconds)));
  else
    row.mbit_per_second = run_iperf(*cluster, seconds, load == "guest to client");
  US_ASSIGN(row.status, status_of(*cluster, 0));
  row.daemon_cpu = (cpu_seconds(*cluster, 0, "understudy") - daemon) / seconds * 100;
  row.qemu_cpu = (cpu_seconds(*cluster, 0, "qemu") - qemu) / seconds * 100;
  row.standby_cpu = (cpu_seconds(*cluster, 1, "understudy") - standby) / seconds * 100;
  row.replication_mbit =
      (row.status["standby"].value("bytes_sent", 0.0) - before["standby"].value("bytes_sent", 0.0)) * 8 / seconds / 1e6;
  standby_mb = std::max(standby_mb, memory_mb(*cluster, 1));
  return row;
}

void print(const Row& row) {
  const Json& s = row.status;
  fmt::print("\n{}{}\n", row.load, row.mbit_per_second > 0 ? fmt::format(": {:.0f} Mbit/s", row.mbit_per_second) : "");
  const auto line = [](const char* name, const Json& h) {
    fmt::print("  {:<8} p50 {:7.2f}  p99 {:7.2f}  max {:7.2f} ms\n", name, h.value("p50", 0.0), h.value("p99", 0.0),
               h.value("max", 0.0));
  };
  line("pause", s["pause_ms"]);
  for (const char* part : {"stop", "scan", "copy", "save", "cont"}) line(part, s["pause_parts_ms"][part]);
  line("commit", s["commit_ms"]);
  fmt::print("  {} epochs, {:.0f} dirty pages each, device state {} bytes, replication {:.0f} Mbit/s\n",
             s.value("epochs", 0), s["dirty"].value("pages_mean", 0.0), s.value("device_state_bytes", 0),
             row.replication_mbit);
  fmt::print("  CPU of a core: daemon {:.0f} %, QEMU {:.0f} %, standby's daemon {:.0f} %\n", row.daemon_cpu,
             row.qemu_cpu, row.standby_cpu);
}

int run(int seconds, const std::string& epoch, const std::string& json_file) {
  Json all = Json::array();
  double standby_mb = 0;
  for (const char* load : {"idle", "client to guest", "guest to client"}) {
    const Result<Row> row = measure(load, seconds, epoch, standby_mb);
    if (!row) {
      fmt::print(stderr, "capture bench, {}: {}\n", load, row.error().message);
      return 1;
    }
    print(*row);
    all.push_back({{"load", load},
                   {"mbit_per_second", row->mbit_per_second},
                   {"daemon_cpu_percent", row->daemon_cpu},
                   {"qemu_cpu_percent", row->qemu_cpu},
                   {"standby_cpu_percent", row->standby_cpu},
                   {"replication_mbit_per_second", row->replication_mbit},
                   {"status", row->status}});
  }
  fmt::print("\nmemory of the standby host (daemon and QEMU, shared pages once): {:.0f} MB at most, guest 512 MB\n",
             standby_mb);
  if (!json_file.empty()) std::ofstream(json_file) << Json{{"rows", all}, {"standby_mb", standby_mb}}.dump(1) << "\n";
  return 0;
}

}  // namespace
}  // namespace us

int main(int argc, char** argv) {
  CLI::App app{"What a capture costs: pauses, CPU, memory and traffic of a protected guest, idle and under iperf3."};
  int seconds = 10;
  std::string epoch = "25ms", json_file;
  app.add_option("--seconds", seconds, "of load for each row")->capture_default_str()->check(CLI::Range(1, 600));
  app.add_option("--epoch", epoch, "epoch length")->capture_default_str();
  app.add_option("--json", json_file, "also write the figures to this file");
  CLI11_PARSE(app, argc, argv);
  return us::run(seconds, epoch, json_file);
}
