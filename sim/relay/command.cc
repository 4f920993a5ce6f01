#include "sim/relay/command.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>

#include "sim/relay/run.h"

namespace us::sim::relay {
namespace {

using Clock = std::chrono::steady_clock;

class Totals {
 public:
  explicit Totals(uint64_t expected) : expected_(expected) {}

  void add(const Verdict& v) {
    ++runs_;
    steps_ += v.steps;
    sum_.takeovers += v.counts.takeovers;
    sum_.commits += v.counts.commits;
    sum_.flows += v.counts.flows;
    sum_.frames += v.counts.frames;
    sum_.bytes += v.counts.bytes;
    sum_.restored += v.counts.restored;
    sum_.unheard += v.counts.unheard;
    if (Clock::now() - printed_ < std::chrono::seconds(3)) return;
    printed_ = Clock::now();
    print("running");
  }
  void print(const char* word) const {
    const double seconds = std::chrono::duration<double>(Clock::now() - began_).count();
    fmt::print(
        "{}: {} of {} runs, {:.0f} s ({:.0f} runs/s); {} steps, {} flows, {} epochs committed, {} packets and {} MB "
        "released, {} takeovers, {} flows restored, {} last FINs unheard\n",
        word, runs_, expected_, seconds, static_cast<double>(runs_) / seconds, steps_, sum_.flows, sum_.commits,
        sum_.frames, sum_.bytes >> 20, sum_.takeovers, sum_.restored, sum_.unheard);
    std::fflush(stdout);
  }

 private:
  Clock::time_point began_ = Clock::now(), printed_ = began_;
  uint64_t expected_, runs_ = 0, steps_ = 0;
  Counts sum_;
};

}  // namespace

bool run_many(uint64_t runs, uint64_t seed, bool verbose) {
  Totals totals(runs);
  for (uint64_t i = 0; i < runs; ++i) {
    RunSettings settings;
    settings.seed = seed + i;
    settings.keep_trace = verbose;
    const Verdict verdict = run(settings);
    totals.add(verdict);
    if (verdict.passed && !verbose) continue;
    for (const std::string& line : verdict.trace) fmt::print("{}\n", line);
    if (verdict.passed) continue;
    fmt::print("VIOLATION: {}\nto repeat: understudy_sim --relay --runs 1 --seed {}\n", verdict.violation,
               settings.seed);
    totals.print("FAILED");
    return false;
  }
  totals.print("passed");
  return true;
}

}  // namespace us::sim::relay
