// EpochPolicy: when to end an epoch.
//
// Every epoch ends at the latest when its length is over.  With cut-on-output it ends earlier when the guest has said
// something and has gone quiet: then it probably waits for an answer, and so does its client.  One that goes on talking
// is cut when the first of it has waited for `patience`: the beginning of a long response is on its way meanwhile.
//
//     resume          output      last output   quiet
//   ────┬───────────────┬───────────┬────────────►│ cut (early)                            │ cut (length)
//       └ length ────────────────────────────────────────────────────────────────────────►┘
//
// Two things hold early cuts back.  A bulk transfer would gain nothing: of relayed connections the flow knows which are
// (GuestSaid in core/tcp/flow.h), of what passes the plain gate there is no early cut once more than `bulk_bytes` wait.
// And the pauses of early cuts are paid from a budget, a share of the time that has passed, so that a chatty guest is
// not stopped most of the time.
//
// `adaptive`: the length itself follows the pause: long enough that regular cuts take no more than the budget, and no
// longer than the latency target allows.
//
// Pure; times are the caller's.  Engine thread only.
#pragma once

#include "base/time.h"

namespace us {

struct EpochPolicyConfig {
  enum class Kind { kFixed, kAdaptive };
  Kind kind = Kind::kFixed;
  Duration length = Duration::millis(25);          // kFixed
  Duration latency_target = Duration::millis(20);  // kAdaptive: the longest an output waits for its cut
  bool cut_on_output = true;
  double pause_budget = 0.5;  // share of time, 0..1
  Duration quiet = Duration::micros(300);
  Duration patience = Duration::millis(2);
  Duration shortest = Duration::millis(1);
  uint64_t bulk_bytes = 64 * 1024;
};

class EpochPolicy {
 public:
  explicit EpochPolicy(const EpochPolicyConfig& config) : config_(config), length_(config.length) {}
  void set_config(const EpochPolicyConfig& config);
  const EpochPolicyConfig& config() const { return config_; }

  // The guest runs again after a cut that held it for `pause`.
  void on_resumed(Instant now, Duration pause);

  // What the data path knows of output that waits for a cut.
  struct Waiting {
    bool any = false;
    Instant first;       // when the first of it came
    Instant last;        // and the latest
    uint64_t bytes = 0;  // of it, in the plain gate
  };
  // When to cut, as things stand; not after resume + length.
  Instant next_cut(const Waiting& waiting) const;

  Duration length() const { return length_; }
  uint64_t early_cuts() const { return early_cuts_; }
  // To be told about each cut, for the counters.
  void on_cut(Instant now);

 private:
  void adapt(Duration pause);

  EpochPolicyConfig config_;
  Duration length_;
  Instant resumed_;
  Duration pause_;   // smoothed
  Duration credit_;  // pause time that early cuts may still spend
  uint64_t early_cuts_ = 0;
};

}  // namespace us
