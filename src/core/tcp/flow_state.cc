#include "core/tcp/flow_state.h"

#include <algorithm>

#include "core/tcp/reassembly.h"
#include "core/tcp/relay_buffer.h"

namespace us {
namespace {

constexpr uint8_t kGuestOpened = 1;
constexpr uint8_t kTimestamps = 2;
constexpr uint8_t kGuestReset = 4;
constexpr uint8_t kKeepAlive = 8;
constexpr uint8_t kFlagsKnown = kGuestOpened | kTimestamps | kGuestReset | kKeepAlive;

tl::unexpected<Error> bad(const char* what) { return fail(ErrorKind::kProtocol, std::string("flow state: ") + what); }

void encode(const FrameTemplate& f, ByteWriter& out) {
  out.bytes(f.destination_mac);
  out.bytes(f.source_mac);
  out.le(f.vlan_tags);
  out.le(static_cast<uint8_t>(f.source.address.version()));
  out.le(static_cast<uint8_t>(f.dont_fragment ? 1 : 0));
  out.le(f.traffic_class);
  out.le(f.hop_limit);
  out.le(f.ip_id);
  out.le(f.flow_label);
  out.le(f.source.port);
  out.le(f.destination.port);
  out.bytes(f.source.address.bytes());
  out.bytes(f.destination.address.bytes());
  for (size_t i = 0; i < f.vlan_tags; ++i) {
    out.le(f.vlan[i].type);
    out.le(f.vlan[i].control);
  }
}

Result<FrameTemplate> decode_template(ByteReader& in) {
  FrameTemplate f;
  for (auto* mac : {&f.destination_mac, &f.source_mac}) {
    const ByteSpan bytes = in.bytes(mac->size());
    std::copy(bytes.begin(), bytes.end(), mac->begin());
  }
  f.vlan_tags = in.le<uint8_t>();
  const uint8_t version = in.le<uint8_t>();
  const uint8_t dont_fragment = in.le<uint8_t>();
  f.traffic_class = in.le<uint8_t>();
  f.hop_limit = in.le<uint8_t>();
  f.ip_id = in.le<uint16_t>();
  f.flow_label = in.le<uint32_t>();
  f.source.port = in.le<uint16_t>();
  f.destination.port = in.le<uint16_t>();
  if (!in.ok()) return bad("truncated");
  if (f.vlan_tags > f.vlan.size() || dont_fragment > 1 || (version != 4 && version != 6))
    return bad("a frame's headers are out of range");
  f.dont_fragment = dont_fragment == 1;
  for (Endpoint* endpoint : {&f.source, &f.destination}) {
    US_ASSIGN(endpoint->address, IpAddress::from_bytes(in.bytes(version == 4 ? 4 : 16)));
  }
  for (size_t i = 0; i < f.vlan_tags; ++i) {
    f.vlan[i].type = in.le<uint16_t>();
    f.vlan[i].control = in.le<uint16_t>();
  }
  return f;
}

void encode(const TimestampClockState& s, ByteWriter& out) {
  out.le(s.value);
  out.le(s.bound);
}

TimestampClockState decode_clock(ByteReader& in) {
  TimestampClockState s;
  s.value = in.le<uint32_t>();
  s.bound = in.le<uint32_t>();
  return s;
}

bool finished(const ReceiverState& s) { return s.fin && s.next == *s.fin + 1; }

// A receiver of a stream, and the sender that passes it on.
Status check_direction(const ReceiverState& from, const SenderState& to) {
  US_TRY(check_receiver_state(from));
  US_TRY(check_sender_state(to));
  const SeqNum end = stream_end(from);
  if (to.committed.distance_to(end) > RelayBuffer::kCapacityMax ||
      first_needed(to).distance_to(end) > RelayBuffer::kCapacityMax)
    return bad("bytes are committed that have not come");
  if (to.fin && !(finished(from) && to.committed == end)) return bad("a FIN is committed that has not come");
  return {};
}

// The log has what came ahead of a hole, a FIN too (reassembly.h).
Status check_held_fin(const ReceiverState& from_peer) {
  if (!from_peer.fin) return {};
  const SeqNum held_to = from_peer.held.empty() ? from_peer.next : from_peer.held.back().end;
  return held_to == *from_peer.fin + 1 ? Status() : bad("a FIN that is not the last of what came");
}

}  // namespace

Status check_flow_state(const FlowState& s) {
  if (s.id == FlowId()) return bad("it has no id");
  US_TRY(SegmentBuilder::restore(s.as_guest));
  US_TRY(SegmentBuilder::restore(s.as_peer));
  if (s.as_guest.source.address.version() != s.as_peer.source.address.version()) return bad("two IP versions");
  US_TRY(check_direction(s.from_guest, s.to_peer));
  US_TRY(check_direction(s.from_peer, s.to_guest));
  US_TRY(check_held_fin(s.from_peer));
  US_TRY(TimestampClock::restore(s.peer_clock, Instant()));
  US_TRY(TimestampClock::restore(s.guest_clock, Instant()));
  if (std::max(s.egress_capacity, s.ingress_capacity) > RelayBuffer::kCapacityMax) return bad("a buffer is too large");
  return {};
}

void encode(const FlowState& s, ByteWriter& out) {
  out.le(s.id.value());
  out.le(s.position.value());
  out.le(static_cast<uint8_t>((s.guest_opened ? kGuestOpened : 0) | (s.timestamps ? kTimestamps : 0) |
                              (s.guest_reset ? kGuestReset : 0) | (s.keep_alive ? kKeepAlive : 0)));
  out.le(s.egress_capacity);
  out.le(s.ingress_capacity);
  encode(s.peer_clock, out);
  encode(s.guest_clock, out);
  encode(s.as_guest, out);
  encode(s.as_peer, out);
  encode(s.to_peer, out);
  encode(s.to_guest, out);
  encode(s.from_guest, out);
  encode(s.from_peer, out);
}

Result<FlowState> decode_flow_state(ByteReader& in) {
  FlowState s;
  s.id = FlowId(in.le<uint64_t>());
  s.position = LogPosition(in.le<uint64_t>());
  const uint8_t flags = in.le<uint8_t>();
  s.egress_capacity = in.le<uint32_t>();
  s.ingress_capacity = in.le<uint32_t>();
  s.peer_clock = decode_clock(in);
  s.guest_clock = decode_clock(in);
  if ((flags & ~kFlagsKnown) != 0) return bad("unknown flags");
  s.guest_opened = (flags & kGuestOpened) != 0;
  s.timestamps = (flags & kTimestamps) != 0;
  s.guest_reset = (flags & kGuestReset) != 0;
  s.keep_alive = (flags & kKeepAlive) != 0;
  US_ASSIGN(s.as_guest, decode_template(in));
  US_ASSIGN(s.as_peer, decode_template(in));
  US_ASSIGN(s.to_peer, decode_sender_state(in));
  US_ASSIGN(s.to_guest, decode_sender_state(in));
  US_ASSIGN(s.from_guest, decode_receiver_state(in));
  US_ASSIGN(s.from_peer, decode_receiver_state(in));
  US_TRY(check_flow_state(s));
  return s;
}

}  // namespace us
