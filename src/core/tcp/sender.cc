// Construction, snapshot, and what the four parts share.
//
// Theory of operation.  The scoreboard says for each sent byte whether it is in flight, SACKed or lost.  Losses are
// found by RACK (or by duplicate ACKs, without SACK) and by the retransmission timer; what is lost is sent again before
// anything new, as far as two windows allow: the congestion window (congestion_control.h; inside of recovery prr.h)
// limits the bytes in flight, the peer's window limits the sequence numbers.
//
//              ECE, repaired tail                 una passes recover_
//      kOpen ---------------------> kReduced ----------------------------> kOpen
//        |  '--- loss found --> kFast <-- loss found --'   |
//        |                        |  '---------------------|-------------> kOpen
//        '------ timeout -----> kTimeout <---- timeout ----'  '- undone -> kOpen
//
// After a takeover everything in [una, committed) counts as lost in kOpen: it is sent again under a fresh window, no
// timer involved, and an ACK for any of it is valid, for the old host may have sent it.
#include "core/tcp/sender.h"

#include <algorithm>

#include "base/check.h"

namespace us {

Sender::Sender(const SenderState& state, const SenderConfig& config)
    : config_(&config),
      una_(state.una),
      committed_(state.committed),
      fin_(state.fin),
      sack_(state.sack),
      ecn_(state.ecn),
      peer_(state.peer),
      board_(state.una, config.runs_max),
      rtt_(config.rtt),
      tlp_(config.probe_min),
      rto_(config.retries_max, config.rtt.rto_max),
      persist_(config.retries_max, config.rtt.rto_max),
      pacer_(config.pacing),
      pmtu_(state.mss, config.mss_floor) {
  set_congestion_control(config.congestion);
}

Result<Sender> Sender::create(const SenderState& state, const SenderConfig& config) {
  US_TRY(check_sender_state(state));
  return Sender(state, config);
}

Result<Sender> Sender::restore(const SenderState& untrusted, const SenderConfig& config) {
  US_TRY(check_sender_state(untrusted));
  Sender sender(untrusted, config);
  if (const uint32_t span = sender.unacked_bytes(); span > 0) sender.board_.adopt(span);
  // Without SACK, the duplicate ACKs that sending again provokes must not look like a loss (RFC 6582 section 3.2 step
  // 2).
  sender.had_recovery_ = true;
  sender.recover_ = sender.nxt();
  return sender;
}

SenderState Sender::snapshot() const {
  return {.una = una_, .committed = committed_, .fin = fin_, .sack = sack_, .ecn = ecn_, .mss = mss(), .peer = peer_};
}

void Sender::on_committed(SeqNum committed) {
  US_CHECK(!fin_ && committed_.at_or_before(committed) && una_.distance_to(committed) <= SenderState::kSpanMax);
  committed_ = committed;
}

void Sender::on_fin() { fin_ = true; }

void Sender::set_congestion_control(CongestionKind kind) {
  cc_ = make_congestion_control(
      kind, {.mss = mss(), .initial_window_segments = config_->initial_window_segments, .paced = pacer_.enabled()});
  update_pacing();
}

uint64_t Sender::inflight_bytes() const {
  const uint64_t sent = board_.in_flight_bytes();
  return sent - std::min<uint64_t>(sent, dup_.bytes());
}

uint64_t Sender::window() const {
  const bool proportional = state_ == State::kReduced || state_ == State::kFast;
  return proportional && cc_->cwnd() < CongestionControl::kWindowMax ? prr_.window() : cc_->cwnd();
}

Rack::Path Sender::path() const {
  return {.min_rtt = rtt_.min_rtt(), .srtt = rtt_.srtt(), .mss = mss(), .in_recovery = in_recovery()};
}

void Sender::set_state(State to) {
  constexpr bool kAllowed[4][4] = {
      // to: kOpen, kReduced, kFast, kTimeout
      {true, true, true, true},    // kOpen
      {true, true, true, true},    // kReduced: again when a second tail probe repaired a loss
      {true, false, true, true},   // kFast: again when a retransmission was lost
      {true, false, false, true},  // kTimeout
  };
  US_CHECK(kAllowed[static_cast<size_t>(state_)][static_cast<size_t>(to)]);
  state_ = to;
}

// A congestion event: less window, and PRR on the way down.  `delivered`: by the ACK that brought it.
void Sender::reduce_window(Instant now, uint64_t delivered) {
  cc_->on_congestion_event(now);
  undo_.end();
  reduced_at_ = now;
  // RecoverFS of RFC 9937 section 6.2: what was not SACKed before this ACK.
  const uint64_t arrived = board_.sacked_bytes() + dup_.bytes();
  prr_.begin(board_.outstanding_bytes() - std::min<uint64_t>(board_.outstanding_bytes(), arrived) + delivered);
}

void Sender::update_pacing() {
  if (const auto rate = cc_->pacing_rate()) {
    pacer_.set_rate(*rate);
    return;
  }
  if (cc_->cwnd() >= CongestionControl::kWindowMax) {
    pacer_.set_rate(0);
    return;
  }
  const bool may_double = cc_->cwnd() < cc_->ssthresh() / 2;
  pacer_.set_rate(Pacer::rate_for(std::max(cc_->cwnd(), inflight_bytes()), rtt_.srtt(), may_double));
}

bool Sender::on_packet_too_big(uint32_t mss, SeqNum quoted) {
  if (board_.empty() || !quoted.in_window(una_, board_.outstanding_bytes())) return false;
  if (!pmtu_.on_too_big(mss)) return false;
  cc_->set_mss(pmtu_.mss());
  // What was too big is gone, but not by congestion: it is sent again in smaller pieces, the window stays
  // (RFC 1191 section 6.4 and RFC 8201 section 5.4 for TCP).
  board_.mark_lost([&](const SentRun& run) {
    return run.length > pmtu_.mss() ? Scoreboard::Judgement::kLost : Scoreboard::Judgement::kKeep;
  });
  return true;
}

std::optional<Instant> Sender::next_deadline() const {
  if (verdict_ != SenderVerdict::kAlive) return std::nullopt;
  std::optional<Instant> next;
  for (const auto& deadline : {rack_.deadline(), tlp_.deadline(), rto_.deadline(), persist_.deadline(), paced_until_}) {
    if (deadline && (!next || *deadline < *next)) next = deadline;
  }
  return next;
}

size_t Sender::memory_bytes() const { return sizeof(*this) + board_.memory_bytes() + cc_->memory_bytes(); }

}  // namespace us
