// NewReno: additive increase, multiplicative decrease.  The yardstick for CUBIC, and a choice of its own.
// Source: RFC 5681 section 3.1 with the byte counting of RFC 3465; what to send in recovery is prr.h's.
#pragma once

#include <cstdint>
#include <optional>

#include "core/tcp/congestion_control.h"

namespace us {

class NewReno final : public CongestionControl {
 public:
  explicit NewReno(const CongestionConfig& config) : config_(config), cwnd_(initial_window(config)) {}

  void on_ack(const AckSample& sample) override;
  void on_congestion_event(Instant now) override;
  void on_rto(Instant now, bool repeated) override;
  void on_spurious(Instant now) override;
  void on_idle(Duration idle, Duration rto) override;
  void set_mss(uint32_t mss) override { config_.mss = mss; }
  uint64_t cwnd() const override { return cwnd_; }
  size_t memory_bytes() const override { return sizeof(*this); }
  uint64_t ssthresh() const override { return ssthresh_; }

 private:
  struct Saved {
    uint64_t cwnd;
    uint64_t ssthresh;
  };
  void reduce_threshold();

  CongestionConfig config_;
  uint64_t cwnd_;
  uint64_t ssthresh_ = kWindowMax;
  uint64_t acked_bytes_ = 0;  // towards the next increase in congestion avoidance
  std::optional<Saved> saved_;
};

}  // namespace us
