// One connection, packet by packet: what the client's interface saw of a transfer without epochs, under plain output
// commit and with all optimizations, beside the instants at which epochs were cut and committed.  For the time-sequence
// plot of the report: `./do bench sequence DIRECTORY`; docs/evaluation-data.md describes the files.
//
// One machine does all: first without a standby, then protected.  The captures are made by tcpdump in the client's
// namespace.  Needs root and the guest.
#include <arpa/inet.h>
#include <fmt/format.h>
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

#include "demo/cluster.h"
#include "host/control_server.h"
#include "os/child_process.h"
#include "os/clock.h"
#include "sequence/capture_file.h"
#include "tcp/load.h"

namespace us::bench {
namespace {

using demo::Cluster;
using nlohmann::json;

std::atomic<bool> interrupted = false;
void on_signal(int) { interrupted = true; }

constexpr Duration kBoot = Duration::seconds(90);
constexpr Duration kSettle = Duration::millis(1200);  // the epoch that ran when the length changed may be a long one
constexpr uint16_t kHttpPort = 80, kSinkPort = 9000;
constexpr const char* kInterface = "wire0";

struct Options {
  std::string directory;
  int epoch_ms = 50;
  int rtt_ms = 2;
  int mbit = 150;
  int repeat = 5;
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
  explicit Bench(const Options& options) : options_(options) {}

  Status run() {
    US_TRY(open_files());
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
    segments_.close(), epochs_.close(), runs_.close();
    if (!segments_ || !epochs_ || !runs_) return fail(ErrorKind::kSystem, "cannot write to " + options_.directory);
    return {};
  }

 private:
  Status open_files() {
    std::error_code error;
    std::filesystem::create_directories(options_.directory, error);
    const std::filesystem::path base = options_.directory;
    segments_.open(base / "sequence.csv");
    epochs_.open(base / "sequence-epochs.csv");
    runs_.open(base / "sequence-runs.csv");
    if (!segments_ || !epochs_ || !runs_) return fail(ErrorKind::kSystem, "cannot write to " + options_.directory);
    segments_ << "transfer,mode,run,time_ms,from,flags,sequence,bytes,acknowledged,window\n";
    epochs_ << "transfer,mode,run,epoch,stopped_ms,resumed_ms,committed_ms,pages\n";
    runs_ << "transfer,mode,run,epoch_ms,bytes,rtt_ms,mbit,duration_ms\n";
    return {};
  }

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
    const auto file = std::filesystem::path(options_.directory) / fmt::format("{}-{}.pcap", transfer.name, mode);
    US_ASSIGN(Recorder recorder, Recorder::start(ns, transfer.port, file));
    for (int run = 0; run < options_.repeat; ++run) {
      if (interrupted) return fail(ErrorKind::kRefused, "interrupted");
      if (transfer.upload)
        US_TRY(upload(client, transfer.bytes));
      else
        US_TRY(measure_fetches(client, transfer.bytes, 1, Duration::seconds(30)));
      ::usleep(200'000);  // its last packets are no part of the next
    }
    US_ASSIGN(const json epochs, ask({{"command", "epochs"}}));
    US_ASSIGN(const auto segments, recorder.stop(transfer.port));
    return write(mode, transfer, segments, epochs);
  }

  // Of the connections in the capture, in the order in which they began.
  Status write(const std::string& mode, const Transfer& transfer, const std::vector<CapturedSegment>& segments,
               const json& epochs) {
    std::vector<uint16_t> ports;
    std::map<uint16_t, std::pair<int64_t, int64_t>> span;  // from its SYN to its last segment with data
    for (const CapturedSegment& s : segments) {
      if (span.count(s.client_port) == 0) ports.push_back(s.client_port), span[s.client_port] = {s.at_ns, s.at_ns};
      if (s.bytes > 0 && s.from_server != transfer.upload) span[s.client_port].second = s.at_ns;
    }
    if (ports.size() != static_cast<size_t>(options_.repeat))
      return fail(ErrorKind::kSystem, fmt::format("{} connections captured, not {}", ports.size(), options_.repeat));
    for (const CapturedSegment& s : segments) {
      const auto run = std::find(ports.begin(), ports.end(), s.client_port) - ports.begin();
      segments_ << fmt::format("{},{},{},{:.4f},{},{},{},{},{},{}\n", transfer.name, mode, run + 1,
                               static_cast<double>(s.at_ns - span[s.client_port].first) / 1e6,
                               s.from_server ? "guest" : "client", s.flags, s.sequence, s.bytes, s.acknowledged,
                               s.window);
    }
    for (size_t i = 0; i < ports.size(); ++i) {
      const auto [begin, end] = span[ports[i]];
      const int epoch_ms = mode == "unprotected" ? 0 : options_.epoch_ms;
      runs_ << fmt::format("{},{},{},{},{},{},{},{:.4f}\n", transfer.name, mode, i + 1, epoch_ms, transfer.bytes,
                           options_.rtt_ms, options_.mbit, static_cast<double>(end - begin) / 1e6);
      write_epochs(transfer.name + "," + mode, i + 1, begin, end, epochs);
    }
    const auto [begin, end] = span[ports[0]];
    fmt::print("{} {}: {} segments, first connection {:.1f} ms\n", mode, transfer.name, segments.size(),
               static_cast<double>(end - begin) / 1e6);
    return {};
  }

  // Those that touch [begin, end], which are of the capture's clock.
  void write_epochs(const std::string& what, size_t run, int64_t begin, int64_t end, const json& epochs) {
    const int64_t offset = realtime_ns() - clock_now().to_nanos();
    const auto relative = [&](const json& at) {
      return at.is_null() ? std::string()
                          : fmt::format("{:.4f}", static_cast<double>(at.get<int64_t>() + offset - begin) / 1e6);
    };
    for (const json& e : epochs) {
      const int64_t stopped = e["stopped_ns"].get<int64_t>() + offset;
      const int64_t last = e["committed_ns"].is_null() ? stopped : e["committed_ns"].get<int64_t>() + offset;
      if (last < begin - 100'000'000 || stopped > end + 100'000'000) continue;
      epochs_ << fmt::format("{},{},{},{},{},{},{}\n", what, run, e["epoch"].get<uint64_t>(), relative(e["stopped_ns"]),
                             relative(e["resumed_ns"]), relative(e["committed_ns"]), e["pages"].get<uint64_t>());
    }
  }

  static int64_t realtime_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  }

  const Options options_;
  std::unique_ptr<Cluster> cluster_;
  std::ofstream segments_, epochs_, runs_;
};

}  // namespace
}  // namespace us::bench

int main(int argc, char** argv) {
  CLI::App app{"Captures single connections without epochs, under output commit and with all optimizations."};
  us::bench::Options options;
  app.add_option("DIRECTORY", options.directory, "where the files go")->required();
  app.add_option("--epoch", options.epoch_ms, "length of an epoch, ms")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  app.add_option("--rtt", options.rtt_ms, "of the line, ms")->capture_default_str()->check(CLI::Range(0, 500));
  app.add_option("--mbit", options.mbit, "of the line")->capture_default_str()->check(CLI::Range(1, 10'000));
  app.add_option("--repeat", options.repeat, "connections of each kind")
      ->capture_default_str()
      ->check(CLI::Range(1, 100));
  app.add_option("--bytes", options.bytes, "of a bulk transfer")
      ->capture_default_str()
      ->check(CLI::Range(1000, 100'000'000));
  CLI11_PARSE(app, argc, argv);
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  struct sigaction action {};
  action.sa_handler = us::bench::on_signal;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  if (const us::Status done = us::bench::Bench(options).run(); !done) {
    fmt::print(stderr, "sequence bench: {}\n", done.error().message);
    return 1;
  }
  return 0;
}
