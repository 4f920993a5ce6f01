#include "core/tcp/newreno.h"

#include <algorithm>

#include "core/tcp/hystart.h"

namespace us {

void NewReno::on_ack(const AckSample& sample) {
  if (!sample.cwnd_limited) return;  // RFC 7661: a window that was not used was not validated
  uint64_t acked = sample.delivered_bytes;
  if (in_slow_start()) {
    const uint64_t growth = std::min(acked, slow_start_growth_max(config_));
    const uint64_t used = std::min(growth, ssthresh_ - cwnd_);
    cwnd_ += used;
    if (used == growth) return;
    acked = growth - used;
  }
  // RFC 5681 equation (3), counted in bytes (RFC 3465 section 2.1): one MSS per window of data.
  acked_bytes_ += acked;
  while (acked_bytes_ >= cwnd_) {
    acked_bytes_ -= cwnd_;
    cwnd_ += config_.mss;
  }
  cwnd_ = std::min(cwnd_, kWindowMax);
}

// RFC 5681 equation (4).  The window stands in for FlightSize, as in Linux: it grows only while it is used, and
// FlightSize at the end of an epoch's burst would say nothing about the path.
void NewReno::reduce_threshold() {
  saved_ = Saved{cwnd_, ssthresh_};
  ssthresh_ = std::max<uint64_t>(cwnd_ / 2, 2 * config_.mss);
  acked_bytes_ = 0;
}

void NewReno::on_congestion_event(Instant) {
  reduce_threshold();
  cwnd_ = ssthresh_;
}

void NewReno::on_rto(Instant, bool repeated) {
  if (!repeated) reduce_threshold();
  cwnd_ = config_.mss;  // the loss window (RFC 5681 section 3.1)
}

void NewReno::on_spurious(Instant) {
  if (!saved_) return;
  cwnd_ = std::max(cwnd_, saved_->cwnd);
  ssthresh_ = saved_->ssthresh;
  saved_.reset();
}

void NewReno::on_idle(Duration idle, Duration rto) {
  const IdleDecay decayed = decay_after_idle(cwnd_, ssthresh_, initial_window(config_), idle, rto);
  cwnd_ = decayed.cwnd;
  ssthresh_ = decayed.ssthresh;
}

}  // namespace us
