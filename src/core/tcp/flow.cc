// Theory of operation: docs/tcp-relay.md.  In short, what ties the halves together:
//
//   the guest says something        on_cut() marks it, on_commit() lets it go on: data and FIN to the sender, a reset
//   or
//                                   a keep-alive probe to the peer.  Solo: at once
//   the peer says something         data to the guest's sender at once, and into the log; on_ingress_durable() lets it
//                                   be acknowledged.  Solo: at once
//   the guest resets                that too is marked; it goes on when the peer has acknowledged what came before it
//   the peer acknowledges           egress is trimmed; a FIN that it acknowledges is acknowledged to the guest (rule 5)
//   the guest acknowledges          ingress is trimmed once that has committed: until then a takeover may need it again
//
// The urgent pointer is cleared and the bytes stay in line, as RFC 6093 section 3.4 observes of middleboxes: a relayed
// connection cannot be handed back to the endpoints, because each side has seen the relay's timestamps.
#include "core/tcp/flow.h"

#include <algorithm>

#include "base/check.h"

namespace us {
namespace {

// How long a peer that takes nothing more may hold up the end of a connection that the guest has reset; as long as
// Linux keeps an orphaned connection (tcp_orphan_retries).
constexpr Duration kResetPatience = Duration::seconds(60);

}  // namespace

const char* to_string(FlowEnd end) {
  switch (end) {
    case FlowEnd::kOpen:
      return "open";
    case FlowEnd::kClosed:
      return "closed";
    case FlowEnd::kPeerReset:
      return "reset by the peer";
    case FlowEnd::kGuestReset:
      return "reset by the guest";
    case FlowEnd::kPeerDead:
      return "the peer is gone";
    case FlowEnd::kGuestDead:
      return "the guest takes no data";
  }
  return "?";
}

Flow::Flow(const FlowContext& context, const FlowState& state, Sender to_peer, Sender to_guest, Receiver from_guest,
           Receiver from_peer, RelayBuffer egress, RelayBuffer ingress, TimestampClock peer_clock,
           TimestampClock guest_clock)
    : context_(context),
      id_(state.id),
      guest_opened_(state.guest_opened),
      timestamps_(state.timestamps),
      as_guest_(state.as_guest),
      as_peer_(state.as_peer),
      to_peer_(std::move(to_peer)),
      to_guest_(std::move(to_guest)),
      from_guest_(std::move(from_guest)),
      from_peer_(std::move(from_peer)),
      egress_(std::move(egress)),
      ingress_(std::move(ingress)),
      peer_clock_(std::move(peer_clock)),
      guest_clock_(std::move(guest_clock)),
      embargo_(!context.solo),
      guest_reset_(state.guest_reset),
      keep_alive_(state.keep_alive),
      guest_acked_(to_guest_.una()) {}

Result<std::unique_ptr<Flow>> Flow::open(const FlowContext& context, const FlowState& state, Instant now) {
  US_ASSIGN(Sender to_peer, Sender::create(state.to_peer, context.peer_sender));
  US_ASSIGN(Sender to_guest, Sender::create(state.to_guest, context.guest_sender));
  RelayBuffer egress(context.pool, state.from_guest.next, state.egress_capacity);
  RelayBuffer ingress(context.pool, state.from_peer.next, state.ingress_capacity);
  US_ASSIGN(Receiver from_guest, Receiver::restore(state.from_guest, egress, now));
  US_ASSIGN(Receiver from_peer, Receiver::restore(state.from_peer, ingress, now));
  US_ASSIGN(TimestampClock peer_clock, TimestampClock::restore(state.peer_clock, now));
  US_ASSIGN(TimestampClock guest_clock, TimestampClock::restore(state.guest_clock, now));
  std::unique_ptr<Flow> flow(new Flow(context, state, std::move(to_peer), std::move(to_guest), std::move(from_guest),
                                      std::move(from_peer), std::move(egress), std::move(ingress),
                                      std::move(peer_clock), std::move(guest_clock)));
  flow->on_policy_changed(now);
  return flow;
}

Result<std::unique_ptr<Flow>> Flow::wake(const FlowContext& context, const FlowState& state,
                                         const FlowCounters& counters, Instant now) {
  US_ASSIGN(std::unique_ptr<Flow> flow, open(context, state, now));
  flow->embargo_ = false;
  flow->counters_ = counters;
  return flow;
}

bool Flow::at_rest() const {
  const auto quiet = [](const Receiver& r) {
    return r.last_ack_sent() == r.next() && r.ackable() == r.next() && r.held().empty() && !r.finished() &&
           !r.next_deadline();
  };
  const auto done = [](const Sender& s) { return s.idle() && !s.fin_committed() && !s.next_deadline(); };
  const bool something_due = embargo_ || guest_reset_ || reset_peer_ || reset_guest_ || keep_alive_ || probe_peer_ ||
                             awaiting_answer_ || bound_on_its_way_ || !marks_.empty();
  return !ended() && !something_due && quiet(from_guest_) && quiet(from_peer_) && done(to_peer_) && done(to_guest_) &&
         egress_.size() == 0 && ingress_.size() == 0;
}

void Flow::greet(Instant) {
  from_guest_.request_ack();
  from_peer_.request_ack();
}

Result<std::unique_ptr<Flow>> Flow::restore(const FlowContext& context, const RestoredFlow& restored, Instant now) {
  const FlowState& state = restored.state;
  const auto buffer = [&](const LoggedBytes& bytes, uint32_t capacity) {
    return RelayBuffer::restore({bytes.range.start, bytes.range.end, capacity}, bytes.gather(), context.pool,
                                RelayBuffer::kCapacityMax);
  };
  US_ASSIGN(RelayBuffer egress, buffer(restored.egress, state.egress_capacity));
  US_ASSIGN(RelayBuffer ingress, buffer(restored.ingress, state.ingress_capacity));
  for (const LoggedBytes& held : restored.held) {
    SeqNum at = held.range.start;
    for (const ByteSpan piece : held.pieces) at += ingress.store(at, piece);
    if (at != held.range.end) return fail(ErrorKind::kRefused, "relay: no memory left in the pool");
  }
  US_ASSIGN(Receiver from_guest, Receiver::restore(state.from_guest, egress, now));
  US_ASSIGN(Receiver from_peer, Receiver::restore(state.from_peer, ingress, now));
  for (const LoggedIngress& later : restored.later)
    US_TRY(from_peer.on_logged(later.stored, later.fin, later.gather(), ingress));
  from_peer.take_over(ingress, now);
  US_ASSIGN(Sender to_peer, Sender::restore(state.to_peer, context.peer_sender));
  US_ASSIGN(Sender to_guest, Sender::restore(state.to_guest, context.guest_sender));
  if (!to_guest.fin_committed()) {
    to_guest.on_committed(ingress.end());
    if (from_peer.finished()) to_guest.on_fin();
  }
  US_ASSIGN(TimestampClock peer_clock, TimestampClock::restore(state.peer_clock, now));
  US_ASSIGN(TimestampClock guest_clock, TimestampClock::restore(state.guest_clock, now));
  peer_clock.take_over(now);
  std::unique_ptr<Flow> flow(new Flow(context, state, std::move(to_peer), std::move(to_guest), std::move(from_guest),
                                      std::move(from_peer), std::move(egress), std::move(ingress),
                                      std::move(peer_clock), std::move(guest_clock)));
  flow->on_policy_changed(now);
  return flow;
}

// ---- the guest's side ----

GuestSaid Flow::on_guest_segment(const FrameView& frame, Gather payload, Instant now) {
  GuestSaid said = GuestSaid::kNothing;
  const SeqNum acked_before = to_guest_.una();
  changed_ = true;
  Segment segment = frame.segment;
  if (segment.has(tcp_flag::kUrg)) {
    segment.flags &= static_cast<uint16_t>(~tcp_flag::kUrg);
    ++counters_.urgent_cleared;
  }
  const SeqNum end_before = egress_.end();
  const Received received = from_guest_.on_segment(segment, payload, bounds_of(to_guest_), egress_, now);
  if (received.ack_valid) on_guest_ack(segment, now);
  if (acked_before != to_guest_.una()) said = judge_ack();
  switch (received.verdict) {
    case ReceiveVerdict::kAccepted:
      take_from_guest(received, end_before, segment, now);
      if (!received.stored.empty()) said = std::max(said, received.fin ? GuestSaid::kResponse : judge_data());
      break;
    case ReceiveVerdict::kReset:
      guest_reset_ = true;
      said = GuestSaid::kResponse;
      note_guest_said(now);
      break;
    case ReceiveVerdict::kKeepAlive:
      keep_alive_ = true;
      said = GuestSaid::kResponse;
      note_guest_said(now);
      break;
    default:
      ++counters_.dropped_segments;
  }
  check_finished();
  return said;
}

void Flow::take_from_guest(const Received& received, SeqNum end_before, const Segment&, Instant now) {
  if (received.stored.empty()) return;
  const SeqNum end = egress_.end();
  counters_.egress_bytes += end_before.distance_to(end);
  note_burst(egress_.start() == end_before, end_before.distance_to(end), now);
  egress_.for_each(end_before, end, [&, at = end_before](ByteSpan bytes) mutable {
    context_.log.append_egress(context_.nic, id_, at, bytes);
    at += static_cast<uint32_t>(bytes.size());
  });
  note_guest_said(now);
}

void Flow::on_guest_ack(const Segment& segment, Instant now) {
  to_guest_.on_ack(ack_info(segment, guest_clock_, now), now);
  if (context_.solo) on_guest_acked(to_guest_.una(), now);
}

void Flow::note_burst(bool was_empty, uint64_t bytes, Instant now) {
  const int64_t silence_us = (now - burst_at_).to_micros();
  const uint64_t leaked =
      static_cast<uint64_t>(std::clamp<int64_t>(silence_us, 0, 1'000'000)) * kBurstLeakPerSecond / 1'000'000;
  burst_bytes_ = (was_empty ? 0 : burst_bytes_ - std::min(burst_bytes_, leaked)) + bytes;
  burst_at_ = now;
}

GuestSaid Flow::judge_data() const {
  const SeqNum cut = marks_.empty() ? to_peer_.committed() : marks_.back().taken;
  if (cut.distance_to(egress_.end()) > egress_.capacity() / 2) return GuestSaid::kResponse;
  return burst_bytes_ <= kBurstMax ? GuestSaid::kResponse : GuestSaid::kBulk;
}

// Toward the peer the guest's ACK is news only where the relay does not ACK by itself; and it makes room.
GuestSaid Flow::judge_ack() const {
  const SeqNum cut = marks_.empty() ? guest_acked_ : marks_.back().guest_acked;
  const bool wanted = !context_.options.ack_peer || cut.distance_to(to_guest_.una()) > ingress_.capacity() / 2;
  return wanted ? GuestSaid::kResponse : GuestSaid::kNothing;
}

// In solo what the guest says is committed the moment it is said.
void Flow::note_guest_said(Instant now) {
  if (context_.solo)
    apply_mark({Epoch{}, egress_.end(), to_guest_.una(), from_guest_.finished(), guest_reset_, keep_alive_}, now);
}

// ---- the peer's side ----

void Flow::on_peer_segment(const FrameView& frame, Gather payload, Instant now) {
  changed_ = true;
  Segment segment = frame.segment;
  if (segment.has(tcp_flag::kUrg)) {
    segment.flags &= static_cast<uint16_t>(~tcp_flag::kUrg);
    ++counters_.urgent_cleared;
  }
  const Received received = from_peer_.on_segment(segment, payload, bounds_of(to_peer_), ingress_, now);
  if (received.ack_valid) on_peer_ack(segment, now);
  if (received.verdict == ReceiveVerdict::kAccepted) {
    if (awaiting_answer_) from_guest_.request_ack();
    awaiting_answer_ = false;
    take_from_peer(received, segment, now);
  } else if (received.verdict == ReceiveVerdict::kReset) {
    // Behind a FIN it says nothing of the bytes before it: they have been acknowledged, maybe in another primary's
    // time, and a peer that has closed long ago answers a new primary's first segment in this way.
    peer_reset_ = true;
  } else {
    ++counters_.dropped_segments;
  }
  check_finished();
}

void Flow::take_from_peer(const Received& received, const Segment&, Instant now) {
  if (received.stored.empty()) return;
  const SeqNum data_end = received.fin ? received.stored.end - 1 : received.stored.end;
  counters_.ingress_bytes += received.stored.start.distance_to(data_end);
  if (context_.log.enabled()) {
    // A record may have to be split; only the last piece carries the FIN.
    SeqNum at = received.stored.start;
    if (at == data_end) context_.log.append_ingress(context_.nic, id_, received.stored, received.fin, {});
    while (at != data_end) {
      const RelayBuffer::Spans bytes =
          ingress_.peek_stored(at, std::min(at.distance_to(data_end), RelayBuffer::kPeekBytes));
      const SeqNum end = at + bytes.size();
      const bool last = end == data_end;
      context_.log.append_ingress(context_.nic, id_, {at, last ? received.stored.end : end}, last && received.fin,
                                  bytes);
      at = end;
    }
  }
  if (context_.solo && context_.options.ack_peer) from_peer_.on_ackable(received.stored, now);
  if (!to_guest_.fin_committed()) {
    to_guest_.on_committed(ingress_.end());
    if (from_peer_.finished()) to_guest_.on_fin();
  }
}

void Flow::on_peer_ack(const Segment& segment, Instant now) {
  const SeqNum before = to_peer_.una();
  to_peer_.on_ack(ack_info(segment, peer_clock_, now), now);
  const SeqNum una = to_peer_.una();
  if (una == before) return;
  egress_.trim_to(earlier(una, egress_.end()));
  if (!context_.options.ack_guest) from_guest_.on_ackable({before, una}, now);  // FIN included
  if (to_peer_.fin_acked()) from_guest_.on_fin_ackable(now);
  if (reset_peer_at_) postpone_reset(now);
}

void Flow::on_packet_too_big(uint32_t ip_bytes, SeqNum quoted) {
  // The options of every segment are the timestamps, or nothing; SACK blocks ride on segments without data.
  const uint32_t headers = as_guest_.ip_tcp_header_bytes(timestamps_ ? 12 : 0);
  if (ip_bytes > headers) to_peer_.on_packet_too_big(ip_bytes - headers, quoted);
}

// ---- epochs and durability ----

void Flow::on_cut(Epoch epoch) {
  if (!marks_.empty()) {
    const Mark& last = marks_.back();
    if (last.taken == egress_.end() && last.guest_acked == to_guest_.una() && last.fin == from_guest_.finished() &&
        !guest_reset_ && !keep_alive_)
      return;  // nothing new since an epoch that has not committed yet
  }
  marks_.push_back({epoch, egress_.end(), to_guest_.una(), from_guest_.finished(), guest_reset_, keep_alive_});
  keep_alive_ = false;
}

void Flow::on_commit(Epoch epoch, Instant now) {
  auto first_left = marks_.begin();
  for (; first_left != marks_.end() && first_left->epoch <= epoch; ++first_left) apply_mark(*first_left, now);
  marks_.erase(marks_.begin(), first_left);
}

void Flow::apply_mark(const Mark& mark, Instant now) {
  embargo_ = false;
  if (!to_peer_.fin_committed()) {
    if (to_peer_.committed().before(mark.taken)) to_peer_.on_committed(mark.taken);
    if (mark.fin) to_peer_.on_fin();
  }
  on_guest_acked(mark.guest_acked, now);
  if (mark.reset && !reset_peer_at_) postpone_reset(now);
  if (mark.keep_alive) probe_peer_ = true;
  if (context_.solo) keep_alive_ = false;
}

// A reset discards what lies on the way.  What the guest holds to be delivered, because we have ACKed it, must be
// delivered before; but only as long as the peer takes it.
void Flow::postpone_reset(Instant now) {
  reset_peer_at_ = now + kResetPatience;
  if (peer_reset_ || to_peer_.unacked_bytes() == 0) reset_peer_ = true;
}

// What a committed guest has, no takeover needs again: it may be acknowledged to the peer whatever the mode (the log
// may have become durable while `ack_peer` was off).
void Flow::on_guest_acked(SeqNum acked, Instant now) {
  guest_acked_ = later(guest_acked_, acked);
  // The FIN that the guest has acknowledged is no byte of the buffer.
  const SeqNum to = earlier(guest_acked_, ingress_.end());
  if (ingress_.start().before(to)) ingress_.trim_to(to);
  if (from_peer_.ackable().before(guest_acked_)) from_peer_.on_ackable({from_peer_.ackable(), guest_acked_}, now);
}

void Flow::on_open_durable() {
  if (!guest_opened_) embargo_ = false;
}

void Flow::on_ingress_durable(SeqRange range, Instant now) {
  if (context_.options.ack_peer) from_peer_.on_ackable(range, now);
}

void Flow::on_policy_changed(Instant now) {
  from_peer_.set_ack_waits(!context_.solo || !context_.options.ack_peer, now);
  from_guest_.set_ack_waits(!context_.options.ack_guest, now);
  to_peer_.set_congestion_control(context_.options.recovery ? context_.peer_sender.congestion : CongestionKind::kNone);
  to_peer_.set_pacing(context_.options.recovery && context_.peer_sender.pacing);
  if (!context_.solo) return;
  marks_.clear();
  apply_mark({Epoch{}, egress_.end(), to_guest_.una(), from_guest_.finished(), guest_reset_, keep_alive_}, now);
}

void Flow::log_everything(Instant now) {
  RelayLog& log = context_.log;
  log.append_open(context_.nic, snapshot(now));
  changed_ = true;  // the first epoch carries every flow
  egress_.for_each(egress_.start(), egress_.end(), [&, at = egress_.start()](ByteSpan bytes) mutable {
    log.append_egress(context_.nic, id_, at, bytes);
    at += static_cast<uint32_t>(bytes.size());
  });
  const auto log_ingress = [&](SeqRange range) {
    ingress_.for_each(range.start, range.end, [&, at = range.start](ByteSpan bytes) mutable {
      const SeqNum end = at + static_cast<uint32_t>(bytes.size());
      log.append_ingress(context_.nic, id_, {at, end}, false, Gather(&bytes, 1));
      at = end;
    });
  };
  log_ingress({ingress_.start(), ingress_.end()});
  for (SeqRange held : from_peer_.held().ranges()) {
    if (from_peer_.fin() && held.end == *from_peer_.fin() + 1) held.end = *from_peer_.fin();  // its number is no byte
    log_ingress(held);
  }
  bound_on_its_way_.reset();
  if (timestamps_) log.append_clock_bound(context_.nic, id_, peer_clock_.bound());
}

void Flow::check_finished() {
  const bool egress_done = to_peer_.fin_acked() && from_guest_.last_ack_sent() == from_guest_.next();
  const bool ingress_done = to_guest_.fin_acked() && from_peer_.last_ack_sent() == from_peer_.next();
  if (egress_done && ingress_done) end_ = FlowEnd::kClosed;
}

// ---- shared ----

AckBounds Flow::bounds_of(const Sender& sender) const {
  return {sender.una() - sender.peer_window().largest, sender.nxt()};
}

AckInfo Flow::ack_info(const Segment& segment, const TimestampClock& clock, Instant now) const {
  AckInfo info;
  info.seq = segment.seq;
  info.ack = segment.ack;
  info.window = segment.window;
  info.pure = segment.seq_length() == 0;
  info.ece = segment.has(tcp_flag::kEce);
  info.sack = segment.options.sack();
  if (timestamps_ && segment.options.timestamps && clock.is_own(segment.options.timestamps->echo, now)) {
    const Instant sent = now - clock.age(segment.options.timestamps->echo, now);
    info.echo = EchoTime{sent, sent + Duration::millis(1) - Duration::nanos(1)};
  }
  return info;
}

FlowState Flow::snapshot(Instant now) {
  changed_ = false;
  FlowState state;
  state.id = id_;
  state.guest_opened = guest_opened_;
  state.timestamps = timestamps_;
  state.as_guest = as_guest_.snapshot();
  state.as_peer = as_peer_.snapshot();
  state.to_peer = to_peer_.snapshot();
  state.to_peer.committed = egress_.end();
  state.to_peer.fin = from_guest_.finished();
  state.to_guest = to_guest_.snapshot();
  state.from_guest = from_guest_.snapshot(now);
  // What the guest sent ahead of a hole is not logged: it will send it again.
  state.from_guest.held.clear();
  state.from_guest.ahead.clear();
  state.from_peer = from_peer_.snapshot(now);
  state.peer_clock = peer_clock_.snapshot(now);
  state.guest_clock = guest_clock_.snapshot(now);
  state.egress_capacity = egress_.capacity();
  state.ingress_capacity = ingress_.capacity();
  state.guest_reset = guest_reset_;
  state.keep_alive =
      keep_alive_ || std::any_of(marks_.begin(), marks_.end(), [](const Mark& mark) { return mark.keep_alive; });
  state.position = context_.log.position();
  return state;
}

size_t Flow::memory_bytes() const {
  return sizeof *this + to_peer_.memory_bytes() + to_guest_.memory_bytes() + egress_.bytes_held() +
         ingress_.bytes_held();
}

}  // namespace us
