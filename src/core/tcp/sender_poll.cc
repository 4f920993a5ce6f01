// What is sent next: what a timer has asked for, then what is lost, then new data.
#include <algorithm>

#include "base/check.h"
#include "core/tcp/sender.h"

namespace us {

std::optional<SegmentOut> Sender::poll_segment(Instant now) {
  if (verdict_ != SenderVerdict::kAlive) return std::nullopt;
  blocked_by_cwnd_ = false;
  paced_until_.reset();
  if (forced_ != Forced::kNone) {
    if (auto segment = poll_forced(now)) return segment;
  }
  if (frto_new_bytes_) {
    if (auto segment = poll_for_frto(now)) return segment;
    if (frto_new_bytes_) return std::nullopt;
  }
  if (board_.lost_bytes() > 0) {
    if (auto segment = poll_retransmission(now)) return segment;
  }
  // Nothing new while windows of our own hold back what is lost.
  if (nxt() != limit() && !blocked_by_cwnd_ && !paced_until_) {
    if (auto segment = poll_new(now)) return segment;
  }
  when_nothing_was_sent(now);
  return std::nullopt;
}

std::optional<SegmentOut> Sender::poll_forced(Instant now) {
  const Forced forced = forced_;
  forced_ = Forced::kNone;
  switch (forced) {
    case Forced::kTailProbe:
      return send_tail_probe(now);
    case Forced::kTimeoutHead:
      return send_timeout_head(now);
    case Forced::kWindowProbe:
      return send_window_probe(now);
    case Forced::kNone:
      break;
  }
  return std::nullopt;
}

// Bytes from `from` on that the peer has offered to take.
uint32_t Sender::room_in_peer_window(SeqNum from) const {
  const SeqNum edge = peer_.edge();
  return edge.after(from) ? from.distance_to(edge) : 0;
}

// How much of `length` the congestion window takes: all, or whole segments.
uint32_t Sender::fit_into_window(uint32_t length) {
  const uint64_t used = inflight_bytes();
  uint64_t room = window() > used ? window() - used : 0;
  if (used == 0) room = std::max<uint64_t>(room, mss());  // there is no ACK to wait for
  if (length <= room) return length;
  const uint32_t whole = static_cast<uint32_t>(room / mss()) * mss();
  if (whole == 0) blocked_by_cwnd_ = true;
  return whole;
}

bool Sender::paced_out(Instant now) {
  if (pacer_.may_send(now)) return false;
  paced_until_ = pacer_.next_send();
  return true;
}

std::optional<SegmentOut> Sender::poll_retransmission(Instant now) {
  const SeqRange lost = board_.first_lost();
  const uint32_t most =
      std::min({lost.length(), pacer_.burst_bytes(mss(), config_->burst_bytes_max), room_in_peer_window(lost.start)});
  if (most == 0) return std::nullopt;
  const uint32_t length = fit_into_window(most);
  if (length == 0 || paced_out(now)) return std::nullopt;
  return send({lost.start, lost.start + length}, true, now);
}

// Length of the next new segment as far as data, the peer's window and the burst limit say; FIN included.  0: nothing.
uint32_t Sender::new_length(uint32_t most) const {
  const uint32_t data = nxt().before(committed_) ? nxt().distance_to(committed_) : 0;
  const uint32_t usable = room_in_peer_window(nxt());
  uint32_t length = std::min({data, most, usable});
  if (length == data) {
    const bool fin_fits = fin_ && usable > data;
    return length + (fin_fits ? 1 : 0);
  }
  // More waits than goes: whole segments, so that no small one ends up in the middle of the stream.
  if (length >= mss()) return length - length % mss();
  // Less than a segment, because of the peer's window: silly (RFC 9293 section 3.8.6.2.1), unless it is half of the
  // largest window or the override timer says so.  Without Nagle: what is committed waits for nothing else.
  return length >= (peer_.largest + 1) / 2 || window_override_ ? length : 0;
}

std::optional<SegmentOut> Sender::poll_new(Instant now) {
  restart_after_idle(now);
  const uint32_t most = new_length(pacer_.burst_bytes(mss(), config_->burst_bytes_max));
  if (most == 0) return std::nullopt;
  const uint32_t length = fit_into_window(most);
  if (length == 0 || paced_out(now)) return std::nullopt;
  return send({nxt(), nxt() + length}, false, now);
}

// RFC 5682 section 3.1 step 2b: two segments of new data, beyond the window if need be, and nothing else until the
// next ACK.
std::optional<SegmentOut> Sender::poll_for_frto(Instant now) {
  const uint32_t length = *frto_new_bytes_ > 0 && nxt() != limit() ? new_length(std::min(*frto_new_bytes_, mss())) : 0;
  if (length == 0) {
    if (*frto_new_bytes_ == 2 * mss()) {  // none at all: the question stays open, recovery goes on
      frto_.end();
      frto_new_bytes_.reset();
    }
    return std::nullopt;
  }
  *frto_new_bytes_ -= std::min(*frto_new_bytes_, length);
  return send({nxt(), nxt() + length}, false, now);
}

// RFC 5681 section 4.1 by way of RFC 2861: after a silence of more than an RTO the window is no longer to be trusted.
void Sender::restart_after_idle(Instant now) {
  if (!board_.empty() || !last_sent_at_) return;
  const Duration idle = now - *last_sent_at_;
  if (idle < rtt_.rto()) return;
  cc_->on_idle(idle, rtt_.rto());
  last_sent_at_ = now;
  update_pacing();
}

SegmentOut Sender::send(SeqRange range, bool retransmission, Instant now) {
  SegmentOut segment{.seq = range.start, .length = range.length(), .mss = mss(), .retransmission = retransmission};
  segment.fin = fin_ && range.end == limit();
  if (segment.fin) --segment.length;
  segment.push = range.end == limit();
  if (retransmission) {
    board_.on_retransmitted(range, now, stats_.bytes_delivered);
    undo_.on_retransmitted(range, now);
    stats_.bytes_retransmitted += range.length();
    // The oldest byte gets its full time again.
    if (range.start == una_ && may_restart_timeout()) rto_.restart(now, rtt_.rto());
  } else {
    board_.on_sent(range.length(), now, stats_.bytes_delivered);
    stats_.bytes_sent += range.length();
    segment.ect = ecn_;  // RFC 3168 section 6.1.5: new data only
    segment.cwr = cwr_pending_;
    cwr_pending_ = false;
  }
  last_sent_at_ = now;
  window_override_ = false;
  prr_.on_sent(range.length());
  pacer_.on_sent(range.length(), now);
  persist_.stop();
  rto_.start_if_idle(now, rtt_.rto());  // RFC 6298 (5.1)
  if (!retransmission && may_probe_tail()) schedule_tail_probe(now);
  return segment;
}

// RFC 8985 section 7.3: new data if there is any, whatever the congestion window says, else the last segment again.
std::optional<SegmentOut> Sender::send_tail_probe(Instant now) {
  if (!may_probe_tail()) return std::nullopt;
  ++stats_.tail_probes;
  std::optional<SegmentOut> segment;
  if (const uint32_t length = new_length(mss()); nxt() != limit() && length > 0) {
    segment = send({nxt(), nxt() + length}, false, now);
  } else {
    const uint32_t last = std::min(mss(), board_.tail().length);
    if (nxt().after(peer_.edge())) return std::nullopt;
    segment = send({nxt() - last, nxt()}, true, now);
  }
  tlp_.on_probe_sent(nxt(), segment->retransmission);
  rto_.restart(now, rtt_.rto());
  return segment;
}

// RFC 6298 (5.4): the oldest segment, whatever else is in flight.
std::optional<SegmentOut> Sender::send_timeout_head(Instant now) {
  if (board_.lost_bytes() == 0 || board_.first_lost().start != una_) return std::nullopt;
  const uint32_t length = std::min({mss(), board_.first_lost().length(), room_in_peer_window(una_)});
  if (length == 0) return std::nullopt;
  return send({una_, una_ + length}, true, now);
}

// RFC 9293 section 3.8.6.1: one byte that the window does not allow.  It counts as lost at once, for nobody can tell
// whether the peer takes it; when it does, the ACK says so.
std::optional<SegmentOut> Sender::send_window_probe(Instant now) {
  if (board_.in_flight_bytes() > 0) return std::nullopt;
  const bool again = board_.lost_bytes() > 0;
  const SeqNum at = again ? board_.first_lost().start : nxt();
  if (at == limit() || room_in_peer_window(at) > 0) return std::nullopt;
  ++stats_.window_probes;
  SegmentOut segment{.seq = at, .length = 1, .mss = mss(), .retransmission = again};
  segment.fin = fin_ && at == committed_;
  if (segment.fin) segment.length = 0;
  if (again) {
    board_.on_retransmitted({at, at + 1}, now, stats_.bytes_delivered);
    board_.mark_lost([](const SentRun&) { return Scoreboard::Judgement::kLost; });
  } else {
    board_.on_sent(1, now, stats_.bytes_delivered);
    board_.mark_tail_lost(1);
  }
  return segment;
}

// Leaves a timer running for everything that is not acknowledged, or nothing would ever wake this sender.
void Sender::when_nothing_was_sent(Instant now) {
  usage_.on_burst(una_, nxt(), inflight_bytes(), blocked_by_cwnd_);
  const bool waits = board_.lost_bytes() > 0 || nxt() != limit();
  // Nothing in flight whose ACK would open the window, and neither window nor pacing of our own holds back: it is the
  // peer's window.  The retransmission timer must not count this against the peer.
  const bool shut_out = waits && board_.in_flight_bytes() == 0 && !blocked_by_cwnd_ && !paced_until_;
  if (shut_out) {
    persist_.start_if_idle(now, rtt_.rto());
    if (!board_.head_is_sacked()) {
      rto_.stop();
      return;
    }
  } else {
    persist_.stop();
  }
  if (!board_.empty()) rto_.start_if_idle(now, rtt_.rto());
}

}  // namespace us
