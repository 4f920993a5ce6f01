// What an ACK changes.  Order matters: first what arrived (scoreboard, RTT, RACK), then what that says about earlier
// decisions (undo, end of recovery), then what is lost, then the window, then the timers.
#include <algorithm>
#include <array>

#include "base/check.h"
#include "core/tcp/sender.h"

namespace us {
namespace {

constexpr size_t kSackBlocksMax = 4;  // RFC 2018 section 3: no more fit into a header

}  // namespace

// One ACK on its way through the functions below.
struct Sender::AckWork {
  const AckInfo& info;
  Instant now;
  SeqNum una_before;
  uint64_t inflight_before;
  bool stale;
  bool window_changed = false;
  bool una_moved = false;
  bool plain_duplicate = false;          // a duplicate ACK (RFC 5681 section 2) without SACK blocks
  bool retransmitted_acked = false;      // cumulatively: Karn's ambiguity
  bool original_delivered = false;       // see Frto::Ack
  bool reduced = false;                  // this ACK began a reduction
  uint64_t delivered = 0;                // bytes newly ACKed or SACKed
  uint64_t sacked = 0;                   // of these, SACKed
  uint64_t lost = 0;                     // bytes found lost
  std::optional<SeqRange> dsack{};       // what the peer reports to have received twice (RFC 2883)
  std::optional<Instant> oldest_sent{};  // first transmissions only, among the cumulatively ACKed
  std::optional<Instant> newest_sent{};  // first transmissions only
  std::optional<Instant> rate_from{};    // latest transmission that was delivered
  uint64_t rate_delivered = 0;           // bytes delivered when it was sent
};

// RFC 5961 section 5.2: (SND.UNA - MAX.SND.WND) =< SEG.ACK =< SND.NXT.
AckVerdict Sender::judge(SeqNum ack) const {
  if (ack.in_range(una_, nxt())) return AckVerdict::kAccepted;
  return ack.distance_to(una_) <= peer_.largest ? AckVerdict::kStale : AckVerdict::kUnacceptable;
}

AckVerdict Sender::on_ack(const AckInfo& info, Instant now) {
  const AckVerdict verdict = judge(info.ack);
  if (verdict == AckVerdict::kUnacceptable) {
    ++stats_.acks_unacceptable;
    return verdict;
  }
  if (verdict_ != SenderVerdict::kAlive) return verdict;
  AckWork work{.info = info,
               .now = now,
               .una_before = una_,
               .inflight_before = inflight_bytes(),
               .stale = verdict == AckVerdict::kStale};
  if (!work.stale) {
    persist_.on_answer();
    work.window_changed = peer_.on_segment(info.seq, info.ack, info.window);
    take_cumulative(work);
  }
  if (sack_) {
    take_sack(work);
  } else {
    take_duplicate(work);
  }
  take_rtt(work);
  take_evidence(work);
  leave_recovery();
  take_ecn(work);
  find_losses(work);
  adjust_window(work);
  adjust_timers(work);
  return verdict;
}

void Sender::take_cumulative(AckWork& work) {
  const uint32_t acked = una_.distance_to(work.info.ack);
  work.una_moved = acked > 0;
  if (!work.una_moved) return;
  una_ = work.info.ack;
  board_.ack_to(una_, [&](const SentRun& run) { note_delivered(run, work, true); });
  if (!sack_) work.delivered = dup_.on_progress(acked, mss());
  rack_.on_una(una_);
  undo_.on_una(una_);
  rto_.on_progress();
  if (pmtu_.on_progress()) cc_->set_mss(mss());
  if (forced_ == Forced::kTimeoutHead || forced_ == Forced::kTailProbe) forced_ = Forced::kNone;
}

void Sender::note_delivered(const SentRun& run, AckWork& work, bool cumulative) {
  if (cumulative && run.retransmitted) work.retransmitted_acked = true;
  if (run.state == RunState::kSacked) return;  // delivered before
  work.delivered += run.length;
  if (!run.retransmitted && run.end().at_or_before(frto_.recover())) work.original_delivered = true;
  if (!run.retransmitted && !run.blurred) {
    if (cumulative) work.oldest_sent = std::min(work.oldest_sent.value_or(run.sent_at), run.sent_at);
    work.newest_sent = std::max(work.newest_sent.value_or(run.sent_at), run.sent_at);
  }
  if (run.adopted) return;  // when it was sent is not known
  if (!run.blurred && (!work.rate_from || run.sent_at > *work.rate_from)) {
    work.rate_from = run.sent_at;
    work.rate_delivered = run.delivered;
  }
  if (sack_) rack_.on_delivered(run, work.now, work.info.echo, path());
}

// RFC 2018 section 4 and 5; RFC 2883 section 4 for the first block.
void Sender::take_sack(AckWork& work) {
  const auto given = work.info.sack.first(std::min(work.info.sack.size(), kSackBlocksMax));
  if (given.empty()) {
    take_duplicate(work);
    return;
  }
  const SeqRange first = given[0];
  const bool below = first.end.at_or_before(work.info.ack);
  const bool inside =
      given.size() > 1 && first.start.at_or_after(given[1].start) && first.end.at_or_before(given[1].end);
  if (first.start.before(first.end) && first.end.at_or_before(nxt()) && (below || inside)) work.dsack = first;

  // In sequence order: RACK would take a later block before an earlier one for reordering.
  std::array<SeqRange, kSackBlocksMax> blocks;
  size_t count = 0;
  for (const SeqRange& block : given) {
    if (!block.start.before(block.end) || !block.start.in_range(una_, nxt()) || !block.end.in_range(una_, nxt()))
      continue;
    size_t at = count++;
    for (; at > 0 && block.start.before(blocks[at - 1].start); --at) blocks[at] = blocks[at - 1];
    blocks[at] = block;
  }
  const uint64_t before = work.delivered;
  for (size_t i = 0; i < count; ++i) {
    board_.sack(blocks[i], [&](const SentRun& run) { note_delivered(run, work, false); });
  }
  work.sacked = work.delivered - before;
}

// RFC 5681 section 2; without SACK each one means a segment delivered.
void Sender::take_duplicate(AckWork& work) {
  work.plain_duplicate = !work.stale && !work.una_moved && !work.window_changed && work.info.pure && !board_.empty();
  // While data is sent again that the peer may have, its duplicates say nothing about the flight.
  const bool meaningful = state_ == State::kFast || (state_ != State::kTimeout && !had_recovery_);
  if (work.plain_duplicate && !sack_ && meaningful)
    work.delivered += dup_.on_duplicate(mss(), board_.outstanding_bytes());
}

// RFC 6298 section 3 (Karn): no sample from what was sent more than once, unless the timestamp tells which
// (RFC 7323 section 4.1: only ACKs that move una).
void Sender::take_rtt(const AckWork& work) {
  if (work.delivered > 0) {
    stats_.bytes_delivered += work.delivered;
    if (work.rate_from && *work.rate_from < work.now) {
      const double seconds = (work.now - *work.rate_from).to_seconds();
      const uint64_t bytes = stats_.bytes_delivered - work.rate_delivered;
      delivery_rate_ = static_cast<uint64_t>(static_cast<double>(bytes) / seconds);
    }
  }
  std::optional<Duration> sample;
  if (!work.retransmitted_acked) {
    const auto& sent = work.oldest_sent ? work.oldest_sent : work.newest_sent;
    if (sent) sample = work.now - *sent;
    if (work.newest_sent) rtt_.on_min_sample(work.now - *work.newest_sent, work.now);
  }
  if (!sample && work.una_moved && work.info.echo && work.info.echo->earliest <= work.now) {
    sample = work.now - work.info.echo->earliest;
  }
  if (!sample) return;
  const uint64_t samples_per_round = work.inflight_before / (2 * mss());  // RFC 7323 appendix G: one per two segments
  rtt_.on_sample(*sample, static_cast<uint32_t>(samples_per_round), work.now);
  rto_.on_rtt_sample();
}

// Was the latest reduction a mistake, or does a tail probe's answer ask for one?
void Sender::take_evidence(const AckWork& work) {
  if (work.dsack) {
    rack_.on_dsack(una_, nxt());
    undo_.on_dsack(*work.dsack);
  }
  frto_new_bytes_.reset();
  if (frto_.active()) {
    const bool waits = nxt() != limit() && room_in_peer_window(nxt()) > 0;
    const bool original = work.original_delivered && (sack_ || !work.retransmitted_acked);
    const auto verdict = frto_.on_ack({.una = una_,
                                       .nxt = nxt(),
                                       .una_moved = work.una_moved,
                                       .sacked_or_duplicate = work.sacked > 0 || work.plain_duplicate,
                                       .original_delivered = original,
                                       .new_data_waits = waits});
    if (verdict == Frto::Verdict::kSpurious) undo_reduction(work.now);
    if (verdict == Frto::Verdict::kSendNew) frto_new_bytes_ = 2 * mss();
  }
  if (undo_.proven_by_dsack() || (work.una_moved && undo_.proven_by_echo(work.info.echo))) undo_reduction(work.now);
  const std::optional<SeqNum> dsack_end = work.dsack ? std::optional(work.dsack->end) : std::nullopt;
  const bool repaired =
      tlp_.on_ack({.ack = work.info.ack, .dsack_end = dsack_end, .plain_duplicate = work.plain_duplicate});
  if (repaired && state_ == State::kOpen) {
    set_state(State::kReduced);
    had_recovery_ = true;
    recover_ = nxt();
    reduce_window(work.now, work.delivered);
  }
}

void Sender::undo_reduction(Instant now) {
  ++stats_.spurious;
  if (state_ == State::kFast) rack_.on_reordering();
  if (in_recovery()) board_.forget_losses();
  cc_->on_spurious(now);
  undo_.end();
  frto_.end();
  frto_new_bytes_.reset();
  forced_ = Forced::kNone;
  set_state(State::kOpen);
}

// RFC 6582 section 3.2 step 3 (full acknowledgment), RFC 6675 section 5.
void Sender::leave_recovery() {
  if (!had_recovery_ || una_.before(recover_)) return;
  if (state_ != State::kOpen) {
    if (state_ == State::kFast) rack_.on_recovery_end();
    frto_.end();
    frto_new_bytes_.reset();
    undo_.on_recovery_end(nxt());
    set_state(State::kOpen);
  }
  if (una_.after(recover_)) had_recovery_ = false;
}

// RFC 3168 section 6.1.2: one reduction per window; CWR on the next new data tells the peer, whatever the state.
void Sender::take_ecn(const AckWork& work) {
  if (ecn_reacted_ && una_.after(ecn_recover_)) ecn_reacted_ = false;
  if (!ecn_ || !work.info.ece || work.stale || ecn_reacted_) return;
  ecn_reacted_ = true;
  ecn_recover_ = nxt();
  cwr_pending_ = true;
  if (state_ != State::kOpen) return;  // reduced in this window already
  ++stats_.ecn_reductions;
  set_state(State::kReduced);
  had_recovery_ = true;
  recover_ = nxt();
  reduce_window(work.now, work.delivered);
}

void Sender::find_losses(AckWork& work) {
  bool retransmission_lost = false;
  if (sack_) {
    if (work.delivered == 0 && !work.dsack) return;
    work.lost = rack_.detect(board_, path(), work.now, [&](const SentRun& run) {
      retransmission_lost |= run.retransmitted && run.sent_at >= reduced_at_;
    });
  } else if (state_ == State::kFast && work.una_moved) {
    work.lost = board_.mark_head_lost(mss());  // partial acknowledgment: the next hole (RFC 6582 section 3.2 step 3)
  } else if (dup_.count() == DupAckCounter::kThreshold && !had_recovery_ && work.plain_duplicate) {
    // had_recovery_: duplicates of what was sent before the last recovery ended mean nothing (RFC 6582 section 3.2
    // step 2).
    work.lost = board_.mark_head_lost(mss());
  }
  if (work.lost > 0) on_loss(work.now, work.delivered, retransmission_lost);
}

void Sender::on_loss(Instant now, uint64_t delivered, bool retransmission_lost) {
  // RFC 5681 section 4.3: a lost retransmission is a second indication of congestion.
  const bool again = state_ == State::kFast && retransmission_lost;
  if (state_ == State::kTimeout || (state_ == State::kFast && !again)) return;
  const bool reduced_already = state_ == State::kReduced;
  set_state(State::kFast);
  tlp_.cancel();
  if (!reduced_already) reduce_window(now, delivered);
  if (again) return;
  ++stats_.recoveries;
  if (!reduced_already) undo_.begin(una_);
  had_recovery_ = true;
  partial_acked_ = false;
  recover_ = nxt();
}

void Sender::adjust_window(const AckWork& work) {
  if (state_ == State::kFast || state_ == State::kReduced) {
    prr_.on_ack({.delivered = work.delivered,
                 .inflight = inflight_bytes(),
                 .ssthresh = cc_->ssthresh(),
                 .mss = mss(),
                 .safe = work.una_moved && work.lost == 0});
  } else if (work.una_moved) {  // not for SACKs alone: limited transmit leaves the window as it is (RFC 3042)
    AckSample sample;
    sample.now = work.now;
    sample.delivered_bytes = work.delivered;
    sample.inflight_bytes = inflight_bytes();
    sample.una = una_;
    sample.nxt = nxt();
    if (work.newest_sent && !work.retransmitted_acked) sample.rtt = work.now - *work.newest_sent;
    sample.srtt = rtt_.srtt();
    sample.delivery_rate = delivery_rate_;
    sample.cwnd_limited = usage_.limited(cc_->in_slow_start(), cc_->cwnd());
    cc_->on_ack(sample);
  }
  update_pacing();
}

// Without SACK a recovery fills one hole per round trip.  The timer is restarted for the first partial ACK only, so
// that after many losses it ends the waiting (RFC 6582 section 3.2 step 3, section 4: the Impatient variant).
bool Sender::may_restart_timeout() const { return sack_ || state_ != State::kFast || !partial_acked_; }

void Sender::adjust_timers(const AckWork& work) {
  if (board_.empty()) {
    rto_.stop();
    tlp_.cancel();
    rack_.clear_deadline();
    dup_.reset();
    return;
  }
  if (work.una_moved && may_restart_timeout()) rto_.restart(work.now, rtt_.rto());  // RFC 6298 (5.3)
  if (work.una_moved && state_ == State::kFast) partial_acked_ = true;
  if (!may_probe_tail()) {
    tlp_.cancel();
  } else if (work.una_moved) {
    schedule_tail_probe(work.now);
  }
}

}  // namespace us
