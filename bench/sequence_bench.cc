// One connection, packet by packet: what the client's interface saw of a transfer without epochs, under plain output
// commit and with all optimizations, beside the instants at which epochs were cut and committed.  For the time-sequence
// plot of the report: `./do bench micro sequence --results DIR`.
//
// Series (docs/evaluation-data.md), each connection from its SYN: data-WHO (the last byte of a segment with data that
// WHO, guest or client, sent), ack-WHO (what a segment of WHO's newly acknowledged), epoch-stopped, epoch-resumed,
// epoch-committed (which epoch).  Row: duration, to the last segment with data.
//
// One machine does all: first without a standby, then protected.  The captures are made by tcpdump in the client's
// namespace.  Needs root and the guest.
#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <thread>

#include "common/results.h"
#include "demo/cluster.h"
#include "host/control_server.h"
#include "os/child_process.h"
#include "os/clock.h"
#include "sequence/capture_file.h"
#include "tcp/exchanges.h"

namespace us::bench {
namespace {

using demo::Cluster;
using nlohmann::json;

std::atomic<bool> interrupted = false;
void on_signal(int) { interrupted = true; }

constexpr Duration kBoot = Duration::seconds(90);
constexpr Duration kSettle = Duration::millis(1200);  // the epoch that ran when the length changed may be a long one
constexpr uint16_t kSinkPort = 9000;
constexpr useconds_t kApartUs = 200'000;    // the last packets of a connection are no part of the next
constexpr int64_t kAroundNs = 200'000'000;  // epochs shown before and after a connection
constexpr const char* kInterface = "wire0";

struct Options {
  std::string results;
  std::string step = "sequence";
  int epoch_ms = 50;
  int rtt_ms = 2;
  int mbit = 150;
  int rounds = 5;
  bool quick = false;
  bool estimate = false;
  size_t bytes = 4'000'000;
  size_t fetch_bytes = 100'000;
};

struct Transfer {
  std::string name;
  uint16_t port;
  bool upload;
  size_t bytes;
};

// tcpdump, from when it listens until stop().
class Recorder {
 public:
  static Result<Recorder> start(const demo::NetNs& ns, uint16_t port, std::filesystem::path file) {
    // Told through its log that it listens: a pipe would have to be drained.
    const std::filesystem::path log = file.string() + ".log";
    const UniqueFd output(::open(log.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644));
    if (!output) return fail_errno("write " + log.string(), errno);
    US_ASSIGN(ChildProcess child,
              ChildProcess::spawn({.argv = ns.wrap({"tcpdump", "-i", kInterface, "-w", file.string(), "-s", "128", "-B",
                                                    "65536", "-n", "-p", "-Z", "root", "--immediate-mode",
                                                    "--time-stamp-precision=nano", fmt::format("tcp port {}", port)}),
                                   .inherited = {},
                                   .output_fd = output.get()}));
    Recorder recorder(std::move(child), std::move(file), log);
    const Instant limit = clock_now() + Duration::seconds(10);
    while (recorder.log_text().find("listening on") == std::string::npos) {
      if (const auto exit = recorder.child_.poll_exit())
        return fail(ErrorKind::kSystem, "tcpdump " + *exit + ": " + recorder.log_text());
      if (clock_now() > limit) return fail(ErrorKind::kTimeout, "tcpdump does not begin to listen");
      pollfd ended{recorder.child_.exit_fd(), POLLIN, 0};
      ::poll(&ended, 1, 20);
    }
    return recorder;
  }

  // What was captured.  Error: frames were lost on the way to the file.
  Result<std::vector<CapturedSegment>> stop(uint16_t port) {
    ::usleep(100'000);  // the last frames are on their way to it
    ::kill(child_.pid(), SIGINT);
    pollfd ended{child_.exit_fd(), POLLIN, 0};
    if (::poll(&ended, 1, 10'000) <= 0) return fail(ErrorKind::kTimeout, "tcpdump does not end");
    const std::string log = log_text();
    if (log.find("\n0 packets dropped by kernel") == std::string::npos)
      return fail(ErrorKind::kSystem, "the capture is not whole: " + log);
    std::ifstream in(file_, std::ios::binary);
    std::filesystem::remove(log_);
    const Bytes bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    return read_capture(bytes, port);
  }

 private:
  Recorder(ChildProcess child, std::filesystem::path file, std::filesystem::path log)
      : child_(std::move(child)), file_(std::move(file)), log_(std::move(log)) {}
  std::string log_text() const {
    std::ifstream in(log_);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }

  ChildProcess child_;
  std::filesystem::path file_, log_;
};

// Sends `bytes` to the guest's sink and waits for its verdict, which does not matter here.
Status upload(const Client& client, size_t bytes) {
  Status result;
  std::thread([&] {
    result = [&]() -> Status {
      US_TRY(client.ns.enter());
      const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      if (!fd) return fail_errno("socket", errno);
      ::setsockopt(fd.get(), IPPROTO_TCP, TCP_CONGESTION, client.cc.data(), static_cast<socklen_t>(client.cc.size()));
      const timeval patience{30, 0};
      ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_port = htons(kSinkPort);
      ::inet_pton(AF_INET, client.guest.c_str(), &to.sin_addr);
      if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0)
        return fail_errno("connect to the sink", errno);
      std::string data = "sink 1\n";
      data.resize(data.size() + bytes, 'x');
      for (size_t sent = 0; sent < data.size();) {
        const ssize_t n = ::send(fd.get(), data.data() + sent, data.size() - sent, MSG_NOSIGNAL);
        if (n <= 0) return fail_errno("send to the sink", errno);
        sent += static_cast<size_t>(n);
      }
      ::shutdown(fd.get(), SHUT_WR);
      std::array<char, 256> answer;
      if (::recv(fd.get(), answer.data(), answer.size(), 0) <= 0) return fail_errno("the sink's answer", errno);
      return {};
    }();
  }).join();
  return result;
}

class Bench {
 public:
  Bench(const Options& options, Results results) : options_(options), results_(std::move(results)) {}

  Status run() {
    demo::ClusterOptions o;
    o.prefix = fmt::format("us-{}", ::getpid());
    o.program = US_PROGRAM;
    o.guest_dir = US_GUEST_DIR;
    o.detection = "2s";  // all of it on a few processors: a busy standby is not a dead one
    o.wire = symmetric_wire({.bits_per_second = static_cast<uint64_t>(options_.mbit) * 1'000'000,
                             .delay = Duration::micros(int64_t{500} * options_.rtt_ms),
                             .queue_packets = 1000,
                             .seed = 1});
    o.interrupted = &interrupted;
    US_ASSIGN(cluster_, Cluster::create(o));
    US_TRY(cluster_->start_primary(0));
    US_TRY(cluster_->wait_guest(kBoot));
    US_TRY(measure("unprotected"));
    US_TRY(cluster_->start_standby(1));
    US_TRY(cluster_->wait_protected(0, kBoot));
    for (const char* mode : {"buffered", "accelerated"}) {
      US_TRY(ask({{"command", "set"}, {"assignment", std::string("tcp.mode=") + mode}}));
      US_TRY(ask({{"command", "set"}, {"assignment", fmt::format("epoch.length={}ms", options_.epoch_ms)}}));
      US_TRY(cluster_->sleep(kSettle));
      US_TRY(measure(mode));
    }
    return results_.status();
  }

 private:
  // Of one connection in the capture.
  struct Span {
    int64_t begin = 0, end = 0;  // its SYN, its last segment with data
    int64_t guest_acknowledged = 0, client_acknowledged = 0;
    Key key;
  };

  Result<json> ask(const json& request) {
    const std::string runtime = (cluster_->log_file(0).parent_path() / "runtime").string();
    return control_request(control_path(runtime, demo::kVmName), request);
  }

  Status measure(const std::string& mode) {
    for (const Transfer& transfer :
         {Transfer{"download", kHttpPort, false, options_.bytes}, Transfer{"upload", kSinkPort, true, options_.bytes},
          Transfer{"fetch", kHttpPort, false, options_.fetch_bytes}})
      US_TRY(measure(mode, transfer));
    return {};
  }

  Status measure(const std::string& mode, const Transfer& transfer) {
    const demo::NetNs& ns = cluster_->lab().client();
    const Client client{ns, demo::kGuestAddress, "cubic", interrupted};
    US_ASSIGN(Recorder recorder, Recorder::start(ns, transfer.port, results_.capture_file(transfer.name + "-" + mode)));
    for (int round = 0; round < options_.rounds; ++round) {
      if (interrupted) return fail(ErrorKind::kRefused, "interrupted");
      if (transfer.upload)
        US_TRY(upload(client, transfer.bytes));
      else
        US_TRY(measure_fetches(client, transfer.bytes, false, {1, 1, Duration::seconds(30)}));
      ::usleep(kApartUs);
    }
    const int64_t clock_offset = realtime_ns() - clock_now().to_nanos();
    US_ASSIGN(const json epochs, mode == "unprotected" ? json::array() : ask({{"command", "epochs"}}));
    US_ASSIGN(const auto segments, recorder.stop(transfer.port));
    std::map<uint16_t, Span> spans = spans_of(mode, transfer, segments);
    if (spans.size() != static_cast<size_t>(options_.rounds))
      return fail(ErrorKind::kSystem, fmt::format("{} connections captured, not {}", spans.size(), options_.rounds));
    for (const CapturedSegment& s : segments) write(s, spans[s.client_port]);
    for (const auto& [port, span] : spans) {
      results_.row(span.key, "duration", millis(span.end - span.begin), "ms");
      write(epochs, clock_offset, span);
      fmt::print("{} {} round {}: {:.1f} ms\n", mode, transfer.name, span.key.round, millis(span.end - span.begin));
    }
    return {};
  }

  // The connections by the client's port; rounds count in the order in which they began.
  std::map<uint16_t, Span> spans_of(const std::string& mode, const Transfer& transfer,
                                    const std::vector<CapturedSegment>& segments) const {
    std::map<uint16_t, Span> spans;
    for (const CapturedSegment& s : segments) {
      const auto [found, is_new] = spans.try_emplace(s.client_port);
      Span& span = found->second;
      if (is_new) {
        span.begin = span.end = s.at_ns;
        span.key = key_of(mode, transfer, static_cast<int>(spans.size()));
      }
      if (s.bytes > 0 && s.from_server != transfer.upload) span.end = s.at_ns;
    }
    return spans;
  }

  Key key_of(const std::string& mode, const Transfer& transfer, int round) const {
    Key key;
    key.scenario = "sequence";
    key.params = fmt::format("transfer={};bytes={};mbit={}", transfer.name, transfer.bytes, options_.mbit);
    key.mode = mode;
    if (mode != "unprotected") key.epoch = std::to_string(options_.epoch_ms);
    key.direction = transfer.upload ? "client-to-guest" : "guest-to-client";
    key.mtu = 1500;
    key.rtt_ms = options_.rtt_ms;
    key.cc = "cubic";
    key.round = round;
    return key;
  }

  static double millis(int64_t nanos) { return static_cast<double>(nanos) / 1e6; }

  void write(const CapturedSegment& s, Span& span) {
    const std::string who = s.from_server ? "guest" : "client";
    const double at = millis(s.at_ns - span.begin);
    if (s.bytes > 0) results_.point(span.key, "data-" + who, at, static_cast<double>(s.sequence + s.bytes), "byte");
    int64_t& acknowledged = s.from_server ? span.guest_acknowledged : span.client_acknowledged;
    if (s.flags.find('A') == std::string::npos || s.acknowledged == acknowledged) return;
    acknowledged = s.acknowledged;
    results_.point(span.key, "ack-" + who, at, static_cast<double>(acknowledged), "byte");
  }

  // The epochs that touch the connection's time.
  void write(const json& epochs, int64_t clock_offset, const Span& span) {
    for (const json& e : epochs) {
      const int64_t stopped = e["stopped_ns"].get<int64_t>() + clock_offset;
      if (stopped < span.begin - kAroundNs || stopped > span.end + kAroundNs) continue;
      for (const char* what : {"stopped", "resumed", "committed"}) {
        const json& at = e[std::string(what) + "_ns"];
        if (at.is_null()) continue;
        results_.point(span.key, std::string("epoch-") + what, millis(at.get<int64_t>() + clock_offset - span.begin),
                       e["epoch"].get<double>(), "epoch");
      }
    }
  }

  static int64_t realtime_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  }

  const Options options_;
  Results results_;
  std::unique_ptr<Cluster> cluster_;
};

int run(const Options& options) {
  // Two boots of QEMU, a synchronisation, nine captures.
  if (options.estimate) return fmt::print("{}\n", 30 + 12 * options.rounds), 0;
  if (options.results.empty())
    return fmt::print(stderr, "sequence bench: --results is needed: captures want a place\n"), 2;
  auto opened = Results::open(options.results, options.step);
  if (!opened) return fmt::print(stderr, "sequence bench: {}\n", opened.error().message), 2;
  const Status done = Bench(options, std::move(*opened)).run();
  if (interrupted) return 130;
  if (done) return 0;
  fmt::print(stderr, "sequence bench: {}\n", done.error().message);
  return 1;
}

}  // namespace
}  // namespace us::bench

int main(int argc, char** argv) {
  CLI::App app{"Captures single connections without epochs, under output commit and with all optimizations."};
  us::bench::Options options;
  app.add_option("--results", options.results, "directory of the evaluation's data");
  app.add_option("--step", options.step, "name of its files")->capture_default_str();
  app.add_option("--rounds", options.rounds, "connections of each kind")
      ->capture_default_str()
      ->check(CLI::Range(1, 100));
  app.add_flag("--quick", options.quick, "three rounds");
  app.add_flag("--estimate", options.estimate, "print how many seconds it takes, and do nothing");
  app.add_option("--epoch", options.epoch_ms, "length of an epoch, ms")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  app.add_option("--rtt", options.rtt_ms, "of the line, ms")->capture_default_str()->check(CLI::Range(0, 500));
  app.add_option("--mbit", options.mbit, "of the line")->capture_default_str()->check(CLI::Range(1, 10'000));
  app.add_option("--bytes", options.bytes, "of a bulk transfer")
      ->capture_default_str()
      ->check(CLI::Range(1000, 100'000'000));
  CLI11_PARSE(app, argc, argv);
  if (options.quick && app.count("--rounds") == 0) options.rounds = 3;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  struct sigaction action {};
  action.sa_handler = us::bench::on_signal;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  return us::bench::run(options);
}
