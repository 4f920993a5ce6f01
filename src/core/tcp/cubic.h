// Cubic: the window as a cubic function of the time since the last reduction (RFC 9438), with HyStart++ (RFC 9406)
// for the initial slow start.  What to send inside of recovery is prr.h's.
//
//   window  W_max ......._____------/   convex: probing beyond
//                   __--'          '
//                 /'  concave       K = time to come back to W_max
//   0.7 * W_max  |___________________________________ t since the reduction
//
// Section and figure numbers in cubic.cc are RFC 9438's.
#pragma once

#include <cstdint>
#include <optional>

#include "core/tcp/congestion_control.h"
#include "core/tcp/hystart.h"

namespace us {

class Cubic final : public CongestionControl {
 public:
  explicit Cubic(const CongestionConfig& config);

  void on_ack(const AckSample& sample) override;
  void on_congestion_event(Instant now) override;
  void on_rto(Instant now, bool repeated) override;
  void on_spurious(Instant now) override;
  void on_idle(Duration idle, Duration rto) override;
  void set_mss(uint32_t mss) override { config_.mss = mss; }
  uint64_t cwnd() const override { return static_cast<uint64_t>(w_.cwnd); }
  size_t memory_bytes() const override { return sizeof(*this); }
  uint64_t ssthresh() const override { return w_.ssthresh; }

 private:
  // All that an undo brings back (section 4.9).  Bytes, in floating point so that small increments add up.
  struct Window {
    double cwnd = 0;
    uint64_t ssthresh = kWindowMax;
    double w_max = 0;       // window before the last reduction; 0: none, or forgotten by a timeout (section 4.8)
    double cwnd_prior = 0;  // the same without fast convergence
    double w_est = 0;       // what Reno would have by now (section 4.3)
    double k = 0;           // seconds
    bool in_epoch = false;  // congestion avoidance has begun since the last reduction
    Instant epoch_start;
  };

  double slow_start(const AckSample& sample);
  void avoid_congestion(const AckSample& sample, double acked);
  void start_epoch(Instant now);
  double window_at(double seconds) const;
  void reduce_threshold();

  CongestionConfig config_;
  Window w_;
  std::optional<Window> saved_;
  HyStart hystart_;
  Instant last_ack_at_;
};

}  // namespace us
