// The half of the Receiver that answers: what may be acknowledged, when, and with what window; snapshots.
// Theory of operation: receiver.cc.
#include <algorithm>

#include "core/tcp/receiver.h"

namespace us {

namespace {

// An eighth of the buffer is for what rounding a scaled window adds (receive_window.h).
constexpr uint32_t kRoundingShare = 8;
// What one connection holds and offers is a quarter of the memory that is left, at most.  So all end up with the same,
// whoever came first, and a part stays free for those to come (dynamic thresholds of shared buffers: Choudhury and
// Hahne, IEEE/ACM Transactions on Networking 6(2), 1998).
constexpr uint32_t kPoolShare = 4;

}  // namespace

// What an ACK may name: a FIN on the guest's side only when the client has acknowledged it (tcp.md, rule 5).
SeqNum Receiver::ack_number() const {
  const bool holds_fin_back = config_.fin_ack_waits && !fin_ackable_ && finished() && ackable_ == next();
  return holds_fin_back ? *reassembly_.fin() : ackable_;
}

void Receiver::on_ackable(SeqRange range, Instant now) {
  if (range.start.at_or_before(ackable_)) {
    advance_ackable(earlier(range.end, next()), now);
    return;
  }
  // Ahead of a hole: RFC 5681 section 4.2 wants a duplicate ACK at once.
  // One range too many: impossible while records come in order, unless a restored state has lied.
  if (!ahead_.add(range)) return;
  if (config_.sack) sack_.on_data_ahead(range.start, ahead_);
  policy_.ack_now();
}

void Receiver::advance_ackable(SeqNum to, Instant now) {
  const bool hole_filled = !ahead_.empty();
  const SeqNum acked_before = ack_number();
  ackable_ = ahead_.advance(later(ackable_, to));
  const SeqNum ack = ack_number();
  if (ack == acked_before) return;
  echo_.on_ackable(ackable_, last_ack_sent_, now);
  const bool fin_included = finished() && ack == next();
  if (hole_filled || ack_when_ackable_ || fin_included) policy_.ack_now();
  ack_when_ackable_ = false;
  policy_.on_data(last_ack_sent_.distance_to(ack), segment_bytes_, now);
}

void Receiver::on_fin_ackable(Instant) {
  if (!fin_ackable_ && finished()) policy_.ack_now();
  fin_ackable_ = true;
}

// All that was taken may be acknowledged.
void Receiver::release_all(Instant now) {
  for (const SeqRange& range : held().ranges())
    if (const auto known = ahead_.containing(range.start); known != range) on_ackable(range, now);
  advance_ackable(next(), now);
}

void Receiver::set_ack_waits(bool waits, Instant now) {
  if (config_.ack_waits && !waits) release_all(now);
  config_.ack_waits = waits;
}

Receiver::Room Receiver::room_in(const RelayBuffer& buffer) const {
  const uint32_t room = buffer.room();
  const uint32_t reserve = config_.window_shift == 0 ? 0 : buffer.capacity() / kRoundingShare;
  const uint32_t share = buffer.bytes_free_in_pool() / kPoolShare;
  const uint32_t offered =
      std::min(room > reserve ? room - reserve : 0, share > buffer.size() ? share - buffer.size() : 0);
  // RFC 9293 section 3.8.6.2.2: min(half of the buffer, a segment).
  const uint32_t step = std::max<uint32_t>(std::min<uint32_t>(buffer.capacity() / 2, config_.segment_bytes_max), 1);
  return {buffer.end() + offered, buffer.end() + room, step};
}

AckOut Receiver::take_ack(const RelayBuffer& buffer, Instant) {
  const Room room = room_in(buffer);
  AckOut out;
  out.ack = ack_number();
  out.window = window_.offer(out.ack, room.capacity_edge, room.hard_edge, room.step);
  out.ece = congestion_seen_;
  if (config_.timestamps) out.timestamp_echo = echo_.recent();
  if (config_.sack) sack_.fill(out.ack, ahead_, out.sack);
  last_ack_sent_ = out.ack;
  policy_.on_ack_sent();
  if (sack_.unreported()) policy_.ack_now();
  return out;
}

std::optional<AckOut> Receiver::poll_ack(const RelayBuffer& buffer, Instant now) {
  if (!policy_.due(now)) {
    const Room room = room_in(buffer);
    if (!window_.update_due(ack_number(), next(), room.capacity_edge, room.step)) return std::nullopt;
  }
  return take_ack(buffer, now);
}

std::optional<Instant> Receiver::next_deadline() const {
  if (policy_.deadline() == Instant::far_future()) return std::nullopt;
  return policy_.deadline();
}

Status Receiver::on_logged(SeqRange stored, bool fin, Gather bytes, RelayBuffer& buffer) {
  const SeqNum end = fin ? stored.end - 1 : stored.end;
  const SeqNum place_end = buffer.end() + buffer.room();
  if (stored.empty() || total_size(bytes) != stored.start.distance_to(end) || end.after(place_end))
    return fail(ErrorKind::kProtocol, "ingress log: a record does not fit the connection");
  if (reassembly_.fin() && end.after(*reassembly_.fin()))
    return fail(ErrorKind::kProtocol, "ingress log: data after the FIN");
  const SeqRange wanted{later(stored.start, buffer.end()), end};
  if (wanted.start.before(wanted.end) && !reassembly_.take(stored.start, bytes, wanted, buffer).complete)
    return fail(ErrorKind::kRefused, "ingress log: no memory left in the pool");
  if (fin && !reassembly_.take_fin(end))
    return fail(ErrorKind::kProtocol, "ingress log: a FIN that contradicts the data");
  window_.raise_to(stored.end);
  return {};
}

void Receiver::take_over(const RelayBuffer& buffer, Instant now) {
  release_all(now);
  // What was reported before may not have arrived.
  if (config_.sack)
    for (const SeqRange& range : ahead_.ranges()) sack_.on_data_ahead(range.start, ahead_);
  last_ack_sent_ = ack_number();
  window_.raise_to(earlier(room_in(buffer).hard_edge, last_ack_sent_ + window_.window_max()));
  policy_.ack_now();
}

ReceiverState Receiver::snapshot(Instant now) const {
  ReceiverState s;
  s.config = config_;
  s.next = next();
  s.ackable = ackable_;
  s.last_ack_sent = last_ack_sent_;
  s.right_edge = window_.right_edge();
  s.fin = reassembly_.fin();
  s.fin_ackable = fin_ackable_;
  s.congestion_seen = congestion_seen_;
  s.ack_when_ackable = ack_when_ackable_;
  s.segment_bytes = segment_bytes_;
  s.answer_wait = std::max(next_answer_ - now, Duration());
  s.policy = policy_.snapshot(now);
  s.echo = echo_.snapshot(now);
  s.sack = sack_.snapshot();
  s.held.assign(held().ranges().begin(), held().ranges().end());
  s.ahead.assign(ahead_.ranges().begin(), ahead_.ranges().end());
  return s;
}

Result<Receiver> Receiver::restore(const ReceiverState& s, const RelayBuffer& buffer, Instant now) {
  US_TRY(check_receiver_state(s));
  US_ASSIGN(Reassembly reassembly, Reassembly::restore(s.next, s.fin, s.held, buffer));
  US_ASSIGN(const TimestampEcho echo, TimestampEcho::restore(s.echo, now));
  US_ASSIGN(RangeSet ahead, RangeSet::restore(s.ahead, s.ackable, s.right_edge, Reassembly::kRangesMax));
  Receiver out(s.config, std::move(reassembly), ReceiveWindow(s.right_edge, s.config.window_shift), echo);
  out.ackable_ = s.ackable;
  out.last_ack_sent_ = s.last_ack_sent;
  out.fin_ackable_ = s.fin_ackable;
  out.congestion_seen_ = s.congestion_seen;
  out.ack_when_ackable_ = s.ack_when_ackable;
  out.segment_bytes_ = s.segment_bytes;
  out.next_answer_ = now + s.answer_wait;
  out.policy_ = AckPolicy::restore(s.policy, now);
  out.sack_ = SackGenerator::restore(s.sack);
  out.ahead_ = std::move(ahead);
  return out;
}

}  // namespace us
