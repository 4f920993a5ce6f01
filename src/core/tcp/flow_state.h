// FlowState: one relayed connection as plain data: what an epoch carries of it, and what a restored one is made from.
//
// Buffers' bytes are not in it: they travel once, as they arrive, in the relay log (relay_record.h); the state names
// the marks.  Codec in flow_state.cc; byte table in docs/wire/relay.md.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/result.h"
#include "base/strong.h"
#include "core/replica/log_position.h"
#include "core/tcp/receiver_state.h"
#include "core/tcp/segment_builder.h"
#include "core/tcp/sender_state.h"
#include "core/tcp/seq_num.h"
#include "core/tcp/timestamps.h"

namespace us {

using FlowId = Strong<struct FlowIdTag>;  // given by the primary, never used twice in a VM's life; 0 is "none"

// From the guest's side of the connection to the client's ("peer"):
//
//   guest ──► from_guest ──► egress buffer ──► to_peer ──► client
//   guest ◄── to_guest ◄── ingress buffer ◄── from_peer ◄── client
struct FlowState {
  FlowId id;
  bool guest_opened = false;  // the guest sent the first SYN
  bool timestamps = false;    // both sides agreed on RFC 7323 timestamps
  FrameTemplate as_guest;     // frames to the peer look like the guest's
  FrameTemplate as_peer;      // frames to the guest look like the peer's
  SenderState to_peer;        // to_peer.committed: the end of what the guest had sent when the epoch was cut
  SenderState to_guest;
  ReceiverState from_guest;
  ReceiverState from_peer;
  TimestampClockState peer_clock;   // our TSval toward the peer
  TimestampClockState guest_clock;  // and toward the guest
  uint32_t egress_capacity = 0;
  uint32_t ingress_capacity = 0;
  bool guest_reset = false;  // the guest has reset the connection: the peer gets a RST once this has committed
  bool keep_alive = false;   // the guest probes the peer: pass it on once this has committed
  LogPosition position;      // of the relay log when this state was taken

  bool operator==(const FlowState&) const = default;
};

// End of the bytes that a receiver has taken in order: its next, but for the number of a FIN.
constexpr SeqNum stream_end(const ReceiverState& s) { return s.fin && s.next == *s.fin + 1 ? *s.fin : s.next; }
// First byte that a sender may still have to send: its una, but for the number of a FIN.
constexpr SeqNum first_needed(const SenderState& s) { return s.fin && s.una == s.committed + 1 ? s.committed : s.una; }

// A state from another host: every number in its range, and the halves do not contradict each other.  What is left for
// the halves' restore() to find out is whether the bytes are there.
Status check_flow_state(const FlowState& untrusted);

inline constexpr size_t kFlowStateBytesMin = 291;  // encoded; an idle connection over IPv4 is just that

void encode(const FlowState& state, ByteWriter& out);
Result<FlowState> decode_flow_state(ByteReader& in);  // checked

}  // namespace us
