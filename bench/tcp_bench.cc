// What epochs cost TCP and what each optimization gives back: every mode beside `unprotected` and `stock` in one run.
// `./do bench tcp [--quick] [--scenario NAME] …`; docs/benchmarks.md says what the figures mean.  Needs root and the
// guest.
#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <map>

#include "os/clock.h"
#include "tcp/figures.h"
#include "tcp/measure.h"
#include "tcp/plan.h"
#include "tcp/systems.h"

namespace us::bench {
namespace {

std::atomic<bool> interrupted = false;

void on_signal(int) { interrupted = true; }

// Time left, from how the steps so far compare with what they were expected to take.
class Progress {
 public:
  explicit Progress(double expected_s) : expected_s_(expected_s) {}
  void done(double expected_s) { done_s_ += expected_s; }
  void say(const std::string& text) const {
    const double elapsed = (clock_now() - begin_).to_seconds();
    const double pace = done_s_ > 0 ? elapsed / done_s_ : 1.2;
    fmt::print(stderr, "[{:3.0f} %, {:3.0f} min left] {}\n", 100 * done_s_ / expected_s_,
               (expected_s_ - done_s_) * pace / 60, text);
  }

 private:
  const Instant begin_ = clock_now();
  const double expected_s_;
  double done_s_ = 0;
};

struct Run {
  const Options& options;
  std::vector<Step> plan;
  Progress progress;
  Systems systems;
  Figures figures;
  int failures = 0;

  Run(const Options& chosen, std::vector<Step> steps)
      : options(chosen),
        plan(std::move(steps)),
        progress(expected()),
        systems(chosen, interrupted, [this](const std::string& text) { progress.say(text); }) {}

  double expected() const {
    double sum = 0;
    for (const Step& step : plan)
      for (const Setting& setting : step.settings) sum += estimated_seconds(step.load, setting);
    return sum * options.rounds;
  }

  Result<std::vector<Quantity>> measure_one(const Load& load, const Setting& setting, uint64_t seed) {
    US_TRY(systems.prepare(load, setting, seed));
    return measure(systems, load, options, interrupted);
  }

  void step(int round, const Step& step) {
    std::vector<Quantity> unprotected;
    for (const Setting& setting : step.settings) {
      if (interrupted) return;
      const auto measured = measure_one(step.load, setting, static_cast<uint64_t>(round) + 1);
      if (interrupted) return;
      progress.done(estimated_seconds(step.load, setting));
      const std::string what = fmt::format("round {}: {}, {}{}", round + 1, describe(step.load), setting.mode,
                                           is_protected(setting) ? fmt::format(" {} ms", setting.epoch_ms) : "");
      if (!measured) {
        ++failures;
        progress.say(fmt::format("{}: FAILED: {}", what, measured.error().message));
        continue;
      }
      if (setting.mode == "unprotected") unprotected = *measured;
      figures.add(step.load, setting, *measured, unprotected);
      std::string text;
      for (const Quantity& q : *measured)
        text += fmt::format("  {}{:.2f} {}", q.name.empty() ? "" : q.name.substr(1) + " ", q.value, q.unit);
      progress.say(what + ":" + text);
    }
  }

  Status write_json() const {
    if (options.json_file.empty()) return {};
    std::ofstream out(options.json_file);
    out << figures.records(options.cc).dump(1) << "\n";
    out.close();
    if (!out) return fail(ErrorKind::kSystem, "cannot write " + options.json_file);
    return {};
  }
};

int run(const Options& options) {
  auto plan = make_plan(options);
  if (!plan) {
    fmt::print(stderr, "tcp bench: {}\n", plan.error().message);
    return 2;
  }
  Run run(options, std::move(*plan));
  run.progress.say(fmt::format("{} loads, {} rounds", run.plan.size(), options.rounds));
  for (int round = 0; round < options.rounds && !interrupted; ++round) {
    for (const Step& step : run.plan) run.step(round, step);
    if (const Status written = run.write_json(); !written) {
      fmt::print(stderr, "tcp bench: {}\n", written.error().message);
      return 1;
    }
  }
  fmt::print(
      "Median of the rounds; in parentheses the ratio to unprotected of the same round; wire {} Mbit/s, queue {} "
      "packets, MTU 1500, client {}.\n{}",
      options.mbit, options.queue_packets, options.cc, run.figures.table());
  const std::string goals = run.figures.goals();
  if (!goals.empty()) fmt::print("\nGoals of accelerated:\n{}", goals);
  if (run.failures > 0) fmt::print(stderr, "tcp bench: {} measurements failed, see above\n", run.failures);
  if (interrupted) fmt::print(stderr, "tcp bench: interrupted; the figures are those until then\n");
  return interrupted ? 130 : run.failures > 0 ? 1 : 0;
}

}  // namespace
}  // namespace us::bench

int main(int argc, char** argv) {
  CLI::App app{
      "What epochs cost TCP and what each optimization gives back.\n\n"
      "Every round measures `unprotected` (the same data path without epochs) beside the modes; ratios are within a "
      "round."};
  us::bench::Options options;
  options.program = US_PROGRAM;
  options.guest_dir = US_GUEST_DIR;
  app.add_option("--rounds", options.rounds, "how often everything is measured")->check(CLI::Range(1, 1000));
  app.add_flag("--quick", options.quick, "one round of the most telling part, in less than five minutes");
  app.add_option("--scenario", options.scenarios, "only these")->check(CLI::IsMember(us::bench::scenario_names()));
  app.add_option("--mode", options.modes, "only these (unprotected is always measured)")
      ->check(CLI::IsMember(us::bench::mode_names()));
  app.add_option("--epoch", options.epochs_ms, "only these lengths, in ms")->check(CLI::Range(1, 1000));
  app.add_option("--rtt", options.rtts_ms, "only these round trips, in ms")->check(CLI::IsMember({0, 20, 80}));
  app.add_option("--mbit", options.mbit, "rate of the wire")->capture_default_str()->check(CLI::Range(1, 10'000));
  app.add_option("--queue", options.queue_packets, "of the wire, in packets")
      ->capture_default_str()
      ->check(CLI::Range(1, 100'000));
  app.add_option("--cc", options.cc, "congestion control of the client")->capture_default_str();
  app.add_option("--json", options.json_file, "write one record per figure to this file");
  app.add_flag("--keep", options.keep_files, "keep the daemons' logs");
  CLI11_PARSE(app, argc, argv);
  if (options.quick && app.count("--rounds") == 0) options.rounds = 1;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  struct sigaction action {};
  action.sa_handler = us::bench::on_signal;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  return us::bench::run(options);
}
