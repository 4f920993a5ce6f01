#include "core/tcp/cubic.h"

#include <algorithm>
#include <cmath>

namespace us {
namespace {

constexpr double kC = 0.4;     // segments per second^3 (section 5)
constexpr double kBeta = 0.7;  // section 4.6
// Increase per round trip that makes an AIMD with kBeta as fast as Reno (section 4.3).
constexpr double kAlpha = 3.0 * (1.0 - kBeta) / (1.0 + kBeta);

}  // namespace

Cubic::Cubic(const CongestionConfig& config) : config_(config) {
  w_.cwnd = static_cast<double>(initial_window(config));
}

void Cubic::on_ack(const AckSample& sample) {
  const Duration since_last_ack = sample.now - last_ack_at_;
  last_ack_at_ = sample.now;
  if (w_.ssthresh == kWindowMax) hystart_.on_ack(sample);
  if (!sample.cwnd_limited) {
    // Section 4.2: the time in which the application was the limit does not count.
    if (w_.in_epoch) w_.epoch_start = std::min(w_.epoch_start + since_last_ack, sample.now);
    return;
  }
  double acked = static_cast<double>(sample.delivered_bytes);
  if (in_slow_start()) acked = slow_start(sample);
  if (acked > 0) avoid_congestion(sample, acked);
  w_.cwnd = std::min(w_.cwnd, static_cast<double>(kWindowMax));
}

// Returns the ACKed bytes that are left for congestion avoidance.
double Cubic::slow_start(const AckSample& sample) {
  if (hystart_.done() && w_.ssthresh == kWindowMax) {  // RFC 9406: the end of the conservative phase
    w_.ssthresh = cwnd();
    return static_cast<double>(sample.delivered_bytes);
  }
  uint64_t growth = std::min(sample.delivered_bytes, slow_start_growth_max(config_));
  if (w_.ssthresh == kWindowMax) growth = hystart_.scale(growth);
  const double room = static_cast<double>(w_.ssthresh) - w_.cwnd;
  const double used = std::min(static_cast<double>(growth), room);
  w_.cwnd += used;
  return static_cast<double>(growth) - used;
}

void Cubic::avoid_congestion(const AckSample& sample, double acked) {
  if (!w_.in_epoch) start_epoch(sample.now);
  const double t = (sample.now - w_.epoch_start).to_seconds();
  const double acked_windows = std::min(acked / w_.cwnd, 1.0);
  // Section 4.3, figure 4; once the old window is reached, Reno's own increase.
  const double alpha = w_.w_est >= w_.cwnd_prior ? 1.0 : kAlpha;
  w_.w_est += alpha * config_.mss * acked_windows;
  if (window_at(t) < w_.w_est) {  // the Reno-friendly region
    w_.cwnd = std::max(w_.cwnd, w_.w_est);
    return;
  }
  // Sections 4.4 and 4.5; the clamp is the end of section 4.2.
  const double target = std::clamp(window_at(t + sample.srtt.to_seconds()), w_.cwnd, 1.5 * w_.cwnd);
  w_.cwnd += (target - w_.cwnd) * acked_windows;
}

// Section 4.2.  Without a window to come back to (section 4.8 after a timeout, section 4.10 after a slow start that
// no loss ended) the function starts at its plateau: K = 0, W_max = cwnd.
void Cubic::start_epoch(Instant now) {
  w_.in_epoch = true;
  w_.epoch_start = now;
  w_.w_est = w_.cwnd;
  w_.k = 0;
  if (w_.cwnd >= w_.w_max) {
    w_.w_max = w_.cwnd;
  } else {
    w_.k = std::cbrt((w_.w_max - w_.cwnd) / config_.mss / kC);  // figure 2
  }
}

// Figure 1, in bytes.
double Cubic::window_at(double seconds) const {
  const double x = seconds - w_.k;
  return kC * x * x * x * config_.mss + w_.w_max;
}

// Sections 4.6 and 4.7.  The window stands in for flight_size (see section 4.6 on that): it grows only while it is
// used.
void Cubic::reduce_threshold() {
  saved_ = w_;
  w_.cwnd_prior = w_.cwnd;
  w_.w_max = w_.cwnd < w_.w_max ? w_.cwnd * (1.0 + kBeta) / 2.0 : w_.cwnd;  // fast convergence
  w_.ssthresh = std::max(static_cast<uint64_t>(w_.cwnd * kBeta), uint64_t{2} * config_.mss);
  w_.in_epoch = false;
}

void Cubic::on_congestion_event(Instant) {
  reduce_threshold();
  w_.cwnd = static_cast<double>(w_.ssthresh);
}

void Cubic::on_rto(Instant, bool repeated) {
  if (!repeated) reduce_threshold();
  w_.w_max = 0;  // section 4.8
  w_.in_epoch = false;
  w_.cwnd = config_.mss;
}

void Cubic::on_spurious(Instant now) {
  if (!saved_) return;
  const double grown = w_.cwnd;
  w_ = *saved_;
  saved_.reset();
  w_.cwnd = std::max(w_.cwnd, grown);
  // The time of the mistake does not count for growth.
  if (w_.in_epoch) w_.epoch_start = std::min(w_.epoch_start + (now - last_ack_at_), now);
}

void Cubic::on_idle(Duration idle, Duration rto) {
  if (idle < rto) return;
  const IdleDecay decayed = decay_after_idle(cwnd(), w_.ssthresh, initial_window(config_), idle, rto);
  w_.cwnd = static_cast<double>(decayed.cwnd);
  w_.ssthresh = decayed.ssthresh;
  w_.in_epoch = false;
}

}  // namespace us
