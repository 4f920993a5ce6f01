// understudy_sim: many runs of the simulation, or one again.
//
//     understudy_sim --runs N --seed S          N random runs, seeds S, S+1, ...
//     understudy_sim --exhaustive [--stride K]  every fault at every (Kth) step of every story
//     understudy_sim --relay --runs N --seed S  the TCP relay's own simulation
//     understudy_sim --runs 1 --seed S --story NAME --fault KIND@STEP:MILLISECONDS
//
// Exit status: 0 all passed, 1 a violation (with its trace and the command that repeats it), 2 bad arguments.
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "sim/progress.h"
#include "sim/relay/command.h"
#include "sim/simulation.h"

namespace us::sim {
namespace {

struct Arguments {
  uint64_t runs = 1000;
  uint64_t seed = 1;
  uint64_t stride = 1;
  bool exhaustive = false;
  bool verbose = false;
  bool relay = false;
  bool shared_disk = false;
  std::optional<Story> story;
  std::vector<PlacedFault> faults;
};

[[noreturn]] void usage(const std::string& why) {
  fmt::print(stderr,
             "{}\nusage: understudy_sim [--relay] [--runs N] [--seed S] [--exhaustive [--stride K]] [--verbose]\n"
             "                      [--story plain|switchover|shutdown|takeover [--fault KIND@STEP:MS]...]\n"
             "                      [--shared-disk]\n",
             why);
  std::exit(2);
}

uint64_t number(std::string_view flag, std::string_view text) {
  char* end = nullptr;
  const std::string copy(text);
  const uint64_t value = std::strtoull(copy.c_str(), &end, 10);
  if (copy.empty() || *end != '\0') usage(fmt::format("{} wants a number, not \"{}\"", flag, text));
  return value;
}

PlacedFault placed_fault(std::string_view text) {
  const size_t at = text.find('@'), colon = text.find(':');
  if (at == std::string_view::npos || colon == std::string_view::npos || colon < at)
    usage(fmt::format("--fault wants KIND@STEP:MILLISECONDS, not \"{}\"", text));
  const auto kind = fault_from(text.substr(0, at));
  if (!kind) usage(fmt::format("unknown fault \"{}\"", text.substr(0, at)));
  return {number("--fault", text.substr(at + 1, colon - at - 1)), *kind,
          Duration::millis(static_cast<int64_t>(number("--fault", text.substr(colon + 1))))};
}

Arguments parse(int argc, char** argv) {
  Arguments a;
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    const auto value = [&]() -> std::string_view {
      if (++i >= argc) usage(fmt::format("{} wants a value", flag));
      return argv[i];
    };
    if (flag == "--runs")
      a.runs = number(flag, value());
    else if (flag == "--seed")
      a.seed = number(flag, value());
    else if (flag == "--stride")
      a.stride = std::max<uint64_t>(1, number(flag, value()));
    else if (flag == "--exhaustive")
      a.exhaustive = true;
    else if (flag == "--verbose")
      a.verbose = true;
    else if (flag == "--shared-disk")
      a.shared_disk = true;
    else if (flag == "--relay")
      a.relay = true;
    else if (flag == "--fault")
      a.faults.push_back(placed_fault(value()));
    else if (flag == "--story") {
      const std::string_view name = value();
      a.story = story_from(name);
      if (!a.story) usage(fmt::format("unknown story \"{}\"", name));
    } else {
      usage(fmt::format("unknown argument \"{}\"", flag));
    }
  }
  return a;
}

// A CHECK in a core aborts: say at least which run it was.
std::string current_run;
void on_abort(int) {
  std::fprintf(stderr, "aborted; to repeat: %s\n", current_run.c_str());
  std::_Exit(1);
}

bool judge_run(RunOptions options, Progress& progress, bool verbose) {
  current_run = repeat_command(options);
  options.keep_trace = verbose;
  const RunResult result = run(options);
  progress.add(result);
  if (result.passed && !verbose) return true;
  for (const std::string& line : result.trace) fmt::print("{}\n", line);
  if (!result.passed) fmt::print("VIOLATION: {}\nto repeat: {} --verbose\n", result.violation, repeat_command(options));
  return result.passed;
}

bool random_runs(const Arguments& a, Progress& progress) {
  progress.expect(a.runs);
  for (uint64_t i = 0; i < a.runs; ++i) {
    RunOptions options;
    options.seed = a.seed + i;
    options.random = !a.story.has_value();
    options.story = a.story.value_or(Story::kPlain);
    options.faults = a.faults;
    options.shared_disk = a.shared_disk;
    if (!judge_run(options, progress, a.verbose)) return false;
  }
  return true;
}

bool exhaustive_runs(const Arguments& a, Progress& progress) {
  for (Story story : {Story::kPlain, Story::kSwitchover, Story::kShutdown, Story::kTakeover}) {
    RunOptions options;
    options.seed = a.seed;
    options.random = false;
    options.story = story;
    options.shared_disk = a.shared_disk;
    const uint64_t steps = run(options).fault_steps;
    progress.expect((steps / a.stride + 1) * kExhaustiveFaults);
    uint64_t place = 0;
    for (uint64_t step = 1; step <= steps; ++step)
      for (size_t kind = 0; kind < kExhaustiveFaults; ++kind) {
        // With a stride, each fault has its own places, so that together they cover more.
        if (place++ % a.stride != 0) continue;
        options.faults = {{step, static_cast<FaultKind>(kind), Duration::millis(kind % 3 == 0 ? 600 : 130)}};
        if (!judge_run(options, progress, a.verbose)) return false;
      }
  }
  return true;
}

int main_program(int argc, char** argv) {
  const Arguments a = parse(argc, argv);
  std::signal(SIGABRT, on_abort);
  if (a.relay) return relay::run_many(a.runs, a.seed, a.verbose) ? 0 : 1;
  Progress progress;
  const bool passed = a.exhaustive ? exhaustive_runs(a, progress) : random_runs(a, progress);
  progress.finish(passed);
  return passed ? 0 : 1;
}

}  // namespace
}  // namespace us::sim

int main(int argc, char** argv) { return us::sim::main_program(argc, argv); }
