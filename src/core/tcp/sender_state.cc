#include "core/tcp/sender_state.h"

namespace us {
namespace {

constexpr uint8_t kFlagFin = 1;
constexpr uint8_t kFlagSack = 2;
constexpr uint8_t kFlagEcn = 4;
constexpr uint8_t kFlagsKnown = kFlagFin | kFlagSack | kFlagEcn;

}  // namespace

Status check_sender_state(const SenderState& s) {
  if (s.una.distance_to(s.limit()) > SenderState::kSpanMax) {
    return fail(ErrorKind::kProtocol, "sender state: the unacknowledged range is too long or runs backward");
  }
  if (s.mss < SenderState::kMssMin || s.mss > SenderState::kMssMax) {
    return fail(ErrorKind::kProtocol, "sender state: the segment size is out of range");
  }
  if (s.peer.scale > PeerWindow::kScaleMax) {
    return fail(ErrorKind::kProtocol, "sender state: the window scale is out of range");
  }
  const uint32_t window_max = 0xffffu << s.peer.scale;
  if (s.peer.size > window_max || s.peer.largest > window_max || s.peer.size > s.peer.largest) {
    return fail(ErrorKind::kProtocol, "sender state: the peer's window is larger than its scale allows");
  }
  // The window counts from an acknowledgment, which cannot be newer than una nor older than a window.
  if (s.peer.update_ack.distance_to(s.una) > SenderState::kSpanMax) {
    return fail(ErrorKind::kProtocol, "sender state: the window update lies outside of the connection");
  }
  return {};
}

void encode(const SenderState& s, ByteWriter& out) {
  out.le(s.una.value());
  out.le(s.committed.value());
  out.le(static_cast<uint8_t>((s.fin ? kFlagFin : 0) | (s.sack ? kFlagSack : 0) | (s.ecn ? kFlagEcn : 0)));
  out.le(s.peer.scale);
  out.le(uint16_t{0});
  out.le(s.mss);
  out.le(s.peer.size);
  out.le(s.peer.largest);
  out.le(s.peer.update_seq.value());
  out.le(s.peer.update_ack.value());
}

Result<SenderState> decode_sender_state(ByteReader& in) {
  SenderState s;
  s.una = SeqNum(in.le<uint32_t>());
  s.committed = SeqNum(in.le<uint32_t>());
  const uint8_t flags = in.le<uint8_t>();
  s.peer.scale = in.le<uint8_t>();
  const uint16_t reserved = in.le<uint16_t>();
  s.mss = in.le<uint32_t>();
  s.peer.size = in.le<uint32_t>();
  s.peer.largest = in.le<uint32_t>();
  s.peer.update_seq = SeqNum(in.le<uint32_t>());
  s.peer.update_ack = SeqNum(in.le<uint32_t>());
  if (!in.ok()) return fail(ErrorKind::kProtocol, "sender state: truncated");
  if ((flags & ~kFlagsKnown) != 0 || reserved != 0) return fail(ErrorKind::kProtocol, "sender state: unknown flags");
  s.fin = (flags & kFlagFin) != 0;
  s.sack = (flags & kFlagSack) != 0;
  s.ecn = (flags & kFlagEcn) != 0;
  US_TRY(check_sender_state(s));
  return s;
}

}  // namespace us
