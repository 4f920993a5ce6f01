// Plan: which measurements make up a run, in which order.  Pure.
//
// A *load* is one thing a client does over one kind of line.  It is run for several *settings*, a setting being a mode
// and an epoch length.  Every round runs every load, and for each load all settings one after the other, `unprotected`
// first: a ratio is formed within a load of a round, so that what the machine does over the minutes drops out.
#pragma once

#include <string>
#include <vector>

#include "tcp/options.h"

namespace us::bench {

enum class Kind { kBulk, kFetch, kRequest, kIdleFlows };
enum class Direction { kFromGuest, kToGuest };

struct Load {
  std::string scenario;
  Kind kind = Kind::kBulk;
  Direction direction = Direction::kFromGuest;
  bool wire = true;                 // false: nothing but the processors limits the rate
  int rtt_ms = 0;                   // of the wire
  double loss = 0;                  // of the wire, in each direction
  int flows = 1;                    // kBulk: connections at once
  size_t bytes = 0;                 // kFetch
  double skip_s = 0, length_s = 0;  // kBulk: what is left out at the beginning, and what counts
};

struct Setting {
  std::string mode;
  int epoch_ms = 0;  // 0: has none
};

inline bool is_protected(const Setting& setting) { return setting.epoch_ms != 0; }

struct Step {
  Load load;
  std::vector<Setting> settings;  // the first is unprotected
};

std::vector<std::string> scenario_names();
std::vector<std::string> mode_names();  // stock and unprotected among them

// Error (kInput): nothing is left to measure.
Result<std::vector<Step>> make_plan(const Options& options);

// What it takes, roughly, in seconds.
double estimated_seconds(const Load& load, const Setting& setting);

std::string to_text(Direction direction);
std::string describe(const Load& load);

}  // namespace us::bench
