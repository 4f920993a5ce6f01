// The silence that clients meet at a takeover, and what it consists of.  `./do bench micro takeover [--quick] [--kills
// N]`; docs/benchmarks.md says what the figures mean.  Needs root and the guest.
#include <fmt/format.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <map>

#include "common/results.h"
#include "os/clock.h"
#include "takeover/scene.h"

namespace us::bench {
namespace {

std::atomic<bool> interrupted = false;
void on_signal(int) { interrupted = true; }

struct Options {
  int kills = 50;
  bool quick = false;
  std::string load, fault;
  int epoch_ms = 0;
  std::string directory, step = "takeover";
  uint64_t seed = 1;
  bool keep = false;
};

struct Series {
  bool loaded;
  Fault fault;
  int epoch_ms;
  int kills;

  std::string params() const {
    return fmt::format("fault={};load={}", fault == Fault::kKill ? "kill" : "cut-network", loaded ? "loaded" : "idle");
  }
};

constexpr double kSecondsPerKill = 5, kSecondsPerCut = 7, kSecondsToStart = 15;
// How many takeovers are written as series: the received bytes and the daemon's instants.
constexpr int kSeriesOf = 5;
constexpr Duration kSeriesBefore = Duration::millis(300), kSeriesStep = Duration::millis(1);
constexpr size_t kSeriesSteps = 1000;

std::vector<Series> make_plan(const Options& options) {
  const int some = options.quick ? 2 : std::max(3, options.kills / 6);
  std::vector<Series> all = {{false, Fault::kKill, 25, options.kills}, {true, Fault::kKill, 25, options.kills}};
  if (!options.quick || options.epoch_ms != 0)
    for (const int epoch_ms : {10, 100}) all.push_back({true, Fault::kKill, epoch_ms, some});
  if (!options.quick || !options.fault.empty()) all.push_back({true, Fault::kCutNetwork, 25, some});
  std::erase_if(all, [&](const Series& series) {
    if (!options.load.empty() && series.loaded != (options.load == "loaded")) return true;
    if (!options.fault.empty() && (series.fault == Fault::kKill) != (options.fault == "kill")) return true;
    return options.epoch_ms != 0 && series.epoch_ms != options.epoch_ms;
  });
  return all;
}

double seconds_of(const Series& series) {
  return kSecondsToStart + series.kills * (series.fault == Fault::kKill ? kSecondsPerKill : kSecondsPerCut);
}

double seconds_of(const std::vector<Series>& plan) {
  double sum = 0;
  for (const Series& series : plan) sum += seconds_of(series);
  return sum;
}

// When each phase of a takeover ends; the first begins whenever the silence does.
std::vector<std::pair<const char*, Instant>> phases_of(const Takeover& takeover) {
  const DaemonTimes& at = takeover.daemon;
  const Instant ready = std::max(at.announced, at.resumed);
  return {{"quiet-before", takeover.struck}, {"detection", at.decided}, {"arbitration", at.granted},
          {"restore", at.restored},          {"announcement", ready},   {"first-byte", Instant::far_future()}};
}

// The ping client's stall, cut at the ends of the phases: what of it fell into each.  Their sum is the stall.
Parts parts_of(const Takeover& takeover) { return cut_at(takeover.seen.front().longest, phases_of(takeover)); }

// How long each phase took, whatever a client saw of it.
Parts lengths_of_phases(const Takeover& takeover) {
  Parts out;
  Instant begin = takeover.struck;
  for (const auto& [name, end] : phases_of(takeover)) {
    if (end > takeover.struck && end != Instant::far_future()) out.emplace_back(name, end - begin);
    begin = end;
  }
  return out;
}

void write_series(Results& results, const Key& base, const Takeover& takeover) {
  const Instant begin = takeover.struck - kSeriesBefore;
  for (const Seen& seen : takeover.seen) {
    Key key = base;
    key.params += ";client=" + seen.client;
    const auto bytes = bytes_per_step(seen.arrivals, begin, kSeriesStep, kSeriesSteps);
    for (size_t i = 0; i < bytes.size(); ++i)
      results.point(key, "received", static_cast<double>(i) - kSeriesBefore.to_millis_f(),
                    static_cast<double>(bytes[i]), "bytes");
  }
  const DaemonTimes& at = takeover.daemon;
  for (const auto& [name, instant] : {std::pair{"last-heard", at.last_heard},
                                      {"decided", at.decided},
                                      {"granted", at.granted},
                                      {"restored", at.restored},
                                      {"announced", at.announced},
                                      {"resumed", at.resumed}})
    results.point(base, std::string("at-") + name, (instant - takeover.struck).to_millis_f(), 1, "event");
}

void write_rows(Results& results, const Key& base, const Takeover& takeover) {
  for (const Seen& seen : takeover.seen) {
    Key key = base;
    key.params += ";client=" + seen.client;
    results.row(key, "stall", seen.longest.length().to_millis_f(), "ms");
  }
  Key key = base;
  key.params += ";client=ping";
  for (const auto& [name, length] : parts_of(takeover)) results.row(key, name, length.to_millis_f(), "ms");
  for (const auto& [name, length] : lengths_of_phases(takeover))
    results.row(key, std::string("phase-") + name, length.to_millis_f(), "ms");
}

double quantile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1) + 0.5)];
}

class Summary {
 public:
  void add(const Takeover& takeover) {
    for (const Seen& seen : takeover.seen) note("stall of " + seen.client, seen.longest.length());
    for (const auto& [name, length] : parts_of(takeover)) note(std::string("  of ping's: ") + name, length);
    for (const auto& [name, length] : lengths_of_phases(takeover)) note(std::string("phase: ") + name, length);
  }
  std::string text(const Series& series) const {
    std::string out = fmt::format("\n{}, epochs of {} ms: {} takeovers\n", series.params(), series.epoch_ms,
                                  values_.empty() ? 0 : values_.begin()->second.size());
    for (const std::string& name : order_) {
      const auto& list = values_.at(name);
      out += fmt::format("  {:<24} median {:7.1f}   90 % {:7.1f}   least {:7.1f}   greatest {:7.1f} ms\n", name,
                         quantile(list, 0.5), quantile(list, 0.9), quantile(list, 0), quantile(list, 1));
    }
    return out;
  }

 private:
  void note(const std::string& name, Duration length) {
    if (!values_.contains(name)) order_.push_back(name);
    values_[name].push_back(length.to_millis_f());
  }
  std::vector<std::string> order_;
  std::map<std::string, std::vector<double>> values_;
};

class Bench {
 public:
  Bench(const Options& options, Results results)
      : options_(options), plan_(make_plan(options)), results_(std::move(results)), left_s_(seconds_of(plan_)) {}

  int run() {
    for (const Series& series : plan_) {
      if (interrupted) break;
      run_series(series);
    }
    if (const Status written = results_.status(); !written) {
      fmt::print(stderr, "takeover bench: {}\n", written.error().message);
      return 1;
    }
    return interrupted ? 130 : failures_ > 0 ? 1 : 0;
  }

 private:
  void say(const std::string& text) const { fmt::print(stderr, "[{:3.0f} min left] {}\n", left_s_ / 60, text); }

  void failed(const Series& series, const std::string& why) {
    if (interrupted) return;
    ++failures_;
    say(fmt::format("{}: FAILED: {}", series.params(), why));
  }

  // A scene that has failed is left, and the rest of the kills is done in another.
  void run_series(const Series& series) {
    Summary summary;
    const double end_s = left_s_ - seconds_of(series);
    int done = 0;
    for (int scenes = 0; done < series.kills && scenes < 3 && !interrupted; ++scenes) {
      const auto scene = Scene::start({.program = US_PROGRAM,
                                       .guest_dir = US_GUEST_DIR,
                                       .loaded = series.loaded,
                                       .fault = series.fault,
                                       .epoch_ms = series.epoch_ms,
                                       .seed = options_.seed + static_cast<uint64_t>(scenes),
                                       .interrupted = interrupted});
      if (!scene) {
        failed(series, scene.error().message);
        continue;
      }
      if (options_.keep) (*scene)->keep_files();
      if (const Status ended = kill_again_and_again(**scene, series, done, summary); !ended)
        failed(series, ended.error().message);
    }
    left_s_ = end_s;
    if (done > 0) fmt::print("{}", summary.text(series));
  }

  Status kill_again_and_again(Scene& scene, const Series& series, int& done, Summary& summary) {
    while (done < series.kills) {
      US_ASSIGN(const Takeover takeover, scene.take_over());
      ++done;
      const Key key{.scenario = "takeover",
                    .params = series.params(),
                    .mode = "accelerated",
                    .epoch = std::to_string(series.epoch_ms),
                    .mtu = 1500,
                    .cc = "cubic",
                    .round = done};
      write_rows(results_, key, takeover);
      if (done <= kSeriesOf) write_series(results_, key, takeover);
      summary.add(takeover);
      left_s_ -= series.fault == Fault::kKill ? kSecondsPerKill : kSecondsPerCut;
      std::string text;
      for (const auto& [name, length] : parts_of(takeover))
        text += fmt::format("  {} {:.1f}", name, length.to_millis_f());
      say(fmt::format("{}, {} ms, {} of {}: stall {:.0f} ms:{}", series.params(), series.epoch_ms, done, series.kills,
                      takeover.seen.front().longest.length().to_millis_f(), text));
      if (done < series.kills) US_TRY(scene.protect_again());
    }
    return scene.finish();
  }

  const Options options_;
  const std::vector<Series> plan_;
  Results results_;
  double left_s_;
  int failures_ = 0;
};

int run(const Options& options) {
  Results results = Results::nowhere();
  if (!options.directory.empty()) {
    auto opened = Results::open(options.directory, options.step);
    if (!opened) {
      fmt::print(stderr, "takeover bench: {}\n", opened.error().message);
      return 2;
    }
    results = std::move(*opened);
  }
  return Bench(options, std::move(results)).run();
}

}  // namespace
}  // namespace us::bench

int main(int argc, char** argv) {
  CLI::App app{"The silence that clients meet at a takeover, and what it consists of."};
  us::bench::Options options;
  bool estimate = false;
  app.add_option("--kills,--rounds", options.kills, "takeovers, idle and loaded each; a sixth for what else there is")
      ->check(CLI::Range(1, 10'000));
  app.add_flag("--quick", options.quick, "3 takeovers each, without the less important");
  app.add_option("--load", options.load, "only this")->check(CLI::IsMember({"idle", "loaded"}));
  app.add_option("--fault", options.fault, "only this")->check(CLI::IsMember({"kill", "cut-network"}));
  app.add_option("--epoch", options.epoch_ms, "only this length")->check(CLI::IsMember({10, 25, 100}));
  app.add_option("--seed", options.seed, "of the moments of death")->capture_default_str();
  app.add_option("--results", options.directory, "write raw data there (docs/evaluation-data.md)");
  app.add_option("--step", options.step, "name of its files")->capture_default_str();
  app.add_flag("--keep", options.keep, "keep the daemons' logs");
  app.add_flag("--estimate", estimate, "print the seconds that it will take");
  CLI11_PARSE(app, argc, argv);
  if (options.quick && app.count("--kills") == 0) options.kills = 3;
  if (estimate) {
    fmt::print("{:.0f}\n", us::bench::seconds_of(us::bench::make_plan(options)));
    return 0;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  struct sigaction action {};
  action.sa_handler = us::bench::on_signal;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  return us::bench::run(options);
}
