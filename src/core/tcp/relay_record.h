// The records of the relay log: what the primary tells the standby of each relayed connection between two cuts, in the
// order in which it happened.  (What is known only at a cut is in relay_cut.h.)
//
//   Open        a connection is relayed from here on; or, at the beginning of a session, has been for long
//   Ingress     bytes of the peer, as Receiver::on_segment() has stored them: maybe ahead of a hole
//   Egress      bytes of the guest, in order
//   ClockBound  no TSval beyond this is used toward the peer until a greater bound is durable (timestamps.h)
//
// Each record has a LogPosition: its number in the session, which is not written, but follows from the frame's
// (RelayLogChunk in core/replica/wire.h).  Byte table: docs/wire/relay.md.
#pragma once

#include <cstdint>
#include <variant>

#include "base/bytes.h"
#include "base/result.h"
#include "core/tcp/flow_state.h"
#include "core/tcp/seq_num.h"

namespace us {

enum class RelayRecordKind : uint8_t { kOpen = 1, kIngress = 2, kEgress = 3, kClockBound = 4 };

inline constexpr uint32_t kRelayRecordBytesMax = 65536;  // data bytes in one record

struct OpenRecord {
  uint8_t nic = 0;
  FlowState initial;
  bool operator==(const OpenRecord&) const = default;
};

struct IngressRecord {
  uint8_t nic = 0;
  FlowId flow;
  SeqRange stored;   // with the number of the FIN, if `fin`
  bool fin = false;  // the peer's stream ends behind these bytes
  ByteSpan bytes{};  // of `stored`, without the FIN; borrowed
};

struct EgressRecord {
  uint8_t nic = 0;
  FlowId flow;
  SeqNum start;
  ByteSpan bytes{};  // not empty; borrowed
};

struct ClockBoundRecord {
  uint8_t nic = 0;
  FlowId flow;
  uint32_t bound = 0;
};

using RelayRecord = std::variant<OpenRecord, IngressRecord, EgressRecord, ClockBoundRecord>;

void encode(const RelayRecord& record, ByteWriter& out);
// What comes before the bytes of a data record, for a writer that has them in pieces.  `length` is at most
// kRelayRecordBytesMax.
void encode_ingress_head(uint8_t nic, FlowId flow, SeqNum start, uint32_t length, bool fin, ByteWriter& out);
void encode_egress_head(uint8_t nic, FlowId flow, SeqNum start, uint32_t length, ByteWriter& out);

// The next record.  Every field in range; ErrorKind::kProtocol otherwise.
Result<RelayRecord> decode_relay_record(ByteReader& in);

}  // namespace us
