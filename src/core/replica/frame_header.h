// Frames of the replication stream: a fixed header, then the payload of one message.
//
//     0      4        6      8                12                        20
//     | USRP | version | type | payload length | XXH3-64 checksum u64 | payload ...
//
// Little endian.  The checksum is XXH3-64 of the payload, seeded with XXH3-64 (seed 0) of header bytes 0..11, so it
// covers both in one pass each.  It finds damage and bugs, not malice: the link must be trusted.
//
// Every type has its own payload limit, so that a peer cannot make the receiver hold more than a message of that kind
// can need.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/bytes.h"

namespace us {

inline constexpr uint32_t kFrameMagic = 0x50525355;  // "USRP" in memory order
inline constexpr size_t kFrameHeaderBytes = 20;

// The range of protocol versions this program speaks.  The handshake messages (Hello, HelloReply, Bye) are always sent
// under kHandshakeVersion and their layout never changes; every other frame carries the version the Hello agreed on.
inline constexpr uint16_t kProtocolVersionMin = 1;
inline constexpr uint16_t kProtocolVersionMax = 4;
inline constexpr uint16_t kHandshakeVersion = 1;
inline constexpr uint16_t kAuditVersion = 2;    // the first that has audits
inline constexpr uint16_t kDiskVersion = 3;     // and disks
inline constexpr uint16_t kDiskEndVersion = 4;  // and tidy ends of disks, and audits of them

// The highest version that both ranges hold.
constexpr std::optional<uint16_t> negotiate_version(uint16_t peer_min, uint16_t peer_max) {
  const uint16_t high = peer_max < kProtocolVersionMax ? peer_max : kProtocolVersionMax;
  const uint16_t low = peer_min > kProtocolVersionMin ? peer_min : kProtocolVersionMin;
  if (peer_min > peer_max || low > high) return std::nullopt;
  return high;
}

// Numbers are never reused.  A number that is not listed is refused, never skipped: a peer that sends it counts on
// something this side does not do.
enum class FrameType : uint16_t {
  kHello = 0x0001,
  kHelloReply = 0x0002,
  kBye = 0x0003,
  kSyncBegin = 0x0010,
  kSyncRoundEnd = 0x0011,
  kSyncAck = 0x0012,
  kEpochBegin = 0x0020,
  kPageChunk = 0x0021,
  kDeviceStateChunk = 0x0022,
  kSideStateChunk = 0x0023,
  kEpochEnd = 0x0024,
  kAck = 0x0030,
  kApplied = 0x0031,
  kGuestEnded = 0x0040,
  kGuestEndedAck = 0x0041,
  kHandoverRequest = 0x0050,
  kHandoverReady = 0x0051,
  kHandoverGo = 0x0052,
  kHandoverDone = 0x0053,
  kHandoverAbort = 0x0054,
  kStaleGeneration = 0x0060,
  kResigned = 0x0061,
  kRelayLogChunk = 0x0070,
  kRelayLogAck = 0x0071,
  kDiskOffer = 0x0080,
  kDiskAnswer = 0x0081,
  kDiskMarks = 0x0082,
  kDiskRecords = 0x0083,
  kDiskSums = 0x0084,
  kDiskSumAnswers = 0x0085,
  kDiskProgress = 0x0086,
  kDiskTrouble = 0x0087,
  kDisksEnd = 0x0088,
  kDisksEnded = 0x0089,
  kAuditDigests = 0x0090,
  kAuditRegion = 0x0091,
  kAuditEnd = 0x0092,
  kCopyWrong = 0x0093,
  kCopyDropped = 0x0094,
};

// What the type is called in messages and docs; empty for a number that is not a type.
std::string_view frame_type_name(FrameType type);
inline bool is_frame_type(FrameType type) { return !frame_type_name(type).empty(); }
// The protocol version that brought the type; 0 for a number that is not a type.
uint16_t frame_type_since(FrameType type);
// Hello, HelloReply, Bye: allowed before the Hello is agreed.
bool is_handshake_type(FrameType type);

inline constexpr size_t kPageFramePayloadMax = size_t{1} << 20;
inline constexpr size_t kStateFramePayloadMax = 256 * 1024;  // device and side state, relay log, disks
inline constexpr size_t kControlPayloadMax = 64 * 1024;
inline constexpr size_t kFrameBytesMax = kFrameHeaderBytes + kPageFramePayloadMax;
// 0 for a number that is not a type.
size_t payload_bytes_max(FrameType type);

// A frame that has passed every check of the framing.  The payload borrows the parser's buffer.
struct Frame {
  FrameType type{};
  uint64_t checksum = 0;  // as in the header; EpochEnd sums these up (ChunkDigest in staged_epoch.h)
  ByteSpan payload;
};

// Of a frame whose first kFrameHeaderBytes are `header`; the checksum field itself is not read.
uint64_t frame_checksum(const uint8_t* header, ByteSpan payload);

// Builds one frame in place at the end of a buffer, without a copy of the payload:
//   FrameBuilder f(out, FrameType::kPageChunk);  ...append the payload to out...  f.finish();
class FrameBuilder {
 public:
  FrameBuilder(Bytes& out, FrameType type, uint16_t version = kProtocolVersionMax);
  // Returns the frame's checksum.  A payload over the type's limit is a bug of the caller.
  uint64_t finish();

 private:
  Bytes& out_;
  size_t start_;
  FrameType type_;
};

}  // namespace us
