// HyStart: leaves slow start before the queue overflows, by watching the round-trip time grow (HyStart++, RFC 9406).
//
//   slow start --RTT rose--> conservative slow start --5 rounds--> congestion avoidance
//        ^-------------- RTT fell again ------'
//
// For the initial slow start only (RFC 9406 section 4.3), that is while there is no threshold from a loss.
#pragma once

#include <cstdint>

#include "core/tcp/congestion_control.h"

namespace us {

// The most that one ACK may add to the window in slow start: L * SMSS, L = 8, no limit when paced (RFC 9406
// section 4.3).
uint64_t slow_start_growth_max(const CongestionConfig& config);

class HyStart {
 public:
  // One ACK in slow start.  Call it for every ACK, limited by the window or not: rounds and samples go on.
  void on_ack(const AckSample& sample);
  // What an increase by `growth` bytes becomes in the present phase.
  uint64_t scale(uint64_t growth) const;
  bool in_conservative_phase() const { return phase_ == Phase::kConservative; }
  // Slow start is over: the threshold is the present window.
  bool done() const { return phase_ == Phase::kDone; }

 private:
  enum class Phase : uint8_t { kSlowStart, kConservative, kDone };
  void start_round(const AckSample& sample);
  void judge();

  Phase phase_ = Phase::kSlowStart;
  bool round_started_ = false;
  uint32_t samples_ = 0;  // in this round
  uint32_t conservative_rounds_ = 0;
  SeqNum round_end_;
  Duration last_round_min_ = Duration::infinite();
  Duration round_min_ = Duration::infinite();
  Duration baseline_min_ = Duration::infinite();
};

}  // namespace us
