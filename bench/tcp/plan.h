// Plan: which measurements make up a run, in which order.  Pure.
//
// A *load* is one thing a client does over one kind of line.  It is run for several *settings*, a setting being a mode
// and an epoch length.  Every round runs every load, and for each load all settings one after the other, `unprotected`
// first: a ratio is formed within a load of a round, so that what the machine does over the minutes drops out.
//
// Which settings a load is run for is its *slice* of the modes and epoch lengths:
//
//   all    buffered and accelerated at 10, 25, 50, 100 ms and adaptive; each single optimization at the four lengths
//   main   the same, the single optimizations at 25 ms only
//   bulk   the same, the single optimizations at 100 ms only: at 25 ms a bulk transfer loses nothing yet
//   few    buffered and accelerated at 25 and 100 ms
//   pair   buffered and accelerated at 25 ms
//   wide   the same without stock
//
// unprotected belongs to all of them, stock to all but `wide`.
#pragma once

#include <string>
#include <vector>

#include "common/results.h"
#include "tcp/options.h"

namespace us::bench {

enum class Kind { kStreams, kFetch, kRequest, kIncast, kRedis, kDatagrams, kIdleFlows };
enum class Direction { kNone, kFromGuest, kToGuest, kBoth };
enum class Slice { kAll, kMain, kBulk, kFew, kPair, kWide };

struct Load {
  std::string scenario;
  Kind kind = Kind::kStreams;
  Slice slice = Slice::kPair;
  Direction direction = Direction::kNone;
  bool wire = true;                 // false: nothing but the processors limits the rate
  int rtt_ms = 0;                   // of the wire
  double loss = 0;                  // of the wire, in each direction
  int queue_packets = 0;            // of the wire; 0: what the options say
  int mbit = 0;                     // of the wire
  int mtu = 1500;                   // of the client's line and the guest
  std::string cc{};                 // of the client
  int flows = 1;                    // connections at once
  size_t bytes = 0;                 // of a request, a response, a block, a datagram
  bool kept = false;                // kFetch: on one connection
  bool icmp = false;                // kDatagrams
  int per_second = 0;               // kDatagrams
  int pipeline = 1;                 // kRedis
  double skip_s = 0, length_s = 0;  // what is left out at the beginning, and what counts
};

struct Setting {
  std::string mode;
  std::string epoch;  // "25", "adaptive"; empty: has none
};

inline bool is_protected(const Setting& setting) { return !setting.epoch.empty(); }

struct Step {
  Load load;
  std::vector<Setting> settings;  // the first is unprotected
};

std::vector<std::string> scenario_names();
std::vector<std::string> mode_names();  // stock and unprotected among them
std::vector<std::string> slice_names();

// Error (kInput): nothing is left to measure.
Result<std::vector<Step>> make_plan(const Options& options);

// The load with the time that the setting needs: with long epochs slow start, and the losses at its end, take long.
Load timed_for(Load load, const Setting& setting);

// What it takes, roughly, in seconds.
double estimated_seconds(const Load& load, const Setting& setting);
// The whole plan, the start of the machines included.
double estimated_seconds(const std::vector<Step>& plan, int rounds);

std::string to_text(Direction direction);  // as in the raw data
std::string describe(const Load& load);
// Everything about a measurement but what was measured (docs/evaluation-data.md).
Key key_of(const Load& load, const Setting& setting, int round);

}  // namespace us::bench
