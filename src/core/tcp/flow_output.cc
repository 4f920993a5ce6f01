// Flow's outputs: which frame goes next to each side.  See flow.h.
#include <algorithm>

#include "core/tcp/flow.h"

namespace us {
namespace {

void set_flags(Segment& segment, const SegmentOut& out) {
  if (out.fin) segment.flags |= tcp_flag::kFin;
  if (out.push) segment.flags |= tcp_flag::kPsh;
  if (out.cwr) segment.flags |= tcp_flag::kCwr;
}

}  // namespace

// ---- to the peer ----

std::optional<FlowFrame> Flow::poll_to_peer(Instant now) {
  if (embargo_ || ended()) return std::nullopt;
  if (reset_peer_) return reset_to_peer(now);
  if (peer_reset_) return std::nullopt;
  if (probe_peer_) return keep_alive_to_peer(now);
  if (const auto out = to_peer_.poll_segment(now)) {
    changed_ = true;
    want_clock_bound(now);
    Segment segment = segment_to_peer(now);
    segment.seq = out->seq;
    set_flags(segment, *out);
    segment.ecn = out->ect ? Ecn::kEct0 : Ecn::kNotEct;
    if (out->length > out->mss) segment.gso_size = static_cast<uint16_t>(out->mss);
    const RelayBuffer::Spans payload = egress_.peek(out->seq, out->length);
    return build_to_peer(segment, from_peer_.take_ack(ingress_, now), payload, now);
  }
  if (const auto ack = from_peer_.poll_ack(ingress_, now)) {
    want_clock_bound(now);
    Segment segment = segment_to_peer(now);
    const FlowFrame frame = build_to_peer(segment, *ack, {}, now);
    check_finished();
    return frame;
  }
  return std::nullopt;
}

Segment Flow::segment_to_peer(Instant) const {
  Segment segment;
  segment.seq = to_peer_.nxt();
  segment.flags = tcp_flag::kAck;
  return segment;
}

FlowFrame Flow::build_to_peer(Segment& segment, const AckOut& ack, const RelayBuffer::Spans& payload, Instant now) {
  segment.payload_length = payload.size();
  ack.write_to(segment, timestamps_ ? peer_clock_.value(now) : 0);
  return {as_guest_.build(segment, payload, ChecksumMode::kPartial), payload};
}

FlowFrame Flow::reset_to_peer(Instant now) {
  Segment segment = segment_to_peer(now);
  segment.flags |= tcp_flag::kRst;
  end_ = guest_reset_ ? FlowEnd::kGuestReset : FlowEnd::kGuestDead;
  return build_to_peer(segment, from_peer_.take_ack(ingress_, now), {}, now);
}

// The guest's probe, passed on: a sequence number that was acknowledged before (RFC 9293 section 3.8.4).
FlowFrame Flow::keep_alive_to_peer(Instant now) {
  probe_peer_ = false;
  awaiting_answer_ = true;
  Segment segment = segment_to_peer(now);
  segment.seq = to_peer_.una() - 1;
  return build_to_peer(segment, from_peer_.take_ack(ingress_, now), {}, now);
}

// The bound is leased from the standby before the clock reaches it (rule 3).
void Flow::want_clock_bound(Instant now) {
  if (!timestamps_) return;
  const std::optional<uint32_t> bound = peer_clock_.wanted_bound(now);
  if (!bound) {
    bound_on_its_way_.reset();
    return;
  }
  if (!context_.log.enabled()) {
    peer_clock_.on_bound_durable(*bound, now);
  } else if (!bound_on_its_way_) {
    bound_on_its_way_ = *bound;
    context_.log.append_clock_bound(context_.nic, id_, *bound);
  }
}

// ---- to the guest ----

std::optional<FlowFrame> Flow::poll_to_guest(Instant now) {
  if (ended()) return std::nullopt;
  if (peer_reset_ && (!from_peer_.finished() || to_guest_.fin_acked())) reset_guest_ = true;
  if (reset_guest_) return reset_to_guest(now);
  if (guest_reset_) return std::nullopt;  // it listens no more
  Segment segment;
  segment.flags = tcp_flag::kAck;
  if (const auto out = to_guest_.poll_segment(now)) {
    changed_ = true;
    segment.seq = out->seq;
    set_flags(segment, *out);
    if (out->length > out->mss) segment.gso_size = static_cast<uint16_t>(out->mss);
    return build_to_guest(segment, from_guest_.take_ack(egress_, now), ingress_.peek(out->seq, out->length), now);
  }
  if (const auto ack = from_guest_.poll_ack(egress_, now)) {
    changed_ = true;  // the guest of the next checkpoint knows this window and this time
    segment.seq = to_guest_.nxt();
    const FlowFrame frame = build_to_guest(segment, *ack, {}, now);
    check_finished();
    return frame;
  }
  return std::nullopt;
}

FlowFrame Flow::build_to_guest(Segment& segment, const AckOut& ack, const RelayBuffer::Spans& payload, Instant now) {
  // Toward the guest nothing needs a lease: a guest that is taken back has forgotten the values, too.
  if (timestamps_)
    if (const auto bound = guest_clock_.wanted_bound(now)) guest_clock_.on_bound_durable(*bound, now);
  segment.payload_length = payload.size();
  ack.write_to(segment, timestamps_ ? guest_clock_.value(now) : 0);
  return {as_peer_.build(segment, payload, ChecksumMode::kPartial), payload};
}

FlowFrame Flow::reset_to_guest(Instant now) {
  Segment segment;
  segment.seq = to_guest_.nxt();
  segment.flags = tcp_flag::kAck | tcp_flag::kRst;
  end_ = to_peer_.verdict() == SenderVerdict::kPeerDead ? FlowEnd::kPeerDead : FlowEnd::kPeerReset;
  return build_to_guest(segment, from_guest_.take_ack(egress_, now), {}, now);
}

// ---- time ----

void Flow::on_deadline(Instant now) {
  if (const auto at = to_peer_.next_deadline(); at && *at <= now && may_speak_to_peer()) to_peer_.on_deadline(now);
  if (const auto at = to_guest_.next_deadline(); at && *at <= now) to_guest_.on_deadline(now);
  // Only time makes a side count as dead.  The other one is told (rule 6).
  if (to_peer_.verdict() == SenderVerdict::kPeerDead) reset_guest_ = true;
  if (to_guest_.verdict() == SenderVerdict::kPeerDead) reset_peer_ = true;
  if (reset_peer_at_ && *reset_peer_at_ <= now) reset_peer_ = true;
}

Instant Flow::peer_deadline() const {
  if (!may_speak_to_peer()) return reset_peer_at_.value_or(Instant::far_future());
  return std::min({to_peer_.next_deadline().value_or(Instant::far_future()),
                   from_peer_.next_deadline().value_or(Instant::far_future()),
                   reset_peer_at_.value_or(Instant::far_future())});
}

Instant Flow::guest_deadline() const {
  if (guest_reset_) return Instant::far_future();
  return std::min(to_guest_.next_deadline().value_or(Instant::far_future()),
                  from_guest_.next_deadline().value_or(Instant::far_future()));
}

}  // namespace us
