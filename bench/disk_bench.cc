// What a replicated disk costs: the same loads on QEMU's own driver, on our NBD server, and protected, in one run.
// `./do bench disk [--quick] …`; docs/benchmarks.md says what the figures mean.  Needs root and the guest with its
// disk.
#include <fmt/format.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cstdio>

#include "common/results.h"
#include "disk/figures.h"
#include "disk/load.h"
#include "disk/systems.h"
#include "os/clock.h"

namespace us::bench {
namespace {

std::atomic<bool> interrupted = false;

void on_signal(int) { interrupted = true; }

constexpr double kStartSeconds = 20;    // of one machine, with its synchronisation and fio's file
constexpr double kAroundSeconds = 3.5;  // of one measurement, beside the load

std::vector<std::string> chosen_modes(const DiskOptions& options) {
  std::vector<std::string> out;
  for (const std::string& mode : disk_modes())
    if (mode == "stock" || options.modes.empty() || std::ranges::count(options.modes, mode) > 0) out.push_back(mode);
  return out;
}

std::vector<DiskLoad> chosen_loads(const DiskOptions& options) {
  std::vector<DiskLoad> out;
  for (DiskLoad& load : disk_loads(options.seconds))
    if (options.loads.empty() || std::ranges::count(options.loads, load.name) > 0) out.push_back(std::move(load));
  return out;
}

double expected_seconds(const DiskOptions& options) {
  const auto modes = static_cast<double>(chosen_modes(options).size());
  const auto loads = static_cast<double>(chosen_loads(options).size());
  return modes * (kStartSeconds + options.rounds * loads * (options.seconds + kAroundSeconds));
}

struct Measured {
  std::vector<DiskQuantity> quantities;
  double paused = 0;  // share of the time
};

class Run {
 public:
  Run(const DiskOptions& options, Results results)
      : options_(options),
        results_(std::move(results)),
        systems_(options, interrupted, [this](const std::string& text) { say(text); }) {}

  int run() {
    const auto modes = chosen_modes(options_);
    say(fmt::format("{:.0f} min to come", expected_seconds(options_) / 60));
    if (const Status started = systems_.start(modes); !started) {
      fmt::print(stderr, "disk bench: {}\n", started.error().message);
      return interrupted ? 130 : 1;
    }
    for (int round = 1; round <= options_.rounds; ++round)
      for (const DiskLoad& load : chosen_loads(options_))
        for (const std::string& mode : modes)
          if (!interrupted) one(round, load, mode);
    return finish();
  }

 private:
  void say(const std::string& text) const {
    fmt::print(stderr, "[{:4.0f} s] {}\n", (clock_now() - begin_).to_seconds(), text);
  }

  Result<Measured> measure(const DiskLoad& load, const std::string& mode) {
    US_TRY(systems_.prepare(mode));
    US_ASSIGN(const double before, systems_.paused_ms());
    const Instant begin = clock_now();
    US_ASSIGN(const std::string report, systems_.run(load.commands));
    const double elapsed = (clock_now() - begin).to_millis_f();
    US_ASSIGN(const double after, systems_.paused_ms());
    US_TRY(systems_.check());
    Measured out;
    US_ASSIGN(out.quantities, read_disk_report(load, report));
    out.paused = (after - before) / elapsed;
    return out;
  }

  void one(int round, const DiskLoad& load, const std::string& mode) {
    const auto measured = measure(load, mode);
    if (interrupted) return;
    const std::string what = fmt::format("round {}: {}, {}", round, load.name, mode);
    if (!measured) {
      ++failures_;
      say(fmt::format("{}: FAILED: {}", what, measured.error().message));
      return;
    }
    figures_.add(load.name, mode, round, measured->quantities, measured->paused);
    std::string text;
    for (const DiskQuantity& q : measured->quantities) {
      record(round, load, mode, q.metric, q.value, q.unit);
      if (q.is_rate) record(round, load, mode, q.metric + "-wall", wall_rate(q.value, measured->paused), q.unit);
      text += fmt::format("  {} {:.2f} {}", q.metric, q.value, q.unit);
    }
    if (is_protected_mode(mode)) {
      record(round, load, mode, "paused", 100 * measured->paused, "%");
      text += fmt::format("  paused {:.1f} %", 100 * measured->paused);
    }
    say(what + ":" + text);
  }

  void record(int round, const DiskLoad& load, const std::string& mode, const std::string& metric, double value,
              const std::string& unit) {
    Key key;
    key.scenario = "disk-" + load.name;
    key.params = "cache=" + options_.cache;
    key.mode = mode;
    key.round = round;
    std::string length = options_.epoch;
    if (length.ends_with("ms")) length.resize(length.size() - 2);
    if (is_protected_mode(mode)) key.epoch = length;
    results_.row(key, metric, value, unit);
  }

  int finish() {
    fmt::print(
        "Median of {} rounds; rates in the guest's time, which stands still in a pause, and as share of stock of "
        "the same round;\n\"by the wall\" counts the pauses in. Epochs of {}, cache {}.\n\n{}",
        options_.rounds, options_.epoch, options_.cache, figures_.table());
    if (const std::string goals = figures_.goals(); !goals.empty()) fmt::print("\nGoals of replicated:\n{}", goals);
    if (const Status written = results_.status(); !written) {
      fmt::print(stderr, "disk bench: {}\n", written.error().message);
      return 1;
    }
    if (failures_ > 0) fmt::print(stderr, "disk bench: {} measurements failed, see above\n", failures_);
    return interrupted ? 130 : failures_ > 0 ? 1 : 0;
  }

  const Instant begin_ = clock_now();
  const DiskOptions& options_;
  Results results_;
  DiskSystems systems_;
  DiskFigures figures_;
  int failures_ = 0;
};

std::vector<std::string> load_names() {
  std::vector<std::string> out;
  for (const DiskLoad& load : disk_loads(1)) out.push_back(load.name);
  return out;
}

}  // namespace
}  // namespace us::bench

int main(int argc, char** argv) {
  using namespace us::bench;
  CLI::App app{"What a replicated disk costs, compared with QEMU's own driver in the same round."};
  DiskOptions options;
  options.program = US_PROGRAM;
  options.guest_dir = US_GUEST_DIR;
  options.disk_image = US_DISK_IMAGE;
  bool quick = false, estimate = false;
  std::string directory, step = "disk";
  app.add_option("--rounds", options.rounds, "how often everything is measured")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  app.add_option("--seconds", options.seconds, "of each measurement")->capture_default_str()->check(CLI::Range(1, 20));
  app.add_flag("--quick", quick, "one round of short measurements");
  app.add_option("--mode", options.modes, "only these (stock is always measured)")->check(CLI::IsMember(disk_modes()));
  app.add_option("--load", options.loads, "only these")->check(CLI::IsMember(load_names()));
  app.add_option("--epoch", options.epoch, "length of an epoch")->capture_default_str();
  app.add_option("--cache", options.cache, "of the image, as in the VM file")
      ->capture_default_str()
      ->check(CLI::IsMember({"writeback", "none"}));
  app.add_option("--results", directory, "write every measurement there (docs/evaluation-data.md)");
  app.add_option("--step", step, "name of the files in it")->capture_default_str();
  app.add_flag("--estimate", estimate, "print how many seconds it will take, and do nothing");
  app.add_flag("--keep", options.keep_files, "keep the daemons' logs and images");
  CLI11_PARSE(app, argc, argv);
  if (quick && app.count("--rounds") == 0) options.rounds = 1;
  if (quick && app.count("--seconds") == 0) options.seconds = 4;
  if (estimate) {
    fmt::print("{:.0f}\n", expected_seconds(options));
    return 0;
  }
  auto results = directory.empty() ? us::Result<Results>(Results::nowhere()) : Results::open(directory, step);
  if (!results) {
    fmt::print(stderr, "disk bench: {}\n", results.error().message);
    return 2;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  struct sigaction action {};
  action.sa_handler = on_signal;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  return Run(options, std::move(*results)).run();
}
