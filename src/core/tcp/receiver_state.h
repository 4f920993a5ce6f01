// ReceiverState: the receiver half as plain data, for snapshots, and its bytes on the replication link.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"
#include "core/tcp/ack_policy.h"
#include "core/tcp/sack_generator.h"
#include "core/tcp/seq_num.h"
#include "core/tcp/timestamps.h"

namespace us {

// What was negotiated in the handshake, and which side this is.
struct ReceiverConfig {
  uint8_t window_shift = 0;  // of the windows that we offer: the scale that the endpoint we stand for announced
  bool sack = false;
  bool timestamps = false;
  bool ecn = false;
  uint16_t segment_bytes_max = 1460;  // the MSS that this side was told
  // Taken bytes may be acknowledged only when on_ackable() says so (client side: durable on the standby).
  bool ack_waits = false;
  // FIN too, when on_fin_ackable() says so (guest side: the client has acknowledged it; tcp.md, rule 5).
  bool fin_ack_waits = false;
  // Keep-alive probes are answered here.  Otherwise they are reported, to be passed on (guest side; rule 6).
  bool answers_keep_alive = true;

  bool operator==(const ReceiverConfig&) const = default;
};

struct ReceiverState {
  ReceiverConfig config;
  SeqNum next;  // RCV.NXT
  SeqNum ackable;
  SeqNum last_ack_sent;
  SeqNum right_edge;
  std::optional<SeqNum> fin;
  bool fin_ackable = false;
  bool congestion_seen = false;  // ECE goes out with every ACK
  bool ack_when_ackable = false;
  uint16_t segment_bytes = 0;
  Duration answer_wait;  // until the next rate-limited answer may be sent
  AckPolicyState policy;
  TimestampEchoState echo;
  SackGeneratorState sack;
  std::vector<SeqRange> held;   // ahead of next
  std::vector<SeqRange> ahead;  // of held, what may be acknowledged

  bool operator==(const ReceiverState&) const = default;
};

// Little endian, no padding; docs/wire/ has the table.  About 80 bytes for an idle connection.
void encode(const ReceiverState& state, ByteWriter& out);
// Fails the reader, or returns an error, on what encode() cannot have written; check_receiver_state() judges the rest.
Result<ReceiverState> decode_receiver_state(ByteReader& in);

// Everything about a state from another host that can be judged without its buffer.
Status check_receiver_state(const ReceiverState& untrusted);

}  // namespace us
