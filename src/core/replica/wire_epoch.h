// The messages that carry the guest: rounds of the first synchronisation, epochs, the relay log, audits.  See wire.h.
// The byte spans of chunks borrow the frame's payload.
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/strong.h"
#include "base/time.h"
#include "core/memory/page_codec.h"
#include "core/memory/ram_hashes.h"
#include "core/memory/staged_epoch.h"
#include "core/replica/frame_header.h"
#include "core/replica/log_position.h"

namespace us {

using SyncRound = Strong<struct SyncRoundTag, uint32_t>;  // counts from 1

inline constexpr size_t kStateChunkBytesMax = kStateFramePayloadMax - 64;  // data in one device or side state chunk
inline constexpr size_t kRelayLogHeadBytes = 12;                           // of a RelayLogChunk, before its records
inline constexpr size_t kRelayLogRecordsBytesMax = kStateFramePayloadMax - kRelayLogHeadBytes;

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

}  // namespace us
