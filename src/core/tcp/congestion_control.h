// CongestionControl: how many bytes may be in flight.  One object per sender, owned by it.
//
// The seam between "what happened" (the sender: ACKs, losses, marks) and "how much to send".  Loss detection, the
// send rate *inside* fast recovery (prr.h) and pacing by cwnd/srtt (pacer.h) are not here.  Behind it: CUBIC
// (cubic.h), NewReno (newreno.h), and a window without limit for the guest's side, where there is no network.
// A rate-based control such as BBR has what it needs: delivered bytes, RTT and delivery rate per ACK, pacing_rate().
//
// All windows are bytes.  Nothing here survives a takeover: the new primary starts from the initial window (tcp.md,
// rule 4).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/time.h"
#include "core/tcp/seq_num.h"

namespace us {

enum class CongestionKind : uint8_t {
  kNone,  // no limit: the guest's side
  kNewReno,
  kCubic,
};

struct CongestionConfig {
  uint32_t mss = 1460;                    // payload bytes of a full segment
  uint32_t initial_window_segments = 10;  // RFC 6928
  bool paced = true;                      // a paced sender may grow by more per ACK (RFC 9406 section 4.3)
};

// What one ACK told.  Given outside of fast recovery only.
struct AckSample {
  Instant now;
  uint64_t delivered_bytes = 0;  // newly ACKed and newly SACKed
  uint64_t inflight_bytes = 0;   // after this ACK
  SeqNum una;                    // after this ACK
  SeqNum nxt;
  std::optional<Duration> rtt;  // the least delayed sample of this ACK, if it gave one
  Duration srtt;                // zero before the first sample
  uint64_t delivery_rate = 0;   // bytes per second over about the last round trip; 0 is unknown
  bool cwnd_limited = true;     // the window, not the application or the peer, was what limited sending (RFC 7661)
};

class CongestionControl {
 public:
  static constexpr uint64_t kWindowMax =
      1u << 30;  // no TCP window is larger (RFC 7323 section 2.3); also "no threshold yet"

  virtual ~CongestionControl() = default;

  virtual void on_ack(const AckSample& sample) = 0;
  // Loss found by fast recovery, or an ECN mark; the sender calls it once per round trip.
  virtual void on_congestion_event(Instant now) = 0;
  // `repeated`: the same data timed out again or was being recovered already; ssthresh stays (RFC 5681 section 3.1).
  virtual void on_rto(Instant now, bool repeated) = 0;
  // The latest congestion event or timeout was not a loss: back to what was before it (RFC 4015, RFC 9438 section 4.9).
  virtual void on_spurious(Instant now) = 0;
  // Sending starts again after `idle` without any (RFC 2861 section 3).
  virtual void on_idle(Duration idle, Duration rto) = 0;
  virtual void set_mss(uint32_t mss) = 0;

  virtual uint64_t cwnd() const = 0;
  virtual uint64_t ssthresh() const = 0;
  bool in_slow_start() const { return cwnd() < ssthresh(); }
  virtual size_t memory_bytes() const = 0;
  // Bytes per second; nullopt: the sender paces by cwnd and srtt.
  virtual std::optional<uint64_t> pacing_rate() const { return std::nullopt; }
};

std::unique_ptr<CongestionControl> make_congestion_control(CongestionKind kind, const CongestionConfig& config);

// RFC 6928 section 2, for `segments` = 10: min(10 MSS, max(2 MSS, 14600)).
uint64_t initial_window(const CongestionConfig& config);

// The window and threshold after `idle` (RFC 2861 section 3, as Linux): the window halves per RTO of silence, down to
// the restart window min(IW, cwnd); the threshold remembers three quarters of what was in use.
struct IdleDecay {
  uint64_t cwnd;
  uint64_t ssthresh;
};
IdleDecay decay_after_idle(uint64_t cwnd, uint64_t ssthresh, uint64_t initial_window, Duration idle, Duration rto);

}  // namespace us
