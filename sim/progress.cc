#include "sim/progress.h"

#include <fmt/format.h>

#include <cstdio>

namespace us::sim {

void Progress::add(const RunResult& result) {
  ++runs_;
  steps_ += result.steps;
  releases_ += result.releases;
  commits_ += result.commits;
  takeovers_ += result.takeovers;
  lost_ += result.lost ? 1 : 0;
  ended_ += result.ended ? 1 : 0;
  if (Clock::now() - printed_ < std::chrono::seconds(3)) return;
  printed_ = Clock::now();
  print("running");
}

void Progress::print(const char* word) const {
  const double seconds = std::chrono::duration<double>(Clock::now() - began_).count();
  fmt::print(
      "{}: {} of {} runs, {:.0f} s; {} steps, {} epochs committed, {} packets released, {} takeovers, "
      "{} ended by the user, {} lost with both copies\n",
      word, runs_, expected_, seconds, steps_, commits_, releases_, takeovers_, ended_, lost_);
  std::fflush(stdout);
}

void Progress::finish(bool passed) const { print(passed ? "passed" : "FAILED"); }

}  // namespace us::sim
