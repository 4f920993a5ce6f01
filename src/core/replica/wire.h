// The messages of the replication protocol, and their one codec.
//
// A primary and a standby share one TCP connection, opened by the primary: the bulk stream runs primary -> standby,
// answers run back.  (Heartbeats are datagrams beside it: wire_heartbeat.h.)  The order in which messages make sense is
// the business of the state machines (primary.h, standby.h); this file says what each one is, and encode()/decode()
// turn it into a frame and back.
//
// Decoding is strict: every field in range, texts are UTF-8 without control characters, nothing left over.  Encoding
// cannot fail: texts that are too long are cut, odd bytes in them become '?'.
//
// Ownership: texts are copied; the byte spans of the chunk messages borrow the frame's payload.
// Each group of messages has its header: wire_handshake.h, wire_epoch.h, wire_end.h,
// wire_disk.h.
// Limits: see the constants; byte tables in docs/wire/replication.md.
#pragma once

#include <cstdint>
#include <variant>

#include "base/bytes.h"
#include "base/result.h"
#include "core/replica/frame_header.h"
#include "core/replica/wire_disk.h"
#include "core/replica/wire_end.h"
#include "core/replica/wire_epoch.h"
#include "core/replica/wire_handshake.h"

namespace us {

using Message =
    std::variant<Hello, HelloReply, Bye, SyncBegin, SyncRoundEnd, SyncAck, EpochBegin, PageChunk, DeviceStateChunk,
                 SideStateChunk, EpochEnd, Ack, Applied, GuestEnded, GuestEndedAck, HandoverRequest, HandoverReady,
                 HandoverGo, HandoverDone, HandoverAbort, StaleGeneration, Resigned, RelayLogChunk, RelayLogAck,
                 AuditDigests, AuditRegion, AuditEnd, CopyWrong, CopyDropped, DiskOffer, DiskAnswer, DiskMarks,
                 DiskRecords, DiskSums, DiskSumAnswers, DiskProgress, DiskTrouble, DisksEnd, DisksEnded>;

// Appends the whole frame to `out` and returns its checksum (for ChunkDigest).  Chunk data over the limits is a bug of
// the caller.
uint64_t encode_to(Bytes& out, const Message& message, uint16_t version = kProtocolVersionMax);
Bytes encode(const Message& message, uint16_t version = kProtocolVersionMax);

// Appends what comes before the encoded pages in the payload of a PageChunk; for a sender that lets PageEncoder write
// straight into the frame (see PageFrameWriter in frame_epoch.h).
void append_page_chunk_prefix(Bytes& out, PageScope scope, uint64_t number);

// Errors are ErrorKind::kProtocol and name the message and the field.
Result<Message> decode(const Frame& frame);

FrameType message_type(const Message& message);

}  // namespace us
