// Whether the wire (wire/wire.h) keeps up on this machine: TCP in both directions at once through a line of a given
// rate and round trip, and what its thread costs.  `./do bench wire [--mbit N] [--rtt-ms N] [--seconds N]`.  Needs
// root.
#include <fcntl.h>
#include <fmt/format.h>
#include <time.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "demo/command.h"
#include "demo/netns.h"
#include "os/child_process.h"
#include "wire/wire.h"

namespace us {
namespace {

using Json = nlohmann::json;
using demo::NetNs;

Result<UniqueFd> end_in(const NetNs& ns, const std::string& address) {
  Result<UniqueFd> tap;
  std::thread([&] {
    if (ns.enter()) tap = create_wire_tap("wire");
  }).join();
  if (!tap) return tap;
  US_TRY(demo::run_checked({"ip", "-n", ns.name(), "addr", "add", address, "dev", "wire"}));
  US_TRY(demo::run_checked({"ip", "-n", ns.name(), "link", "set", "wire", "up"}));
  return tap;
}

// Of the thread called "wire", in seconds.
double wire_cpu() {
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream file(task.path() / "stat");
    std::string text;
    std::getline(file, text);
    long long user = 0, system = 0;
    if (text.find("(wire)") == std::string::npos) continue;
    if (std::sscanf(text.c_str() + text.rfind(')') + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lld %lld", &user,
                    &system) == 2)
      return static_cast<double>(user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
  }
  return 0;
}

void print(const char* direction, double mbit, const LinkCounters& c) {
  fmt::print("{}: {:.1f} Mbit/s of payload; {} frames in, {} out, {} dropped by the queue, {} overruns\n", direction,
             mbit, c.in, c.out, c.queue_drops, c.overruns);
}

Status run(uint64_t mbit, int rtt_ms, int seconds) {
  const std::string prefix = fmt::format("us-{}-wire", ::getpid());
  US_ASSIGN(const NetNs a, NetNs::create(prefix + "-a"));
  US_ASSIGN(const NetNs b, NetNs::create(prefix + "-b"));
  US_ASSIGN(UniqueFd tap_a, end_in(a, "10.70.0.1/24"));
  US_ASSIGN(UniqueFd tap_b, end_in(b, "10.70.0.2/24"));
  const LinkConfig line{
      .bits_per_second = mbit * 1'000'000, .delay = Duration::micros(int64_t{500} * rtt_ms), .queue_packets = 1000};
  US_ASSIGN(const auto wire, Wire::start(std::move(tap_a), std::move(tap_b), symmetric_wire(line)));
  const UniqueFd nowhere(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  US_ASSIGN(const auto server, ChildProcess::spawn({.argv = b.wrap({"iperf3", "-s", "--logfile", "/dev/null"}),
                                                    .inherited = {},
                                                    .output_fd = nowhere.get()}));
  while (!demo::run_checked(a.wrap({"bash", "-c", "exec 3<>/dev/tcp/10.70.0.2/5201"}))) ::usleep(100'000);
  const double before = wire_cpu();
  US_ASSIGN(const std::string text, demo::run_checked(a.wrap({"iperf3", "-c", "10.70.0.2", "--bidir", "-C", "cubic",
                                                              "-O", "2", "-t", std::to_string(seconds), "-J"}),
                                                      Duration::seconds(seconds + 20)));
  const double cpu = (wire_cpu() - before) / (seconds + 2) * 100;
  const Json report = Json::parse(text, nullptr, false);
  if (!report.is_object() || !report.contains("end")) return fail(ErrorKind::kSystem, "iperf3 said: " + text);
  const auto rate = [&](const char* key) { return report["end"][key].value("bits_per_second", 0.0) / 1e6; };
  const WireCounters counters = wire->counters();
  print("a to b", rate("sum_received"), counters.a_to_b);
  print("b to a", rate("sum_received_bidir_reverse"), counters.b_to_a);
  fmt::print(
      "CPU of the wire's thread: {:.0f} % of a core (with the receiving kernel's part, which runs in its writes)\n",
      cpu);
  return {};
}

}  // namespace
}  // namespace us

int main(int argc, char** argv) {
  CLI::App app{"Whether the emulated line keeps up: TCP in both directions at once."};
  uint64_t mbit = 200;
  int rtt_ms = 80, seconds = 10;
  app.add_option("--mbit", mbit, "rate of the line, each way")->capture_default_str()->check(CLI::Range(1, 100'000));
  app.add_option("--rtt-ms", rtt_ms, "round trip")->capture_default_str()->check(CLI::Range(0, 10'000));
  app.add_option("--seconds", seconds, "of transfer")->capture_default_str()->check(CLI::Range(1, 600));
  CLI11_PARSE(app, argc, argv);
  const us::Status done = us::run(mbit, rtt_ms, seconds);
  if (done) return 0;
  fmt::print(stderr, "wire bench: {}\n", done.error().message);
  return 1;
}
