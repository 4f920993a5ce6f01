// Progress: a line every few seconds while many runs are made, and one at the end.
#pragma once

#include <chrono>
#include <cstdint>

#include "sim/simulation.h"

namespace us::sim {

class Progress {
 public:
  void expect(uint64_t runs) { expected_ += runs; }
  void add(const RunResult& result);
  void finish(bool passed) const;

 private:
  using Clock = std::chrono::steady_clock;
  void print(const char* word) const;

  Clock::time_point began_ = Clock::now();
  Clock::time_point printed_ = began_;
  uint64_t expected_ = 0, runs_ = 0, steps_ = 0, releases_ = 0, commits_ = 0, takeovers_ = 0, lost_ = 0, ended_ = 0;
};

}  // namespace us::sim
