// Results: writes the raw data of one step of the evaluation into its files; docs/evaluation-data.md is the format.
// Single measurements go in, never medians.
//
// Every line is flushed, so what was measured survives a program that is killed.  A file that cannot be written is
// remembered (`status()`) rather than reported by each call: a measurement is not the place to handle it.
// One thread at a time.
#pragma once

#include <fstream>
#include <string>
#include <vector>

#include "base/result.h"

namespace us::bench {

// The columns that all files begin with.  Empty text and 0 of `mtu`: does not apply.
struct Key {
  std::string scenario{};
  std::string params{};  // "name=value;name=value"
  std::string mode{};
  std::string epoch{};  // "25", "adaptive", ""
  std::string direction{};
  int mtu = 0;
  double rtt_ms = 0;
  double loss = 0;
  std::string cc{};
  int round = 1;
};

class Results {
 public:
  static constexpr size_t kSamplesMax = 100;

  // Begins DIRECTORY/{rows,samples,series}/STEP.csv anew; each file appears with its first line.
  // Error (kInput): the name of the step is not one word of letters, digits, '-', '_' and '.'.
  // Error (kSystem): a directory cannot be made.
  static Result<Results> open(const std::string& directory, const std::string& step);
  // Writes nothing: for programs that also run by hand.
  static Results nowhere() { return Results("", ""); }

  void row(const Key& key, const std::string& metric, double value, const std::string& unit);
  // `count` samples of the same value, or a bin of a histogram whose upper edge is `value`.
  void sample(const Key& key, const std::string& metric, double value, const std::string& unit, uint64_t count = 1);
  // Samples of one measurement: each for itself, or beyond kSamplesMax in bins of 1 %.
  void samples(const Key& key, const std::string& metric, const std::vector<double>& values, const std::string& unit);
  // `value` from `t_ms` on; 0 is the event that the scenario names.
  void point(const Key& key, const std::string& metric, double t_ms, double value, const std::string& unit);

  // Error (kSystem): a file could not be written.
  Status status() const;
  // Where a packet capture called `name` belongs: DIRECTORY/captures/STEP-NAME.pcap.
  std::string capture_file(const std::string& name) const;

 private:
  Results(std::string directory, std::string step) : directory_(std::move(directory)), step_(std::move(step)) {}
  void line(std::ofstream& file, const char* kind, const char* columns, const Key& key, const std::string& rest);
  std::string path(const char* kind) const { return directory_ + "/" + kind + "/" + step_ + ".csv"; }

  std::string directory_;  // empty: nowhere
  std::string step_;
  std::ofstream rows_, samples_, series_;
  std::string failed_;  // the file that could not be written
};

// A text as one CSV field (RFC 4180, 2.5 to 2.7).
std::string csv_field(const std::string& text);
// The key's fields, joined by commas.
std::string csv_key(const Key& key);

}  // namespace us::bench
