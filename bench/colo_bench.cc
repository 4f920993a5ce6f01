// QEMU's own COLO beside Understudy: same guest, same client, same wire, in one run.  `./do bench micro colo`;
// docs/benchmarks.md says what the figures mean.  Needs root, the guest, and bench/colo/fetch for newer QEMUs.
//
// First every QEMU that there is tries to go into COLO; the first that does is measured, for the others the symptom is
// told.  Nothing is worked around.
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>

#include "colo/colo_pair.h"
#include "common/results.h"
#include "demo/clients.h"
#include "demo/cluster.h"
#include "demo/command.h"
#include "host/control_server.h"
#include "os/clock.h"
#include "takeover/clients.h"
#include "tcp/exchanges.h"
#include "tcp/streams.h"

namespace us::bench {
namespace {

using demo::Cluster;
using nlohmann::json;

std::atomic<bool> interrupted = false;
void on_signal(int) { interrupted = true; }

constexpr int kExitCannotRun = 77;
constexpr Duration kBoot = Duration::seconds(90);
constexpr Duration kGoOnLimit = Duration::seconds(20);
constexpr const char* kEpoch = "25";

struct Options {
  int rounds = 5;
  int kills = 3;
  bool quick = false;
  int mbit = 150;
  int checkpoint_ms = 1000;
  std::string directory, step = "colo";
};

struct Qemu {
  std::string name;  // "11.1.3"
  std::vector<std::string> start;
};

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

std::string version_of(const std::vector<std::string>& start) {
  std::vector<std::string> argv = start;
  argv.emplace_back("--version");
  const auto text = demo::run_checked(argv);
  const auto words = text ? words_of(*text) : std::vector<std::string>{};
  return words.size() > 3 ? words[3] : "?";  // "QEMU emulator version 7.2.22 (…"
}

// The newest first: what runs is to be measured at its best.
std::vector<Qemu> find_qemus() {
  std::vector<std::vector<std::string>> starts;
  for (const char* version : {"11", "10"}) {
    std::ifstream in(fmt::format(US_BINARY_DIR "/colo/{}/ready", version));
    std::string line;
    if (std::getline(in, line)) starts.push_back(words_of(line));
  }
  starts.push_back({"qemu-system-x86_64"});
  std::vector<Qemu> all;
  for (auto& start : starts) all.push_back({version_of(start), start});
  return all;
}

WireConfig wire_of(const Options& options) {
  return symmetric_wire({.bits_per_second = static_cast<uint64_t>(options.mbit) * 1'000'000});
}

std::string prefix(const char* name) { return fmt::format("us-{}-{}", ::getpid(), name); }

Result<std::unique_ptr<ColoPair>> start_pair(const Options& options, const Qemu& qemu, bool colo) {
  return ColoPair::start({.prefix = prefix(colo ? "colo" : "alone"),
                          .qemu = qemu.start,
                          .guest_dir = US_GUEST_DIR,
                          .checkpoint_ms = options.checkpoint_ms,
                          .wire = wire_of(options),
                          .colo = colo});
}

double quantile_ms(std::vector<Duration> values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1) + 0.5)].to_millis_f();
}

class Bench {
 public:
  Bench(const Options& options, Results results) : options_(options), results_(std::move(results)) {}

  int run() {
    if (!choose_qemu()) {
      fmt::print(stderr, "colo bench: COLO runs with none of these QEMUs, see above\n");
      return interrupted ? 130 : kExitCannotRun;
    }
    for (int round = 1; round <= options_.rounds && !interrupted; ++round) measure_round(round);
    for (int kill = 1; kill <= options_.kills && !interrupted; ++kill) measure_takeover(kill);
    print();
    if (const Status written = results_.status(); !written) {
      fmt::print(stderr, "colo bench: {}\n", written.error().message);
      return 1;
    }
    return interrupted ? 130 : failures_ > 0 ? 1 : 0;
  }

 private:
  // Every QEMU tries, so that the report can say of each what became of it.
  bool choose_qemu() {
    fetch_qemus();
    for (const Qemu& qemu : find_qemus()) {
      if (interrupted) return false;
      const Status tried = try_colo(qemu);
      fmt::print("QEMU {}: {}\n", qemu.name, tried ? "COLO runs" : "COLO does not run: " + tried.error().message);
      Key key{.scenario = "colo-start", .params = "qemu=" + qemu.name, .mode = "colo"};
      if (!tried) key.params += ";symptom=" + tried.error().message.substr(0, tried.error().message.find(';'));
      results_.row(key, "runs", tried ? 1 : 0, "yes");
      if (tried && !qemu_) qemu_ = qemu;
    }
    return qemu_.has_value();
  }

  // Newer ones than the installed; without a mirror there are none.
  static void fetch_qemus() {
    for (const char* version : {"10", "11"}) {
      const auto fetched =
          demo::run_checked({US_SOURCE_DIR "/bench/colo/fetch", US_BINARY_DIR, version}, Duration::seconds(300));
      if (!fetched) fmt::print("QEMU {} could not be fetched: {}\n", version, fetched.error().message);
    }
  }

  Status try_colo(const Qemu& qemu) {
    US_ASSIGN(const auto pair, start_pair(options_, qemu, true));
    US_TRY(pair->protect());
    const Client client{pair->lab().client(), demo::kGuestAddress, "cubic", interrupted};
    US_TRY(measure_requests(client, 1, {20, 1, Duration::seconds(2)}));
    return pair->check();
  }

  // Each machine by itself, started for the occasion: what is not measured takes no processor.
  void measure_round(int round) {
    one(round, "unprotected", [&] { return with_cluster(round, "unprotected", false); });
    one(round, "accelerated", [&] { return with_cluster(round, "accelerated", true); });
    one(round, "colo-off", [&] { return with_pair(round, false); });
    one(round, "colo", [&] { return with_pair(round, true); });
  }

  void one(int round, const char* mode, const std::function<Status()>& body) {
    if (interrupted) return;
    fmt::print(stderr, "round {} of {}: {}\n", round, options_.rounds, mode);
    const Status done = body();
    if (done || interrupted) return;
    ++failures_;
    fmt::print(stderr, "round {}, {}: FAILED: {}\n", round, mode, done.error().message);
  }

  Status with_cluster(int round, const char* mode, bool with_standby) {
    demo::ClusterOptions options;
    options.prefix = prefix(mode);
    options.program = US_PROGRAM;
    options.guest_dir = US_GUEST_DIR;
    options.epoch = fmt::format("{}ms", kEpoch);
    options.detection = "2s";
    options.wire = wire_of(options_);
    options.interrupted = &interrupted;
    US_ASSIGN(const auto cluster, Cluster::create(options));
    US_TRY(cluster->start_primary(0));
    US_TRY(cluster->wait_guest(kBoot));
    if (with_standby) {
      US_TRY(cluster->start_standby(1));
      US_TRY(cluster->wait_protected(0, kBoot));
    }
    return measure(cluster->lab(), round, mode, with_standby ? kEpoch : "");
  }

  Status with_pair(int round, bool colo) {
    US_ASSIGN(const auto pair, start_pair(options_, *qemu_, colo));
    if (!colo) return measure(pair->lab(), round, "colo-off", "");
    US_TRY(pair->protect());
    pair_ = pair.get();
    const Status measured = measure(pair->lab(), round, "colo", std::to_string(options_.checkpoint_ms));
    pair_ = nullptr;
    if (!measured) {
      const Status still = pair->check();
      return fail(measured.error().kind,
                  measured.error().message + (still ? "; it is still in COLO" : "; " + still.error().message));
    }
    return pair->check();
  }

  Status measure(const demo::Lab& lab, int round, const std::string& mode, const std::string& epoch) {
    const Client client{lab.client(), demo::kGuestAddress, "cubic", interrupted};
    const double skip_s = 1, length_s = options_.quick ? 2 : 3;
    const Key base{.mode = mode, .epoch = epoch, .mtu = 1500, .cc = "cubic", .round = round};
    US_TRY(requests(client, base));
    for (const bool on_wire : {true, false}) {
      if (!on_wire) US_TRY(lab.connect_client(demo::Lab::ClientLine::kCable));
      for (const bool from_guest : {true, false}) {
        begin_pauses();
        const Instant begin = clock_now();
        US_ASSIGN(const double rate, measure_bulk(client, from_guest, 1, skip_s, length_s));
        Key key = base;
        key.scenario = on_wire ? "bulk" : "bulk-unlimited";
        key.direction = from_guest ? "guest-to-client" : "client-to-guest";
        note(key, "throughput", rate / 1e6, "Mbit/s");
        end_pauses(key, clock_now() - begin);
      }
    }
    return {};
  }

  Status requests(const Client& client, Key key) {
    key.scenario = "request-1";
    begin_pauses();
    const Instant begin = clock_now();
    US_ASSIGN(const auto times, measure_requests(client, 1, {1000, 1, Duration::seconds(options_.quick ? 2 : 3)}));
    if (times.empty()) return fail(ErrorKind::kTimeout, "no request was answered");
    for (const Duration time : times) results_.sample(key, "latency", time.to_millis_f(), "ms");
    note(key, "latency-p50", quantile_ms(times, 0.5), "ms");
    note(key, "latency-p99", quantile_ms(times, 0.99), "ms");
    note(key, "latency-max", quantile_ms(times, 1), "ms");
    end_pauses(key, clock_now() - begin);
    return {};
  }

  void begin_pauses() {
    if (pair_ != nullptr) static_cast<void>(pair_->take_pauses());
  }

  // COLO's checkpoints while the measurement ran.
  void end_pauses(const Key& key, Duration length) {
    if (pair_ == nullptr) return;
    const auto pauses = pair_->take_pauses();
    if (!pauses || pauses->empty()) return;
    Duration sum;
    for (const Duration pause : *pauses) {
      sum += pause;
      results_.sample(key, "pause", pause.to_millis_f(), "ms");
    }
    note(key, "pause", sum.to_millis_f() / static_cast<double>(pauses->size()), "ms");
    note(key, "paused", 100 * sum.to_seconds() / length.to_seconds(), "%");
    note(key, "checkpoints", static_cast<double>(pauses->size()) / length.to_seconds(), "1/s");
  }

  void measure_takeover(int number) {
    fmt::print(stderr, "takeover {} of {}\n", number, options_.kills);
    const Status done = take_over(number);
    if (done || interrupted) return;
    ++failures_;
    fmt::print(stderr, "takeover {}: FAILED: {}\n", number, done.error().message);
  }

  Status take_over(int number) {
    US_ASSIGN(const auto pair, start_pair(options_, *qemu_, true));
    US_TRY(pair->protect());
    PingStall ping(demo::kGuestAddress);
    RedisStall redis(demo::kGuestAddress, "takeover", Duration::millis(20));
    ping.start(pair->lab().client());
    redis.start(pair->lab().client());
    ::usleep(static_cast<useconds_t>(1'500'000 + 137'000 * number));
    for (StallClient* client : {static_cast<StallClient*>(&ping), static_cast<StallClient*>(&redis)})
      if (const auto why = client->failure()) return fail(ErrorKind::kProtocol, client->name() + ": " + *why);
    const Instant struck = clock_now();
    US_TRY(pair->fail_over());
    return see(number, ping, redis, pair->lab().client(), struck);
  }

  Status see(int number, PingStall& ping, RedisStall& redis, const demo::NetNs& ns, Instant struck) {
    const Instant deadline = struck + kGoOnLimit;
    const auto going = [&](StallClient& client) { return client.arrivals().any_since(struck + Duration::millis(30)); };
    while (!interrupted && clock_now() < deadline && !(going(ping) && going(redis)) && !ping.failure() &&
           !redis.failure())
      ::usleep(10'000);
    ::usleep(600'000);
    const auto acknowledged = redis.acknowledged();
    const auto counted = demo::read_redis_counter(ns, demo::kGuestAddress, redis.key());
    for (StallClient* client : {static_cast<StallClient*>(&ping), static_cast<StallClient*>(&redis)}) {
      const Key key{.scenario = "colo-takeover",
                    .params = "client=" + client->name(),
                    .mode = "colo",
                    .epoch = std::to_string(options_.checkpoint_ms),
                    .mtu = 1500,
                    .cc = "cubic",
                    .round = number};
      const bool survived = !client->failure() && going(*client);
      note(key, "survived", survived ? 1 : 0, "yes");
      if (survived) note(key, "stall", client->arrivals().longest(struck, clock_now()).length().to_millis_f(), "ms");
      if (const auto why = client->failure()) fmt::print("takeover {}: {}: {}\n", number, client->name(), *why);
      if (client != &redis || !counted) continue;
      note(key, "writes-lost", static_cast<double>(acknowledged - std::min(acknowledged, *counted)), "writes");
    }
    if (!counted) fmt::print("takeover {}: redis does not answer a new client: {}\n", number, counted.error().message);
    return {};
  }

  void note(const Key& key, const std::string& metric, double value, const std::string& unit) {
    results_.row(key, metric, value, unit);
    const std::string what = fmt::format("{} {} {} {}", key.scenario, key.direction, key.params, metric);
    if (!values_.contains(what)) order_.push_back(what);
    values_[what][key.mode].push_back(value);
  }

  void print() const {
    fmt::print("\nCOLO of QEMU {}, checkpoints every {} ms at most; median (least to greatest)\n", qemu_->name,
               options_.checkpoint_ms);
    for (const std::string& what : order_) {
      fmt::print("  {}\n", what);
      for (const auto& [mode, list] : values_.at(what)) {
        std::vector<double> sorted = list;
        std::sort(sorted.begin(), sorted.end());
        fmt::print("    {:<12} {:10.2f}  ({:.2f} to {:.2f})\n", mode, sorted[sorted.size() / 2], sorted.front(),
                   sorted.back());
      }
    }
  }

  const Options options_;
  Results results_;
  std::optional<Qemu> qemu_;
  ColoPair* pair_ = nullptr;  // while COLO is measured
  int failures_ = 0;
  std::vector<std::string> order_;
  std::map<std::string, std::map<std::string, std::vector<double>>> values_;
};

double estimate(const Options& options) {
  const double measured_s = options.quick ? 20 : 23;
  return 60 + options.rounds * 4 * (measured_s + 8) + options.kills * 14;
}

int run(const Options& options) {
  Results results = Results::nowhere();
  if (!options.directory.empty()) {
    auto opened = Results::open(options.directory, options.step);
    if (!opened) {
      fmt::print(stderr, "colo bench: {}\n", opened.error().message);
      return 2;
    }
    results = std::move(*opened);
  }
  return Bench(options, std::move(results)).run();
}

}  // namespace
}  // namespace us::bench

int main(int argc, char** argv) {
  CLI::App app{"QEMU's own COLO beside Understudy: same guest, same client, same wire."};
  us::bench::Options options;
  bool estimate = false;
  app.add_option("--rounds", options.rounds, "how often everything is measured")->check(CLI::Range(1, 1000));
  app.add_option("--kills", options.kills, "takeovers of COLO")->check(CLI::Range(0, 1000));
  app.add_flag("--quick", options.quick, "one short round and one takeover");
  app.add_option("--mbit", options.mbit, "rate of the wire")->capture_default_str()->check(CLI::Range(1, 10'000));
  app.add_option("--checkpoint", options.checkpoint_ms, "longest time between two checkpoints of COLO, in ms")
      ->capture_default_str()
      ->check(CLI::Range(10, 60'000));
  app.add_option("--results", options.directory, "write raw data there (docs/evaluation-data.md)");
  app.add_option("--step", options.step, "name of its files")->capture_default_str();
  app.add_flag("--estimate", estimate, "print the seconds that it will take");
  CLI11_PARSE(app, argc, argv);
  if (options.quick && app.count("--rounds") == 0) options.rounds = 1;
  if (options.quick && app.count("--kills") == 0) options.kills = 1;
  if (estimate) {
    fmt::print("{:.0f}\n", us::bench::estimate(options));
    return 0;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  struct sigaction action {};
  action.sa_handler = us::bench::on_signal;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  return us::bench::run(options);
}
