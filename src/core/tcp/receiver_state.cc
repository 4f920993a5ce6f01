#include "core/tcp/receiver_state.h"

#include "core/tcp/reassembly.h"

namespace us {

namespace {

// The truth values in the order of their bits in the flags word, for reading and writing.
template <typename State, typename Visit>
void for_each_flag(State& s, Visit visit) {
  visit(s.config.sack);
  visit(s.config.timestamps);
  visit(s.config.ecn);
  visit(s.config.ack_waits);
  visit(s.config.fin_ack_waits);
  visit(s.config.answers_keep_alive);
  visit(s.fin_ackable);
  visit(s.congestion_seen);
  visit(s.ack_when_ackable);
  visit(s.policy.now);
  visit(s.policy.delayed);
}
constexpr uint16_t kFinFlag = 1u << 15;

uint16_t flags_of(const ReceiverState& s) {
  uint16_t flags = s.fin ? kFinFlag : uint16_t{0};
  uint16_t bit = 1;
  for_each_flag(s, [&](bool value) {
    if (value) flags |= bit;
    bit = static_cast<uint16_t>(bit << 1);
  });
  return flags;
}

// False if bits are set that mean nothing.
bool set_flags(uint16_t flags, ReceiverState& s) {
  if (flags & kFinFlag) s.fin.emplace();
  flags &= static_cast<uint16_t>(~kFinFlag);
  for_each_flag(s, [&](bool& value) {
    value = flags & 1;
    flags >>= 1;
  });
  return flags == 0;
}

void put(SeqNum n, ByteWriter& out) { out.le(n.value()); }
void put(SeqRange r, ByteWriter& out) {
  put(r.start, out);
  put(r.end, out);
}
void put(Duration d, ByteWriter& out) { out.le(static_cast<uint64_t>(d.to_nanos())); }
void put(const std::vector<SeqRange>& ranges, ByteWriter& out) {
  out.le(static_cast<uint16_t>(ranges.size()));
  for (const SeqRange& r : ranges) put(r, out);
}

SeqNum get_seq(ByteReader& in) { return SeqNum(in.le<uint32_t>()); }
SeqRange get_range(ByteReader& in) {
  const SeqNum start = get_seq(in);
  return {start, get_seq(in)};
}
Duration get_duration(ByteReader& in) { return Duration::nanos(static_cast<int64_t>(in.le<uint64_t>())); }

bool get_ranges(ByteReader& in, std::vector<SeqRange>& out) {
  const size_t count = in.le<uint16_t>();
  if (count > Reassembly::kRangesMax || count * 8 > in.remaining()) return false;
  out.reserve(count);
  for (size_t i = 0; i < count; ++i) out.push_back(get_range(in));
  return true;
}

}  // namespace

void encode(const ReceiverState& s, ByteWriter& out) {
  out.le(flags_of(s));
  out.le(s.config.window_shift);
  out.le(s.policy.quick_acks);
  out.le(s.config.segment_bytes_max);
  out.le(s.segment_bytes);
  out.le(s.sack.recent_count);
  out.le(s.echo.waiting_count);
  for (const SeqNum n : {s.next, s.ackable, s.last_ack_sent, s.right_edge}) put(n, out);
  if (s.fin) put(*s.fin, out);
  if (s.policy.delayed) put(s.policy.delay_left, out);
  put(s.answer_wait, out);
  out.le(s.echo.recent);
  put(s.echo.age, out);
  for (size_t i = 0; i < s.echo.waiting_count; ++i) {
    put(s.echo.waiting[i].seq, out);
    out.le(s.echo.waiting[i].value);
  }
  put(s.sack.duplicate, out);
  for (size_t i = 0; i < s.sack.recent_count; ++i) put(s.sack.recent[i], out);
  put(s.held, out);
  put(s.ahead, out);
}

Result<ReceiverState> decode_receiver_state(ByteReader& in) {
  ReceiverState s;
  const bool flags_known = set_flags(in.le<uint16_t>(), s);
  s.config.window_shift = in.le<uint8_t>();
  s.policy.quick_acks = in.le<uint8_t>();
  s.config.segment_bytes_max = in.le<uint16_t>();
  s.segment_bytes = in.le<uint16_t>();
  s.sack.recent_count = in.le<uint8_t>();
  s.echo.waiting_count = in.le<uint8_t>();
  if (!flags_known || s.sack.recent_count > s.sack.recent.size() || s.echo.waiting_count > s.echo.waiting.size())
    return fail(ErrorKind::kProtocol, "receiver state: flags or counts out of range");
  for (SeqNum* n : {&s.next, &s.ackable, &s.last_ack_sent, &s.right_edge}) *n = get_seq(in);
  if (s.fin) s.fin = get_seq(in);
  if (s.policy.delayed) s.policy.delay_left = get_duration(in);
  s.answer_wait = get_duration(in);
  s.echo.recent = in.le<uint32_t>();
  s.echo.age = get_duration(in);
  for (size_t i = 0; i < s.echo.waiting_count; ++i) {
    s.echo.waiting[i].seq = get_seq(in);
    s.echo.waiting[i].value = in.le<uint32_t>();
  }
  s.sack.duplicate = get_range(in);
  for (size_t i = 0; i < s.sack.recent_count; ++i) s.sack.recent[i] = get_seq(in);
  if (!get_ranges(in, s.held) || !get_ranges(in, s.ahead) || !in.ok())
    return fail(ErrorKind::kProtocol, "receiver state: truncated or too many ranges");
  return s;
}

Status check_receiver_state(const ReceiverState& s) {
  if (s.config.window_shift > TcpOptions::kWindowScaleMax || s.config.segment_bytes_max == 0 ||
      s.segment_bytes > s.config.segment_bytes_max)
    return fail(ErrorKind::kProtocol, "receiver: configuration out of range");
  const auto close = [](SeqNum a, SeqNum b) { return a.distance_to(b) <= RelayBuffer::kCapacityMax; };
  if (!close(s.last_ack_sent, s.ackable) || !close(s.ackable, s.next) || !close(s.next, s.right_edge))
    return fail(ErrorKind::kProtocol, "receiver: marks out of order");
  if (s.answer_wait < Duration() || s.answer_wait > Duration::seconds(1))
    return fail(ErrorKind::kProtocol, "receiver: time out of range");
  US_TRY(TimestampEcho::restore(s.echo, Instant()));
  // The right edge bounds the data, and lies behind the FIN.
  US_ASSIGN(const RangeSet held, RangeSet::restore(s.held, s.next, s.right_edge, Reassembly::kRangesMax));
  US_ASSIGN(const RangeSet ahead, RangeSet::restore(s.ahead, s.ackable, s.right_edge, Reassembly::kRangesMax));
  // Nothing may be acknowledged that is not there.
  for (const SeqRange& range : ahead.ranges()) {
    const auto there = held.containing(later(range.start, s.next));
    if (range.end.after(s.next) && !(there && range.end.at_or_before(there->end)))
      return fail(ErrorKind::kProtocol, "receiver: acknowledges what it does not hold");
  }
  return {};
}

}  // namespace us
