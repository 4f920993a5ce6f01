// Theory of operation
//
// on_segment() follows the order of RFC 9293 section 3.10.7.4 for a synchronized state, with RFC 7323 section 5.3 and
// RFC 5961 in place: timestamps, sequence number, RST, SYN, ACK, URG, text, FIN.  Two things differ from an ordinary
// host, both because acknowledging may wait for the standby:
//
//  * The other side's view of RCV.NXT is last_ack_sent_, not next().  A RST or a bare ACK that is right for either
//    is right.
//  * What would cause an immediate ACK on arrival (data ahead of a hole, a hole filled, FIN) causes it when the data
//    may be acknowledged: advance_ackable() and on_ackable() are the place where "data arrived" happens for ACK,
//    SACK and timestamp echo.  Without waiting, on_segment() calls them itself.
//
// With records acknowledged in order, ahead_ is what held() was when the record was stored, so it has no more ranges.
#include "core/tcp/receiver.h"

#include <algorithm>

#include "base/check.h"

namespace us {

namespace {

// RFC 5961 section 7; Linux has the same interval (tcp_invalid_ratelimit).
constexpr Duration kAnswerInterval = Duration::millis(500);
// A full segment until one was seen: RFC 9293 section 3.7.1's default for IPv4.
constexpr uint16_t kSegmentBytesMin = 536;
}  // namespace

std::string_view to_string(ReceiveVerdict verdict) {
  switch (verdict) {
    case ReceiveVerdict::kAccepted:
      return "accepted";
    case ReceiveVerdict::kReset:
      return "reset";
    case ReceiveVerdict::kKeepAlive:
      return "keep-alive";
    case ReceiveVerdict::kUrgent:
      return "urgent";
    case ReceiveVerdict::kOutOfWindow:
      return "out of window";
    case ReceiveVerdict::kOldTimestamp:
      return "old timestamp";
    case ReceiveVerdict::kNoTimestamp:
      return "no timestamp";
    case ReceiveVerdict::kBlindReset:
      return "blind reset";
    case ReceiveVerdict::kUnexpectedSyn:
      return "unexpected SYN";
    case ReceiveVerdict::kBadAck:
      return "bad ACK";
    case ReceiveVerdict::kNoAck:
      return "no ACK";
    case ReceiveVerdict::kMalformed:
      return "malformed options";
  }
  return "?";
}

void AckOut::write_to(Segment& segment, uint32_t timestamp) const {
  segment.ack = ack;
  segment.window = window;
  segment.flags |= tcp_flag::kAck;
  if (ece) segment.flags |= tcp_flag::kEce;
  segment.options.sack_blocks = sack.sack_blocks;
  segment.options.sack_count = sack.sack_count;
  if (timestamp_echo) segment.options.timestamps = Timestamps{timestamp, *timestamp_echo};
}

Receiver::Receiver(const ReceiverConfig& config, Reassembly reassembly, ReceiveWindow window, TimestampEcho echo)
    : config_(config),
      segment_bytes_(std::min(kSegmentBytesMin, config.segment_bytes_max)),
      ackable_(reassembly.next()),
      last_ack_sent_(reassembly.next()),
      reassembly_(std::move(reassembly)),
      ahead_(Reassembly::kRangesMax),
      window_(window),
      echo_(echo) {}

Receiver::Receiver(const ReceiverConfig& config, SeqNum next, SeqNum right_edge, uint32_t recent_timestamp, Instant now)
    : Receiver(config, Reassembly(next), ReceiveWindow(later(next, right_edge), config.window_shift),
               TimestampEcho(recent_timestamp, now)) {
  US_CHECK(config.window_shift <= TcpOptions::kWindowScaleMax && config.segment_bytes_max > 0);
}

Received Receiver::on_segment(const Segment& segment, Gather payload, const AckBounds& acks, RelayBuffer& buffer,
                              Instant now) {
  if (segment.options.unusual & TcpOptions::kMalformed) return Received(ReceiveVerdict::kMalformed);
  if (segment.has(tcp_flag::kRst)) return Received(judge_reset(segment, now));
  if (const auto verdict = judge_timestamp(segment, now)) return Received(*verdict);
  if (segment.has(tcp_flag::kSyn)) {
    challenge(now);
    return Received(ReceiveVerdict::kUnexpectedSyn);
  }
  // Its ACK counts: it may have taken the place of a delayed one.
  if (const auto verdict = judge_probe(segment))
    return Received(*verdict, segment.has(tcp_flag::kAck) && segment.ack.in_range(acks.lowest, acks.highest));
  if (!in_window(segment)) return out_of_window(segment, acks, now);
  if (const auto verdict = judge_ack(segment, acks, now)) return Received(*verdict);
  if (segment.has(tcp_flag::kUrg)) return Received(ReceiveVerdict::kUrgent, true);

  Received out(ReceiveVerdict::kAccepted, true);
  const SeqNum next_before = next();
  take_text(segment, payload, buffer, out);
  // RFC 7323 section 5.3 (R3).
  if (config_.timestamps && segment.options.timestamps && segment.seq.at_or_before(next_before))
    echo_.on_segment(segment.seq, segment.options.timestamps->value, last_ack_sent_,
                     config_.ack_waits && !out.stored.empty(), now);
  if (!config_.ack_waits && !out.stored.empty()) on_ackable(out.stored, now);
  return out;
}

// RFC 5961 section 3.2.  The sender of a RST knows the last ACK that it got, or what it has sent itself.
ReceiveVerdict Receiver::judge_reset(const Segment& segment, Instant now) {
  if (segment.seq == next() || segment.seq == last_ack_sent_) return ReceiveVerdict::kReset;
  if (segment.seq.in_range(last_ack_sent_, window_.right_edge())) challenge(now);
  return ReceiveVerdict::kBlindReset;
}

std::optional<ReceiveVerdict> Receiver::judge_timestamp(const Segment& segment, Instant now) {
  if (!config_.timestamps) return std::nullopt;
  if (!segment.options.timestamps) return ReceiveVerdict::kNoTimestamp;
  if (echo_.acceptable(segment.options.timestamps->value, now)) return std::nullopt;
  if (segment.payload_length > 0) on_duplicate({segment.seq, earlier(segment.end(), next())});
  answer(segment, now);
  return ReceiveVerdict::kOldTimestamp;
}

// A keep-alive repeats the last number that was acknowledged, with at most one byte (RFC 9293 section 3.8.4).  Into a
// closed window it is a window probe, which is answered here.
std::optional<ReceiveVerdict> Receiver::judge_probe(const Segment& segment) const {
  if (config_.answers_keep_alive || segment.payload_length > 1 || segment.has(tcp_flag::kFin)) return std::nullopt;
  if (segment.seq != next() - 1 || last_ack_sent_ != next() || window_.right_edge() == next()) return std::nullopt;
  return ReceiveVerdict::kKeepAlive;
}

// RFC 9293 section 3.10.7.4, first.  A bare ACK is also right between the last ACK that we sent and next(), and at the
// edge itself, where a sender stands that has used up its window.  FIN alone needs no room.
bool Receiver::in_window(const Segment& segment) const {
  const SeqNum edge = window_.right_edge();
  if (segment.seq_length() == 0) return segment.seq.in_range(last_ack_sent_, edge);
  if (segment.payload_length == 0) return segment.seq.in_range(next(), edge);
  return segment.end().after(next()) && segment.seq.before(edge);
}

Received Receiver::out_of_window(const Segment& segment, const AckBounds& acks, Instant now) {
  Received out(ReceiveVerdict::kOutOfWindow);
  // "If the RCV.WND is zero … special allowance should be made to accept valid ACKs."
  out.ack_valid =
      segment.seq == next() && segment.has(tcp_flag::kAck) && segment.ack.in_range(acks.lowest, acks.highest);
  if (segment.seq_length() > 0 && segment.end().at_or_before(next())) {
    on_duplicate({segment.seq, segment.end()});
  } else {
    answer(segment, now);
  }
  return out;
}

std::optional<ReceiveVerdict> Receiver::judge_ack(const Segment& segment, const AckBounds& acks, Instant now) {
  if (!segment.has(tcp_flag::kAck)) return ReceiveVerdict::kNoAck;
  if (segment.ack.in_range(acks.lowest, acks.highest)) return std::nullopt;
  challenge(now);
  return ReceiveVerdict::kBadAck;
}

// What of the payload is new in order, in the window, before a known FIN, and has a place in the buffer.
SeqRange Receiver::wanted_part(const Segment& segment, const RelayBuffer& buffer) const {
  SeqRange wanted{later(segment.seq, buffer.end()), segment.payload_end()};
  wanted.end = earlier(wanted.end, window_.right_edge());
  wanted.end = earlier(wanted.end, buffer.end() + buffer.room());
  if (reassembly_.fin()) wanted.end = earlier(wanted.end, *reassembly_.fin());
  if (!wanted.start.before(wanted.end)) wanted = {buffer.end(), buffer.end()};
  return wanted;
}

void Receiver::take_text(const Segment& segment, Gather payload, RelayBuffer& buffer, Received& out) {
  if (segment.seq_length() == 0) return;
  if (config_.ecn) on_ecn(segment);
  segment_bytes_ = std::max(
      segment_bytes_, static_cast<uint16_t>(std::min<uint32_t>(segment.wire_payload(), config_.segment_bytes_max)));
  const SeqNum in_order = buffer.end();
  const SeqRange wanted = wanted_part(segment, buffer);
  const Taken taken = reassembly_.take(segment.seq, payload, wanted, buffer);
  out.stored = taken.stored;
  out.complete = taken.complete && segment.payload_end().at_or_before(later(wanted.end, in_order));
  if (segment.seq.before(in_order)) {
    on_duplicate({segment.seq, earlier(segment.payload_end(), in_order)});
  } else {
    on_duplicate(taken.duplicate);
  }
  if (!out.complete) {
    policy_.ack_now();
  } else if (segment.has(tcp_flag::kFin)) {
    take_fin(segment.payload_end(), out);
  }
}

void Receiver::take_fin(SeqNum at, Received& out) {
  const bool known = reassembly_.fin().has_value();
  if (!reassembly_.take_fin(at) || known) return;
  window_.raise_to(at + 1);
  out.fin = true;
  if (out.stored.empty()) out.stored.start = at;
  out.stored.end = at + 1;
}

// RFC 3168 section 6.1.3.
void Receiver::on_ecn(const Segment& segment) {
  if (segment.has(tcp_flag::kCwr)) congestion_seen_ = false;
  if (segment.ecn != Ecn::kCe || segment.payload_length == 0) return;
  if (!congestion_seen_) policy_.ack_now();
  congestion_seen_ = true;
}

// A duplicate wants an ACK at once (RFC 9293 section 3.10.7.4).  One whose bytes still wait would be told nothing new
// by it: then the ACK that covers them goes out as soon as it may.
void Receiver::on_duplicate(SeqRange range) {
  if (!range.start.before(range.end)) return;
  if (range.end.after(ack_number()) && !ahead_.containing(range.start)) {
    ack_when_ackable_ = true;
    return;
  }
  if (config_.sack) sack_.on_duplicate(range);
  policy_.ack_now();
}

// The answer to a segment that is not acceptable.  Data is answered always: it cannot be part of a war of ACKs.
void Receiver::answer(const Segment& segment, Instant now) {
  if (segment.payload_length > 0) {
    policy_.ack_now();
  } else {
    challenge(now);
  }
}

// The answer to what a blind forger would send, at most once per interval (RFC 5961 section 7).
void Receiver::challenge(Instant now) {
  if (now < next_answer_) return;
  next_answer_ = now + kAnswerInterval;
  policy_.ack_now();
}

}  // namespace us
