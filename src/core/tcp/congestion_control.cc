#include "core/tcp/congestion_control.h"

#include <algorithm>

#include "core/tcp/cubic.h"
#include "core/tcp/newreno.h"

namespace us {
namespace {

// The guest's side: memory, not a network.  Flow control (the guest's window) is the only limit.
class NoCongestionControl final : public CongestionControl {
 public:
  void on_ack(const AckSample&) override {}
  void on_congestion_event(Instant) override {}
  void on_rto(Instant, bool) override {}
  void on_spurious(Instant) override {}
  void on_idle(Duration, Duration) override {}
  void set_mss(uint32_t) override {}
  size_t memory_bytes() const override { return sizeof(*this); }
  uint64_t cwnd() const override { return kWindowMax; }
  uint64_t ssthresh() const override { return kWindowMax; }
};

}  // namespace

std::unique_ptr<CongestionControl> make_congestion_control(CongestionKind kind, const CongestionConfig& config) {
  switch (kind) {
    case CongestionKind::kNewReno:
      return std::make_unique<NewReno>(config);
    case CongestionKind::kCubic:
      return std::make_unique<Cubic>(config);
    case CongestionKind::kNone:
      break;
  }
  return std::make_unique<NoCongestionControl>();
}

uint64_t initial_window(const CongestionConfig& config) {
  const uint64_t mss = config.mss;
  const uint64_t segments = std::max<uint64_t>(config.initial_window_segments, 1);
  return std::min(segments * mss, std::max<uint64_t>(2 * mss, segments * 1460));
}

IdleDecay decay_after_idle(uint64_t cwnd, uint64_t ssthresh, uint64_t initial_window, Duration idle, Duration rto) {
  if (idle < rto) return {cwnd, ssthresh};
  if (ssthresh < CongestionControl::kWindowMax) ssthresh = std::max(ssthresh, cwnd - cwnd / 4);
  const uint64_t restart = std::min(initial_window, cwnd);
  for (; idle >= rto && cwnd > restart; idle -= rto) cwnd /= 2;
  return {std::max(cwnd, restart), ssthresh};
}

}  // namespace us
