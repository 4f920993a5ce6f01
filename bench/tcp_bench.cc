// What epochs cost TCP and what each optimization gives back: every mode beside `unprotected` and `stock` in one run.
// `./do bench tcp [--quick] [--scenario NAME] …`; docs/benchmarks.md says what the figures mean.  Needs root and the
// guest.
#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>

#include "common/results.h"
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

std::string in_words(const Load& load, const Setting& setting, int round) {
  std::string text = fmt::format("round {}: {}, {}", round, describe(load), setting.mode);
  if (setting.epoch == "adaptive") return text + " adaptive";
  return is_protected(setting) ? text + fmt::format(" {} ms", setting.epoch) : text;
}

struct Run {
  const Options& options;
  std::vector<Step> plan;
  Results results;
  Progress progress;
  Systems systems;
  Figures figures;
  int failures = 0;

  Run(const Options& chosen, std::vector<Step> steps, Results into)
      : options(chosen),
        plan(std::move(steps)),
        results(std::move(into)),
        progress(estimated_seconds(plan, chosen.rounds)),
        systems(chosen, interrupted, [this](const std::string& text) { progress.say(text); }) {}

  Status start() {
    std::vector<Setting> all;
    for (const Step& step : plan) all.insert(all.end(), step.settings.begin(), step.settings.end());
    return systems.start(all);
  }

  Result<Measured> measure_once(const Load& load, const Setting& setting, int round) {
    US_TRY(systems.prepare(load, setting, static_cast<uint64_t>(round)));
    return measure(systems, timed_for(load, setting));
  }

  // A second time if something went wrong: the machine was too slow for a moment, or a daemon has ended.
  Result<Measured> measure_one(const Load& load, const Setting& setting, int round) {
    auto measured = measure_once(load, setting, round);
    if (measured || interrupted) return measured;
    progress.say(fmt::format("{}: once more: {}", in_words(load, setting, round), measured.error().message));
    return measure_once(load, setting, round);
  }

  void keep(const Load& load, const Setting& setting, int round, const Measured& measured) {
    const Key key = key_of(load, setting, round);
    for (const Quantity& quantity : measured.quantities)
      results.row(key, quantity.metric, quantity.value, quantity.unit);
    for (const SampleSet& set : measured.samples) results.samples(key, set.metric, set.values, set.unit);
  }

  void step(int round, const Step& step) {
    std::vector<Quantity> unprotected;
    for (const Setting& setting : step.settings) {
      if (interrupted) return;
      const auto measured = measure_one(step.load, setting, round);
      if (interrupted) return;
      progress.done(estimated_seconds(step.load, setting));
      const std::string what = in_words(step.load, setting, round);
      if (!measured) {
        ++failures;
        progress.say(fmt::format("{}: FAILED: {}", what, measured.error().message));
        continue;
      }
      if (setting.mode == "unprotected") unprotected = measured->quantities;
      keep(step.load, setting, round, *measured);
      figures.add(step.load, setting, measured->quantities, unprotected);
      std::string text;
      for (const Quantity& q : measured->quantities) text += fmt::format("  {} {:.2f} {}", q.metric, q.value, q.unit);
      progress.say(what + ":" + text);
    }
  }
};

int run(const Options& options, bool only_estimate) {
  auto plan = make_plan(options);
  if (!plan) {
    fmt::print(stderr, "tcp bench: {}\n", plan.error().message);
    return 2;
  }
  if (only_estimate) {
    fmt::print("{:.0f}\n", estimated_seconds(*plan, options.rounds));
    return 0;
  }
  auto results = options.results.empty() ? Results::nowhere() : Results::open(options.results, options.step);
  if (!results) {
    fmt::print(stderr, "tcp bench: {}\n", results.error().message);
    return 1;
  }
  Run run(options, std::move(*plan), std::move(*results));
  run.progress.say(fmt::format("{} loads, {} rounds", run.plan.size(), options.rounds));
  if (const Status started = run.start(); !started) {
    fmt::print(stderr, "tcp bench: {}\n", started.error().message);
    return interrupted ? 130 : 1;
  }
  for (int round = 1; round <= options.rounds && !interrupted; ++round)
    for (const Step& step : run.plan) run.step(round, step);
  fmt::print(
      "Median of the rounds; in parentheses the ratio to unprotected of the same round; wire {} Mbit/s, queue {} "
      "packets, MTU {}, client {}.\n{}",
      options.mbit, options.queue_packets, options.mtu, options.cc, run.figures.table());
  const std::string goals = run.figures.goals();
  if (!goals.empty()) fmt::print("\nGoals of accelerated:\n{}", goals);
  if (run.failures > 0) fmt::print(stderr, "tcp bench: {} measurements failed, see above\n", run.failures);
  if (const Status written = run.results.status(); !written) {
    fmt::print(stderr, "tcp bench: {}\n", written.error().message);
    ++run.failures;
  }
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
  bool only_estimate = false;
  const auto names = [](const std::vector<std::string>& list) { return CLI::IsMember(list); };
  app.add_option("--rounds", options.rounds, "how often everything is measured")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  app.add_flag("--quick", options.quick, "measure for half the time, and for one round unless --rounds is given");
  app.add_option("--scenario", options.scenarios, "only these")->check(names(us::bench::scenario_names()));
  app.add_option("--settings", options.slice, "which modes and epoch lengths")->check(names(us::bench::slice_names()));
  app.add_option("--mode", options.modes, "only these (unprotected is always measured)")
      ->check(names(us::bench::mode_names()));
  app.add_option("--epoch", options.epochs, "only these")->check(names({"10", "25", "50", "100", "adaptive"}));
  app.add_option("--direction", options.directions, "only these")
      ->check(names({"guest-to-client", "client-to-guest", "both"}));
  app.add_option("--rtt", options.rtts_ms, "only these round trips, in ms")->check(CLI::IsMember({0, 20, 80}));
  app.add_option("--loss", options.losses, "only these, 0 to 1")->check(CLI::IsMember({0.0, 0.001, 0.01}));
  app.add_option("--mbit", options.mbit, "rate of the wire")->capture_default_str()->check(CLI::Range(1, 10'000));
  app.add_option("--queue", options.queue_packets, "of the wire, in packets of 1500 bytes")
      ->capture_default_str()
      ->check(CLI::Range(1, 100'000));
  app.add_option("--mtu", options.mtu, "of client and guest")->capture_default_str()->check(CLI::Range(576, 9000));
  app.add_option("--cc", options.cc, "congestion control of the client")->capture_default_str();
  app.add_option("--results", options.results, "write the raw data into this directory (docs/evaluation-data.md)");
  app.add_option("--step", options.step, "what its files are called")->capture_default_str();
  app.add_flag("--estimate", only_estimate, "print how many seconds it will take, and do nothing");
  app.add_flag("--keep", options.keep_files, "keep the daemons' logs");
  CLI11_PARSE(app, argc, argv);
  if (options.quick && app.count("--rounds") == 0) options.rounds = 1;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  struct sigaction action {};
  action.sa_handler = us::bench::on_signal;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  return us::bench::run(options, only_estimate);
}
