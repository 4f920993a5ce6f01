#include "core/tcp/rack.h"

#include <algorithm>

namespace us {
namespace {

constexpr uint64_t kDupThresh = 3;
constexpr uint8_t kWindowPersist = 16;         // recoveries
constexpr uint32_t kWindowMultipleMax = 1000;  // the window is bounded by SRTT long before

}  // namespace

void Rack::on_delivered(const SentRun& run, Instant now, const std::optional<EchoTime>& echo, const Path& path) {
  // Step 3.  A hole that was filled below the highest delivered byte, by the first transmission: reordering.
  if (!fack_valid_ || run.end().after(fack_)) {
    fack_ = run.end();
    fack_valid_ = true;
  } else if (run.end().before(fack_) && !run.retransmitted) {
    reordering_seen_ = true;
  }
  // Step 2.  An ACK of the first transmission must not count for the second one.
  const Duration rtt = now - run.sent_at;
  if (run.retransmitted && echo && echo->latest < run.sent_at) return;
  if (run.retransmitted || run.blurred) {
    if (path.min_rtt ? rtt < *path.min_rtt : !echo) return;
  }
  rtt_ = rtt;
  if (!has_delivered_ || run.sent_at > sent_at_ || (run.sent_at == sent_at_ && run.end().after(end_))) {
    has_delivered_ = true;
    sent_at_ = run.sent_at;
    end_ = run.end();
  }
}

// Step 4: once per round trip.
void Rack::on_dsack(SeqNum una, SeqNum nxt) {
  if (dsack_round_open_ && una.before(dsack_round_)) return;
  dsack_round_open_ = true;
  dsack_round_ = nxt;
  window_multiple_ = std::min(window_multiple_ + 1, kWindowMultipleMax);
  window_persist_ = kWindowPersist;
}

void Rack::on_recovery_end() {
  if (window_persist_ > 0 && --window_persist_ == 0) window_multiple_ = 1;
}

// Step 4, RACK_update_reo_wnd.
Duration Rack::reordering_window(const Scoreboard& scoreboard, const Path& path) const {
  if (!reordering_seen_ && (path.in_recovery || scoreboard.sacked_bytes() >= kDupThresh * path.mss)) return Duration();
  if (!path.min_rtt) return Duration();
  return std::min(*path.min_rtt * window_multiple_ / 4, path.srtt);
}

bool Rack::sent_before_delivered(const SentRun& run) const {
  return run.sent_at < sent_at_ || (run.sent_at == sent_at_ && run.end().before(end_));
}

uint64_t Rack::mark_on_timeout(Scoreboard& scoreboard, const Path& path, Instant now) {
  const Duration patience = rtt_ + reordering_window(scoreboard, path);
  bool first = true;
  return scoreboard.mark_lost([&](const SentRun& run) {
    const bool lost = first || run.sent_at + patience <= now;
    first = false;
    return lost ? Scoreboard::Judgement::kLost : Scoreboard::Judgement::kKeep;
  });
}

}  // namespace us
