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
// Limits: see the constants; byte tables in docs/wire/replication.md.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "base/bytes.h"
#include "base/result.h"
#include "base/strong.h"
#include "base/time.h"
#include "core/memory/page_codec.h"
#include "core/memory/ram_hashes.h"
#include "core/memory/staged_epoch.h"
#include "core/replica/frame_header.h"
#include "core/replica/log_position.h"

namespace us {

using SessionId = Strong<struct SessionIdTag>;  // random; names one connection's worth of state in stream and datagrams
using SyncRound = Strong<struct SyncRoundTag, uint32_t>;  // counts from 1

inline constexpr size_t kNameBytesMax = 256;     // vm name, node id, versions
inline constexpr size_t kReasonBytesMax = 4096;  // sentences for a person
inline constexpr size_t kDefinitionBytesMax = 16 * 1024;
inline constexpr size_t kStateChunkBytesMax = kStateFramePayloadMax - 64;  // data in one device or side state chunk
inline constexpr size_t kRelayLogHeadBytes = 12;                           // of a RelayLogChunk, before its records
inline constexpr size_t kRelayLogRecordsBytesMax = kStateFramePayloadMax - kRelayLogHeadBytes;

// ---- handshake ----

// primary -> standby, the first frame.
struct Hello {
  static constexpr FrameType kType = FrameType::kHello;
  uint16_t version_min = kProtocolVersionMin;  // range of protocol versions the primary speaks
  uint16_t version_max = kProtocolVersionMax;
  SessionId session;
  Generation generation;
  std::string vm_name;
  std::string node;  // id of the sending host
  std::string qemu_version;
  std::string machine;           // QEMU machine type, with version
  uint64_t definition_hash = 0;  // of the whole canonical definition, even where its text was cut
  std::string definition;        // canonical text (wire_definition.h)
  uint64_t ram_bytes = 0;
  uint32_t page_bytes = kPageSize;
  Duration epoch_length;  // durations travel in whole microseconds, up to 71 minutes
  Duration heartbeat_interval;
  Duration detection_time;
  uint16_t heartbeat_port = 0;  // UDP port on which the sender wants heartbeats
  bool operator==(const Hello&) const = default;
};

enum class HelloVerdict : uint16_t {
  kAccepted = 0,
  kOtherProtocol = 1,  // no common protocol version
  kOtherQemu = 2,
  kOtherMachine = 3,
  kOtherDefinition = 4,
  kOtherRamSize = 5,     // or page size
  kStaleGeneration = 6,  // the standby has seen a newer generation
  kBusy = 7,             // it already has a primary
  kNotStandby = 8,       // it is no standby (any more)
  kOtherVm = 9,          // it stands by for a VM of another name
  kNotReady = 10,        // temporary: try again
};
std::string_view hello_verdict_name(HelloVerdict verdict);

// standby -> primary, the answer.
struct HelloReply {
  static constexpr FrameType kType = FrameType::kHelloReply;
  HelloVerdict verdict = HelloVerdict::kAccepted;
  uint16_t version = 0;   // chosen; 0 when refused
  SessionId session;      // echo of the Hello
  Generation generation;  // the newest the standby knows; after kStaleGeneration: the one that supersedes the sender's
  std::string node;
  std::string reason;  // why it was refused: one or more sentences; empty when accepted
  uint16_t heartbeat_port = 0;
  bool operator==(const HelloReply&) const = default;
};

enum class ByeReason : uint16_t {
  kStopping = 1,       // the sender's program ends or lets go of the VM on purpose
  kProtocolError = 2,  // the receiver of this sent something that makes no sense
  kNoRoom = 3,         // an epoch is larger than the sender is prepared to stage
  kFailed = 4,         // the sender cannot go on (a system call failed); no leave to take over: that is Resigned
  kSuperseded = 5,     // another connection takes this one's place
};
std::string_view bye_reason_name(ByeReason reason);

// Either way: a tidy leave.  After it the sender closes; its silence is no host failure.
struct Bye {
  static constexpr FrameType kType = FrameType::kBye;
  ByeReason reason = ByeReason::kStopping;
  std::string text;
  bool operator==(const Bye&) const = default;
};

// ---- initial synchronisation: rounds of pages, applied by the standby at once ----

// primary -> standby.
struct SyncBegin {
  static constexpr FrameType kType = FrameType::kSyncBegin;
  uint64_t pages = 0;  // that the first round will send
  bool operator==(const SyncBegin&) const = default;
};

// primary -> standby.
struct SyncRoundEnd {
  static constexpr FrameType kType = FrameType::kSyncRoundEnd;
  SyncRound round;
  uint64_t pages_sent = 0;       // in this round
  uint64_t pages_remaining = 0;  // dirtied meanwhile: what the next round, or the first epoch, will carry
  bool operator==(const SyncRoundEnd&) const = default;
};

// standby -> primary: every page of the round is in its RAM file.
struct SyncAck {
  static constexpr FrameType kType = FrameType::kSyncAck;
  SyncRound round;
  uint64_t pages_applied = 0;
  bool operator==(const SyncAck&) const = default;
};

// ---- epochs: EpochBegin, any number of the three kinds of chunks, EpochEnd ----

// primary -> standby.  The sizes are exact, and what the standby reserves for.
struct EpochBegin {
  static constexpr FrameType kType = FrameType::kEpochBegin;
  Epoch epoch;
  EpochSize size;
  bool full = false;      // carries every page of RAM: stands on its own, whatever the standby held before
  bool handover = false;  // the last one of this generation, if the handover goes through
  bool operator==(const EpochBegin&) const = default;
};

enum class PageScope : uint8_t { kSync = 1, kEpoch = 2 };

// primary -> standby.
struct PageChunk {
  static constexpr FrameType kType = FrameType::kPageChunk;
  PageScope scope = PageScope::kEpoch;
  uint64_t number = 0;  // the epoch, or the sync round
  ByteSpan encoded;     // what PageEncoder wrote (page_codec.h)
};

// primary -> standby.  Chunks of one epoch's device state are joined in the order of sending.
struct DeviceStateChunk {
  static constexpr FrameType kType = FrameType::kDeviceStateChunk;
  Epoch epoch;
  ByteSpan bytes;
};

// primary -> standby.  Chunks of one kind are joined in the order of sending.
struct SideStateChunk {
  static constexpr FrameType kType = FrameType::kSideStateChunk;
  Epoch epoch;
  SideKind kind = SideKind::kNicAddresses;
  ByteSpan bytes;
};

// primary -> standby: the epoch is whole.
struct EpochEnd {
  static constexpr FrameType kType = FrameType::kEpochEnd;
  Epoch epoch;
  uint64_t pages = 0;   // as in EpochBegin
  uint32_t chunks = 0;  // chunk frames of all three kinds
  uint64_t digest = 0;  // ChunkDigest over them
  bool operator==(const EpochEnd&) const = default;
};

// standby -> primary: it holds the epoch whole, and will start from it or a later one.  This is the commit.
struct Ack {
  static constexpr FrameType kType = FrameType::kAck;
  Epoch epoch;
  bool operator==(const Ack&) const = default;
};

// standby -> primary: the epoch is in its RAM file; for status and flow control only.
struct Applied {
  static constexpr FrameType kType = FrameType::kApplied;
  Epoch epoch;
  bool operator==(const Applied&) const = default;
};

// ---- the end of the guest ----

enum class GuestEnd : uint8_t {
  kShutdown = 1,  // the guest powered itself off
  kReset = 2,     // the guest asked for a reset, and the VM is configured not to reboot
  kPanic = 3,
  kQuit = 4,  // by the operator
};
std::string_view guest_end_name(GuestEnd reason);

// primary -> standby: the VM has ended on purpose; it must not be resurrected.
struct GuestEnded {
  static constexpr FrameType kType = FrameType::kGuestEnded;
  GuestEnd reason = GuestEnd::kShutdown;
  std::string text;
  bool operator==(const GuestEnded&) const = default;
};

// standby -> primary.
struct GuestEndedAck {
  static constexpr FrameType kType = FrameType::kGuestEndedAck;
  bool operator==(const GuestEndedAck&) const = default;
};

// ---- planned handover ----

// Either way: asks for (standby), or announces (primary), a handover.
struct HandoverRequest {
  static constexpr FrameType kType = FrameType::kHandoverRequest;
  std::string requested_by;
  bool operator==(const HandoverRequest&) const = default;
};

// standby -> primary: holds the handover epoch and can run it at once.
struct HandoverReady {
  static constexpr FrameType kType = FrameType::kHandoverReady;
  Epoch epoch;
  bool operator==(const HandoverReady&) const = default;
};

// primary -> standby: the point of no return; the sender will never run or release this VM again under its old
// generation.
struct HandoverGo {
  static constexpr FrameType kType = FrameType::kHandoverGo;
  Epoch epoch;
  Generation generation;  // the standby's new one
  bool operator==(const HandoverGo&) const = default;
};

// standby -> primary: the guest runs here.
struct HandoverDone {
  static constexpr FrameType kType = FrameType::kHandoverDone;
  Generation generation;
  bool operator==(const HandoverDone&) const = default;
};

// Either way, before HandoverGo: as if nothing had been asked.
struct HandoverAbort {
  static constexpr FrameType kType = FrameType::kHandoverAbort;
  std::string reason;
  bool operator==(const HandoverAbort&) const = default;
};

// Either way: the receiver's generation is over; it must fence itself.
struct StaleGeneration {
  static constexpr FrameType kType = FrameType::kStaleGeneration;
  Generation generation;  // the valid one
  std::string holder;     // node that holds it
  bool operator==(const StaleGeneration&) const = default;
};

// primary -> standby: the sender can run the VM no longer (its QEMU died), has released nothing beyond what was
// acknowledged and never will: take over at once.
struct Resigned {
  static constexpr FrameType kType = FrameType::kResigned;
  Generation generation;  // the one given up
  std::string reason;
  bool operator==(const Resigned&) const = default;
};

// ---- relayed TCP connections ----

// primary -> standby, at any time in a session: the next records of the relay log.
struct RelayLogChunk {
  static constexpr FrameType kType = FrameType::kRelayLogChunk;
  LogPosition first;   // of the first record; the positions of a session have no gap
  uint32_t count = 0;  // records
  ByteSpan records;    // core/tcp/relay_record.h
};

// standby -> primary: it has every record up to this one.
struct RelayLogAck {
  static constexpr FrameType kType = FrameType::kRelayLogAck;
  LogPosition position;
  bool operator==(const RelayLogAck&) const = default;
};

// ---- audit: do both hosts hold the same RAM? (core/memory/copy_audit.h) ----

inline constexpr size_t kAuditDigestBytesMax = 56 * 1024;
inline constexpr size_t kAuditRegionBytesMax = kAuditRegionPages * sizeof(uint64_t);

// primary -> standby, between the EpochEnd of `epoch` and the next EpochBegin: the digests of the RAM's regions at
// that cut.  All of them follow each other, in ascending order; nothing but log chunks and control between them.
struct AuditDigests {
  static constexpr FrameType kType = FrameType::kAuditDigests;
  Epoch epoch;
  uint32_t regions = 0;  // of the whole RAM
  uint32_t first = 0;    // region of the first digest here
  ByteSpan digests;      // u64 each
};

// standby -> primary: a region that differs, page by page.
struct AuditRegion {
  static constexpr FrameType kType = FrameType::kAuditRegion;
  Epoch epoch;
  uint32_t region = 0;
  ByteSpan hashes;  // u64 for each page of the region
};

// standby -> primary: every page is compared.
struct AuditEnd {
  static constexpr FrameType kType = FrameType::kAuditEnd;
  Epoch epoch;
  uint64_t pages = 0;
  uint32_t regions_differ = 0;  // more than the AuditRegions sent, if there were too many
  Duration took;                // from the first digest
  bool operator==(const AuditEnd&) const = default;
};

// primary -> standby: an audit has proved the standby's copy wrong.  It must forget it, and never run it.
struct CopyWrong {
  static constexpr FrameType kType = FrameType::kCopyWrong;
  Epoch epoch;  // of the audit
  std::string reason;
  bool operator==(const CopyWrong&) const = default;
};

// standby -> primary: it holds nothing of this VM any more, and will not claim it.  The last message of the session.
struct CopyDropped {
  static constexpr FrameType kType = FrameType::kCopyDropped;
  bool operator==(const CopyDropped&) const = default;
};

using Message =
    std::variant<Hello, HelloReply, Bye, SyncBegin, SyncRoundEnd, SyncAck, EpochBegin, PageChunk, DeviceStateChunk,
                 SideStateChunk, EpochEnd, Ack, Applied, GuestEnded, GuestEndedAck, HandoverRequest, HandoverReady,
                 HandoverGo, HandoverDone, HandoverAbort, StaleGeneration, Resigned, RelayLogChunk, RelayLogAck,
                 AuditDigests, AuditRegion, AuditEnd, CopyWrong, CopyDropped>;

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
