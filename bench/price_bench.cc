// The price of protection: pauses and their parts, commits, replication, processors, memory and the guest's clock,
// against dirty rate, guest size, epoch length and traffic, each beside the same guest unprotected.
// `./do bench micro price [--quick]`; docs/benchmarks.md says what the figures mean.  Needs root and the guest.
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <map>

#include "common/results.h"
#include "demo/cluster.h"
#include "host/control_server.h"
#include "os/clock.h"
#include "price/dirty_client.h"
#include "price/window.h"
#include "tcp/streams.h"

namespace us::bench {
namespace {

std::atomic<bool> interrupted = false;
void on_signal(int) { interrupted = true; }

constexpr Duration kBoot = Duration::seconds(120);
constexpr int kDirtySpanMb = 64;
constexpr double kSettleSeconds = 0.5;

struct Options {
  int rounds = 5;
  bool quick = false;
  double seconds = 3;
  std::vector<int> memory_mb;
  int mbit = 150;
  std::string directory, step = "price";
};

struct Load {
  enum class Kind { kIdle, kDirty, kToClient, kToGuest } kind = Kind::kIdle;
  int rate = 0;           // dirty pages a second
  bool on_cable = false;  // instead of the wire: nothing but the processors limits it

  std::string text() const {
    return kind == Kind::kIdle    ? "idle"
           : kind == Kind::kDirty ? fmt::format("dirty-{}", rate)
           : on_cable             ? "bulk-unlimited"
                                  : "bulk";
  }
  std::string direction() const {
    return kind == Kind::kToClient ? "guest-to-client" : kind == Kind::kToGuest ? "client-to-guest" : "";
  }
};

struct Measurement {
  Load load;
  int epoch_ms;
};

// A guest of one size, and what is measured with it.
struct Machine {
  int memory_mb;
  std::vector<Measurement> measurements;
};

constexpr Load kIdle{};
constexpr Load dirty(int rate) { return {.kind = Load::Kind::kDirty, .rate = rate}; }

std::vector<Machine> make_plan(const Options& options) {
  const Load out{.kind = Load::Kind::kToClient}, in{.kind = Load::Kind::kToGuest};
  const Load out_fast{.kind = Load::Kind::kToClient, .on_cable = true},
      in_fast{.kind = Load::Kind::kToGuest, .on_cable = true};
  if (options.quick) return {{512, {{kIdle, 25}, {dirty(4000), 25}, {out, 25}}}};
  std::vector<Machine> all;
  for (const int memory_mb : options.memory_mb.empty() ? std::vector<int>{256, 512, 4096} : options.memory_mb) {
    std::vector<Measurement> list = {{kIdle, 25}, {dirty(4000), 25}};
    if (memory_mb == 512)
      list = {{kIdle, 25},        {dirty(500), 25}, {dirty(2000), 25}, {dirty(4000), 25}, {dirty(16000), 25},
              {dirty(64000), 25}, {kIdle, 10},      {kIdle, 100},      {dirty(4000), 10}, {dirty(4000), 100},
              {out, 25},          {in, 25},         {out_fast, 25},    {in_fast, 25}};
    all.push_back({memory_mb, list});
  }
  return all;
}

// Unprotected, a load is measured once, whatever the epoch length.
std::vector<Load> loads_of(const Machine& machine) {
  std::vector<Load> loads;
  for (const Measurement& m : machine.measurements) {
    const bool known = std::any_of(loads.begin(), loads.end(), [&](const Load& load) {
      return load.text() == m.load.text() && load.direction() == m.load.direction();
    });
    if (!known) loads.push_back(m.load);
  }
  return loads;
}

double estimate(const Options& options) {
  double sum = 0;
  for (const Machine& machine : make_plan(options))
    sum += 14 + machine.memory_mb / 400.0 +
           (options.seconds + 1.2) * static_cast<double>(machine.measurements.size() + loads_of(machine).size());
  return sum * options.rounds;
}

class Bench {
 public:
  Bench(const Options& options, Results results) : options_(options), results_(std::move(results)) {}

  int run() {
    for (int round = 1; round <= options_.rounds; ++round)
      for (const Machine& machine : make_plan(options_)) {
        if (interrupted) break;
        fmt::print(stderr, "round {} of {}: a guest of {} MB\n", round, options_.rounds, machine.memory_mb);
        if (const Status done = measure_machine(machine, round); !done && !interrupted) {
          ++failures_;
          fmt::print(stderr, "price bench, {} MB: FAILED: {}\n", machine.memory_mb, done.error().message);
        }
      }
    print();
    if (const Status written = results_.status(); !written) {
      fmt::print(stderr, "price bench: {}\n", written.error().message);
      return 1;
    }
    return interrupted ? 130 : failures_ > 0 ? 1 : 0;
  }

 private:
  Status measure_machine(const Machine& machine, int round) {
    demo::ClusterOptions options;
    options.prefix = fmt::format("us-{}-price", ::getpid());
    options.program = US_PROGRAM;
    options.guest_dir = US_GUEST_DIR;
    options.memory = fmt::format("{}M", machine.memory_mb);
    options.detection = "2s";  // what is measured is not to end because a processor was busy
    options.wire = symmetric_wire({.bits_per_second = static_cast<uint64_t>(options_.mbit) * 1'000'000});
    options.interrupted = &interrupted;
    US_ASSIGN(const auto cluster, demo::Cluster::create(options));
    US_TRY(cluster->start_primary(0));
    US_TRY(cluster->wait_guest(kBoot));
    for (const Load& load : loads_of(machine)) US_TRY(measure(*cluster, machine, {load, 0}, round));
    const Instant begin = clock_now();
    US_TRY(cluster->start_standby(1));
    US_TRY(cluster->wait_protected(0, kBoot));
    Key key = key_of(machine, {kIdle, 25}, round);
    note(key, {"time-to-protect", (clock_now() - begin).to_seconds(), "s"});
    for (const Measurement& m : machine.measurements) {
      US_TRY(set_epoch(*cluster, m.epoch_ms));
      US_TRY(measure(*cluster, machine, m, round));
    }
    return {};
  }

  Status set_epoch(demo::Cluster& cluster, int epoch_ms) {
    const std::string runtime = (cluster.log_file(0).parent_path() / "runtime").string();
    US_TRY(control_request(control_path(runtime, demo::kVmName),
                           {{"command", "set"}, {"assignment", fmt::format("epoch.length={}ms", epoch_ms)}}));
    return {};
  }

  Key key_of(const Machine& machine, const Measurement& m, int round) const {
    return {.scenario = "price",
            .params = fmt::format("memory={}M;load={}", machine.memory_mb, m.load.text()),
            .mode = m.epoch_ms == 0 ? "unprotected" : "accelerated",
            .epoch = m.epoch_ms == 0 ? "" : std::to_string(m.epoch_ms),
            .direction = m.load.direction(),
            .mtu = 1500,
            .cc = "cubic",
            .round = round};
  }

  Status measure(demo::Cluster& cluster, const Machine& machine, const Measurement& m, int round) {
    const Key key = key_of(machine, m, round);
    std::optional<DirtyClient> writer;
    if (m.load.kind == Load::Kind::kDirty) {
      US_ASSIGN(DirtyClient started, DirtyClient::start(cluster.lab().client(), m.load.rate, kDirtySpanMb));
      writer.emplace(std::move(started));
    }
    US_TRY(cluster.sleep(Duration::millis(static_cast<int64_t>(kSettleSeconds * 1000))));
    US_ASSIGN(const Window window, Window::begin(cluster));
    double guest_bytes = 0;
    if (m.load.kind == Load::Kind::kToClient || m.load.kind == Load::Kind::kToGuest) {
      const Client client{cluster.lab().client(), demo::kGuestAddress, "cubic", interrupted};
      const demo::Lab& lab = cluster.lab();
      if (m.load.on_cable) US_TRY(lab.connect_client(demo::Lab::ClientLine::kCable));
      const auto rated = measure_bulk(client, m.load.kind == Load::Kind::kToClient, 1, 1, options_.seconds - 1);
      if (m.load.on_cable) US_TRY(lab.connect_client(demo::Lab::ClientLine::kWire));
      US_ASSIGN(const double rate, rated);
      guest_bytes = rate / 8 * options_.seconds;
      note(key, {"throughput", rate / 1e6, "Mbit/s"});
    } else {
      US_TRY(cluster.sleep(Duration::millis(static_cast<int64_t>(options_.seconds * 1000))));
    }
    US_ASSIGN(const Window::Spent spent, window.end(cluster, m.load.kind == Load::Kind::kIdle));
    for (const Figure& figure : spent.figures) note(key, figure);
    if (guest_bytes > 0 && m.epoch_ms != 0)
      note(key, {"replicated-per-byte", spent.replicated_bytes / guest_bytes, "1"});
    for (const double ms : spent.pauses_ms) results_.sample(key, "pause", ms, "ms");
    for (const double ms : spent.commits_ms) results_.sample(key, "commit", ms, "ms");
    if (writer) US_TRY(writer->finish());
    return {};
  }

  void note(const Key& key, const Figure& figure) {
    results_.row(key, figure.name, figure.value, figure.unit);
    const std::string where = fmt::format("{} {} {}{}", key.params, key.direction, key.mode,
                                          key.epoch.empty() ? "" : " " + key.epoch + " ms");
    if (!values_.contains(where)) order_.push_back(where);
    values_[where][figure.name + " " + figure.unit].push_back(figure.value);
  }

  void print() const {
    for (const std::string& where : order_) {
      fmt::print("\n{}\n", where);
      for (const auto& [what, list] : values_.at(where))
        fmt::print("  {:<28} {:12.2f}\n", what, nearest_rank(list, 0.5));
    }
  }

  const Options options_;
  Results results_;
  int failures_ = 0;
  std::vector<std::string> order_;
  std::map<std::string, std::map<std::string, std::vector<double>>> values_;
};

int run(const Options& options) {
  Results results = Results::nowhere();
  if (!options.directory.empty()) {
    auto opened = Results::open(options.directory, options.step);
    if (!opened) {
      fmt::print(stderr, "price bench: {}\n", opened.error().message);
      return 2;
    }
    results = std::move(*opened);
  }
  return Bench(options, std::move(results)).run();
}

}  // namespace
}  // namespace us::bench

int main(int argc, char** argv) {
  CLI::App app{"The price of protection: pauses, commits, replication, processors, memory, the guest's clock."};
  us::bench::Options options;
  bool estimate = false;
  app.add_option("--rounds", options.rounds, "how often everything is measured")->check(CLI::Range(1, 1000));
  app.add_flag("--quick", options.quick, "one round of the most telling part");
  app.add_option("--seconds", options.seconds, "of each measurement")->capture_default_str()->check(CLI::Range(3, 600));
  app.add_option("--memory", options.memory_mb, "only guests of this size, in MB; may be repeated")
      ->check(CLI::Range(128, 65536));
  app.add_option("--mbit", options.mbit, "rate of the wire")->capture_default_str()->check(CLI::Range(1, 10'000));
  app.add_option("--results", options.directory, "write raw data there (docs/evaluation-data.md)");
  app.add_option("--step", options.step, "name of its files")->capture_default_str();
  app.add_flag("--estimate", estimate, "print the seconds that it will take");
  CLI11_PARSE(app, argc, argv);
  if (options.quick && app.count("--rounds") == 0) options.rounds = 1;
  if (options.quick && app.count("--seconds") == 0) options.seconds = 3;
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
