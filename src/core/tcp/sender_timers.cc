// What happens without ACKs: the reordering timer, the tail loss probe, the retransmission timeout, window probes.
#include <algorithm>

#include "core/tcp/sender.h"

namespace us {

void Sender::on_deadline(Instant now) {
  if (verdict_ != SenderVerdict::kAlive) return;
  const auto due = [now](const std::optional<Instant>& deadline) { return deadline && *deadline <= now; };
  if (due(rack_.deadline())) on_reordering_timer(now);
  // The probe before the timeout even when both are due, as after a pause of this host: its answer may spare the
  // collapse of the window.  It restarts the timeout.
  if (due(tlp_.deadline())) on_tail_probe_timer(now);
  if (due(rto_.deadline())) on_timeout(now);
  if (due(persist_.deadline())) on_persist_timer(now);
}

// RFC 8985 section 6.2 step 5, when the deadline it gave has come.
void Sender::on_reordering_timer(Instant now) {
  bool retransmission_lost = false;
  const uint64_t lost = rack_.detect(board_, path(), now, [&](const SentRun& run) {
    retransmission_lost |= run.retransmitted && run.sent_at >= reduced_at_;
  });
  if (lost == 0) return;
  on_loss(now, 0, retransmission_lost);
  if (state_ == State::kFast) {
    prr_.on_ack(
        {.delivered = 0, .inflight = inflight_bytes(), .ssthresh = cc_->ssthresh(), .mss = mss(), .safe = false});
  }
  update_pacing();
}

// RFC 8985 section 7.2: SACK, no recovery, nothing SACKed or lost, no probe on its way, and a window to probe in.
bool Sender::may_probe_tail() const {
  return sack_ && !in_recovery() && !tlp_.outstanding() && board_.sacked_bytes() == 0 && board_.lost_bytes() == 0 &&
         board_.in_flight_bytes() > 0 && !nxt().after(peer_.edge());
}

void Sender::schedule_tail_probe(Instant now) {
  const bool one_segment = board_.in_flight_bytes() <= mss();
  tlp_.schedule(now, rtt_.srtt(), one_segment, rto_.deadline().value_or(Instant::far_future()));
}

void Sender::on_tail_probe_timer(Instant now) {
  tlp_.cancel();
  if (!may_probe_tail()) return;
  forced_ = Forced::kTailProbe;
  rto_.restart(now, rtt_.rto());
}

void Sender::on_timeout(Instant now) {
  if (board_.empty()) {
    rto_.stop();
    return;
  }
  if (room_in_peer_window(una_) == 0) {
    // The peer has shrunk its window below what is in flight.  It drops what we sent: neither congestion nor death.
    board_.mark_lost([](const SentRun&) { return Scoreboard::Judgement::kLost; });
    board_.forget_sacks();
    tlp_.reset();
    rto_.stop();
    return;
  }
  // Reduced already for this data: by a timeout without progress since, or by a recovery that is still on
  // (RFC 5681 section 3.1: ssthresh is held).  A reduction for a mark in the same window counts as well.
  const bool repeated = state_ == State::kTimeout ? rto_.retries() > 0 : state_ != State::kOpen;
  const bool first_of_all = state_ == State::kOpen || state_ == State::kReduced;
  rto_.on_expiry(now, rtt_.rto());
  ++stats_.timeouts;
  if (rto_.gave_up()) {
    verdict_ = SenderVerdict::kPeerDead;
    return;
  }
  if (board_.head_is_sacked()) {  // RFC 2018 section 8: a peer that keeps its word would have acknowledged it
    ++stats_.renegings;
    board_.forget_sacks();
  }
  const bool full_segment = board_.outstanding_bytes() >= mss();
  if (pmtu_.on_timeout(rto_.retries(), full_segment)) cc_->set_mss(mss());
  if (!repeated) undo_.begin(una_);
  cc_->on_rto(now, repeated);
  reduced_at_ = now;
  if (state_ != State::kTimeout) set_state(State::kTimeout);
  had_recovery_ = true;
  recover_ = nxt();
  if (sack_) {
    rack_.mark_on_timeout(board_, path(), now);
  } else {
    board_.mark_lost([](const SentRun&) { return Scoreboard::Judgement::kLost; });
  }
  // RFC 5682 section 3.1 step 1: not for a timeout in the middle of a fast recovery.
  if (first_of_all || rto_.retries() > 1) {
    frto_.begin(nxt());
  } else {
    frto_.end();
  }
  frto_new_bytes_.reset();
  dup_.reset();
  tlp_.reset();
  rack_.clear_deadline();
  forced_ = Forced::kTimeoutHead;
  update_pacing();
}

void Sender::on_persist_timer(Instant now) {
  const SeqNum next = board_.lost_bytes() > 0 ? board_.first_lost().start : nxt();
  persist_.on_probe(now, rtt_.rto());
  if (persist_.gave_up()) {
    verdict_ = SenderVerdict::kPeerDead;
    return;
  }
  if (room_in_peer_window(next) > 0) {
    window_override_ = true;
  } else {
    forced_ = Forced::kWindowProbe;
  }
}

}  // namespace us
