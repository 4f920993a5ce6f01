// Whether the wire (wire/wire.h) is what it claims to be on this machine: the rate that it delivers, how much later
// than chosen a frame comes out, whether its count of losses is what is missing at the far end, and what its thread
// costs under TCP in both directions at once.  `./do bench wire`, `./do bench micro wire [--mbit N] …`.  Needs root.
#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "base/bytes.h"
#include "common/results.h"
#include "common/statistics.h"
#include "demo/command.h"
#include "demo/netns.h"
#include "os/child_process.h"
#include "os/clock.h"
#include "wire/wire.h"

namespace us::bench {
namespace {

using Json = nlohmann::json;
using demo::NetNs;

constexpr const char* kAddressA = "10.70.0.1";
constexpr const char* kAddressB = "10.70.0.2";
constexpr uint16_t kPort = 7000;
constexpr int kReceiveBuffer = 32 << 20;
constexpr size_t kHeaders = 42;  // Ethernet, IPv4 and UDP: what a datagram weighs more on the wire

std::atomic<bool> interrupted = false;
void on_signal(int) { interrupted = true; }

struct Options {
  uint64_t mbit = 150;
  int rtt_ms = 80;
  double loss = 0.01;
  double seconds = 3;
  int rounds = 1;
  std::string results;
  std::string step = "wire";
};

// Two namespaces and the wire between them.
struct Bed {
  NetNs a, b;
  std::unique_ptr<Wire> wire;
};

Result<UniqueFd> end_in(const NetNs& ns, const std::string& address) {
  Result<UniqueFd> tap;
  std::thread([&] {
    if (ns.enter()) tap = create_wire_tap("wire");
  }).join();
  if (!tap) return tap;
  US_TRY(demo::run_checked({"ip", "-n", ns.name(), "addr", "add", address + "/24", "dev", "wire"}));
  US_TRY(demo::run_checked({"ip", "-n", ns.name(), "link", "set", "wire", "up"}));
  return tap;
}

Result<Bed> make_bed() {
  const std::string prefix = fmt::format("us-{}-wire", ::getpid());
  US_ASSIGN(NetNs a, NetNs::create(prefix + "-a"));
  US_ASSIGN(NetNs b, NetNs::create(prefix + "-b"));
  US_ASSIGN(UniqueFd tap_a, end_in(a, kAddressA));
  US_ASSIGN(UniqueFd tap_b, end_in(b, kAddressB));
  US_ASSIGN(auto wire, Wire::start(std::move(tap_a), std::move(tap_b), WireConfig{}));
  return Bed{std::move(a), std::move(b), std::move(wire)};
}

sockaddr_in address_of(const char* text) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(kPort);
  ::inet_pton(AF_INET, text, &address.sin_addr);
  return address;
}

// A datagram socket that stays in `ns` whoever uses it.
Result<UniqueFd> udp_in(const NetNs& ns, const char* own, const char* peer) {
  UniqueFd fd;
  int error = 0;
  std::thread([&] {
    if (!ns.enter()) return;
    fd = UniqueFd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const sockaddr_in from = address_of(own), to = address_of(peer);
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBuffer, sizeof kReceiveBuffer);
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&from), sizeof from) != 0 ||
        ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0)
      error = errno;
  }).join();
  if (!fd || error != 0) return fail_errno("a datagram socket", error);
  return fd;
}

struct Arrivals {
  uint64_t sent = 0;
  uint64_t received = 0;
  uint64_t bytes = 0;  // as the wire counts them
  Instant first, last;
  std::vector<double> late_ms;  // beyond `line`
};

// Sends datagrams of `bytes` from a to b, `per_second` of them, and waits for those that are on the line still.
Result<Arrivals> flow(const Bed& bed, size_t bytes, double per_second, double seconds, Duration line) {
  US_ASSIGN(const UniqueFd out, udp_in(bed.a, kAddressA, kAddressB));
  US_ASSIGN(const UniqueFd in, udp_in(bed.b, kAddressB, kAddressA));
  std::atomic<bool> sending = true;
  Arrivals arrivals;
  std::thread receiver([&] {
    Bytes packet(65536);
    pollfd waiting{in.get(), POLLIN, 0};
    while (::poll(&waiting, 1, 500) > 0 || sending) {
      const ssize_t n = ::recv(in.get(), packet.data(), packet.size(), 0);
      if (n < 8) continue;
      const Instant now = clock_now();
      const Instant sent = Instant::from_nanos(static_cast<int64_t>(load_le<uint64_t>(packet.data())));
      if (arrivals.received++ == 0) arrivals.first = now;
      arrivals.last = now;
      arrivals.bytes += static_cast<uint64_t>(n) + kHeaders;
      arrivals.late_ms.push_back((now - sent - line).to_millis_f());
    }
  });
  Bytes packet(bytes);
  const Instant begin = clock_now();
  for (Instant now = begin; (now - begin).to_seconds() < seconds && !interrupted; now = clock_now()) {
    const auto due = static_cast<uint64_t>((now - begin).to_seconds() * per_second);
    while (arrivals.sent < due) {
      store_le(packet.data(), static_cast<uint64_t>(clock_now().to_nanos()));
      if (::send(out.get(), packet.data(), packet.size(), 0) < 0) break;
      ++arrivals.sent;
    }
    ::usleep(200);
  }
  sending = false;
  receiver.join();
  return arrivals;
}

class Report {
 public:
  Report(const Options& options, Results results) : options_(options), results_(std::move(results)) {}
  void round(int number) { round_ = number; }
  void row(const std::string& metric, double value, const std::string& unit, double loss = 0, int rtt_ms = 0) {
    fmt::print("round {}: {:<22} {:>12.4f} {}\n", round_, metric, value, unit);
    results_.row(key(loss, rtt_ms), metric, value, unit);
  }
  void samples(const std::string& metric, const std::vector<double>& values, int rtt_ms) {
    results_.samples(key(0, rtt_ms), metric, values, "ms");
  }
  Status status() const { return results_.status(); }

 private:
  Key key(double loss, int rtt_ms) const {
    return {.scenario = "wire",
            .params = fmt::format("mbit={}", options_.mbit),
            .mtu = 1500,
            .rtt_ms = static_cast<double>(rtt_ms),
            .loss = loss,
            .round = round_};
  }
  const Options& options_;
  Results results_;
  int round_ = 1;
};

// Twice as much as it lets through.
Status measure_rate(const Bed& bed, const Options& options, Report& report) {
  const double bits = static_cast<double>(options.mbit) * 1e6;
  bed.wire->configure(symmetric_wire({.bits_per_second = options.mbit * 1'000'000, .queue_packets = 1000}));
  US_ASSIGN(const Arrivals got, flow(bed, 1400, 2 * bits / 8 / (1400 + kHeaders), options.seconds, {}));
  if (got.received < 2) return fail(ErrorKind::kSystem, "nothing came through the wire");
  const double rate = static_cast<double>(got.bytes) * 8 / (got.last - got.first).to_seconds();
  report.row("rate", rate / 1e6, "Mbit/s");
  report.row("rate-error", (rate / bits - 1) * 100, "%");
  return {};
}

Status measure_delay(const Bed& bed, const Options& options, Report& report) {
  const Duration one_way = Duration::micros(int64_t{500} * options.rtt_ms);
  bed.wire->configure(symmetric_wire({.delay = one_way}));
  US_ASSIGN(const Arrivals got, flow(bed, 200, 1000, options.seconds, one_way));
  if (got.late_ms.empty()) return fail(ErrorKind::kSystem, "nothing came through the wire");
  report.row("delay-error-p50", median(got.late_ms), "ms", 0, options.rtt_ms);
  if (const auto p99 = quantile(got.late_ms, 0.99)) report.row("delay-error-p99", *p99, "ms", 0, options.rtt_ms);
  report.row("delay-error-max", *std::max_element(got.late_ms.begin(), got.late_ms.end()), "ms", 0, options.rtt_ms);
  report.samples("delay-error", got.late_ms, options.rtt_ms);
  return {};
}

Status measure_loss(const Bed& bed, const Options& options, Report& report, int round) {
  bed.wire->configure(symmetric_wire({.loss = options.loss, .seed = static_cast<uint64_t>(round)}));
  US_ASSIGN(const Arrivals got, flow(bed, 200, 5000, options.seconds, {}));
  const uint64_t lost = bed.wire->counters().a_to_b.lost, missing = got.sent - got.received;
  report.row("loss-share", 100 * static_cast<double>(lost) / static_cast<double>(std::max<uint64_t>(got.sent, 1)), "%",
             options.loss);
  // Other frames of the kernel's own may be among the lost, so a few less may be missing than were counted.
  report.row("lost-counted", static_cast<double>(lost), "frames", options.loss);
  report.row("lost-missing", static_cast<double>(missing), "frames", options.loss);
  return {};
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

// With the receiving kernel's part, which runs in the wire's writes.
Status measure_tcp(const Bed& bed, const Options& options, Report& report) {
  bed.wire->configure(symmetric_wire({.bits_per_second = options.mbit * 1'000'000,
                                      .delay = Duration::micros(int64_t{500} * options.rtt_ms),
                                      .queue_packets = 1000}));
  const UniqueFd nowhere(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  US_ASSIGN(const auto server, ChildProcess::spawn({.argv = bed.b.wrap({"iperf3", "-s", "--logfile", "/dev/null"}),
                                                    .inherited = {},
                                                    .output_fd = nowhere.get()}));
  const std::string probe = fmt::format("exec 3<>/dev/tcp/{}/5201", kAddressB);
  while (!interrupted && !demo::run_checked(bed.a.wrap({"bash", "-c", probe}))) ::usleep(100'000);
  const auto seconds = static_cast<int>(options.seconds + 0.5);
  const double before = wire_cpu();
  US_ASSIGN(const std::string text, demo::run_checked(bed.a.wrap({"iperf3", "-c", kAddressB, "--bidir", "-C", "cubic",
                                                                  "-O", "2", "-t", std::to_string(seconds), "-J"}),
                                                      Duration::seconds(seconds + 20)));
  const double cpu = (wire_cpu() - before) / (seconds + 2) * 100;
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("end")) return fail(ErrorKind::kSystem, "iperf3 said: " + text);
  const auto rate = [&](const char* key) { return json["end"][key].value("bits_per_second", 0.0) / 1e6; };
  report.row("tcp-a-to-b", rate("sum_received"), "Mbit/s", 0, options.rtt_ms);
  report.row("tcp-b-to-a", rate("sum_received_bidir_reverse"), "Mbit/s", 0, options.rtt_ms);
  report.row("cpu", cpu, "% of a core", 0, options.rtt_ms);
  const WireCounters counters = bed.wire->counters();
  report.row("overruns", static_cast<double>(counters.a_to_b.overruns + counters.b_to_a.overruns), "frames", 0,
             options.rtt_ms);
  return {};
}

Status run(const Options& options) {
  US_ASSIGN(const Bed bed, make_bed());
  US_ASSIGN(Results results,
            options.results.empty() ? Results::nowhere() : Results::open(options.results, options.step));
  Report report(options, std::move(results));
  for (int round = 1; round <= options.rounds && !interrupted; ++round) {
    report.round(round);
    US_TRY(measure_rate(bed, options, report));
    US_TRY(measure_delay(bed, options, report));
    US_TRY(measure_loss(bed, options, report, round));
    US_TRY(measure_tcp(bed, options, report));
  }
  return report.status();
}

// Three flows with what they wait for at the end, and a TCP run.
double estimated_seconds(const Options& options) { return 2 + options.rounds * (4 * options.seconds + 5); }

}  // namespace
}  // namespace us::bench

int main(int argc, char** argv) {
  CLI::App app{"Whether the emulated line is what it claims to be: rate, delay, losses, and TCP both ways at once."};
  us::bench::Options options;
  bool quick = false, only_estimate = false;
  app.add_option("--mbit", options.mbit, "rate, each way")->capture_default_str()->check(CLI::Range(1, 100'000));
  app.add_option("--rtt-ms", options.rtt_ms, "round trip")->capture_default_str()->check(CLI::Range(0, 10'000));
  app.add_option("--loss", options.loss, "0 to 1")->capture_default_str()->check(CLI::Range(0.0, 1.0));
  app.add_option("--seconds", options.seconds, "of each part")->capture_default_str()->check(CLI::Range(1.0, 600.0));
  app.add_option("--rounds", options.rounds)->capture_default_str()->check(CLI::Range(1, 1000));
  app.add_flag("--quick", quick, "one second of each part");
  app.add_option("--results", options.results, "write the raw data into this directory (docs/evaluation-data.md)");
  app.add_option("--step", options.step, "what its files are called")->capture_default_str();
  app.add_flag("--estimate", only_estimate, "print how many seconds it will take, and do nothing");
  CLI11_PARSE(app, argc, argv);
  if (quick) options.seconds = 1;
  if (only_estimate) {
    fmt::print("{:.0f}\n", us::bench::estimated_seconds(options));
    return 0;
  }
  struct sigaction action {};
  action.sa_handler = us::bench::on_signal;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  const us::Status done = us::bench::run(options);
  if (us::bench::interrupted) return 130;
  if (done) return 0;
  fmt::print(stderr, "wire bench: {}\n", done.error().message);
  return 1;
}
