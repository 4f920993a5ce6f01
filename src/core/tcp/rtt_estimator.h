// RttEstimator: smoothed round-trip time, its variation, the retransmission timeout, and a windowed minimum.
//
// One per sender.  The owner feeds samples that are free of Karn's ambiguity (sender_ack.cc picks them); nothing
// here knows about segments.  Source: RFC 6298 section 2; RFC 7323 appendix G (many samples per round trip);
// the windowed minimum is what RFC 8985 section 6.2 step 1 and RFC 9406 want.
//
// Deviation from RFC 6298 (2.4), which wants a timeout of at least 1 s: as Linux does, the *variation term* is at
// least rto_min (200 ms), so the timeout is at least SRTT + 200 ms.  The floor is there for the peer's delayed ACKs.
#pragma once

#include <cstdint>
#include <optional>

#include "base/time.h"

namespace us {

// The minimum of the samples of the last window, give or take half of it: two buckets, each half a window long.
// A pause without samples alone does not forget the minimum.
class WindowedMin {
 public:
  explicit WindowedMin(Duration window) : half_(window / 2) {}

  void on_sample(Duration value, Instant now);
  std::optional<Duration> get() const;

 private:
  Duration half_;
  Instant bucket_start_;
  Duration current_ = Duration::infinite();
  Duration previous_ = Duration::infinite();
};

struct RttConfig {
  Duration rto_initial = Duration::seconds(1);   // RFC 6298 (2.1)
  Duration rto_min = Duration::millis(200);      // floor of the variation term
  Duration rto_max = Duration::seconds(120);     // RFC 6298 (2.5) allows any bound of at least 60 s
  Duration min_window = Duration::seconds(300);  // of the windowed minimum, as Linux
};

class RttEstimator {
 public:
  explicit RttEstimator(const RttConfig& config) : config_(config), min_(config.min_window) {}

  // `samples_per_round`: how many samples are expected per round trip, at least 1 (RFC 7323 appendix G).
  void on_sample(Duration rtt, uint32_t samples_per_round, Instant now);
  // A sample for the minimum alone: less delayed than what the timeout has to allow for.
  void on_min_sample(Duration rtt, Instant now);

  bool has_sample() const { return has_sample_; }
  Duration srtt() const { return srtt_; }      // zero before the first sample
  Duration rttvar() const { return rttvar_; }  // zero before the first sample
  Duration latest() const { return latest_; }
  std::optional<Duration> min_rtt() const { return min_.get(); }
  Duration rto() const;  // without back-off (rto.h)

 private:
  RttConfig config_;
  WindowedMin min_;
  bool has_sample_ = false;
  Duration srtt_;
  Duration rttvar_;
  Duration latest_;
};

}  // namespace us
