#include "core/replica/frame_header.h"

#include <xxhash.h>

#include "base/check.h"

namespace us {
namespace {

constexpr size_t kChecksumAt = kFrameHeaderBytes - 8;

struct TypeInfo {
  FrameType type;
  std::string_view name;
  size_t payload_max;
  uint16_t since = 1;
};

constexpr TypeInfo kTypes[] = {
    {FrameType::kHello, "Hello", kControlPayloadMax},
    {FrameType::kHelloReply, "HelloReply", kControlPayloadMax},
    {FrameType::kBye, "Bye", kControlPayloadMax},
    {FrameType::kSyncBegin, "SyncBegin", kControlPayloadMax},
    {FrameType::kSyncRoundEnd, "SyncRoundEnd", kControlPayloadMax},
    {FrameType::kSyncAck, "SyncAck", kControlPayloadMax},
    {FrameType::kEpochBegin, "EpochBegin", kControlPayloadMax},
    {FrameType::kPageChunk, "PageChunk", kPageFramePayloadMax},
    {FrameType::kDeviceStateChunk, "DeviceStateChunk", kStateFramePayloadMax},
    {FrameType::kSideStateChunk, "SideStateChunk", kStateFramePayloadMax},
    {FrameType::kEpochEnd, "EpochEnd", kControlPayloadMax},
    {FrameType::kAck, "Ack", kControlPayloadMax},
    {FrameType::kApplied, "Applied", kControlPayloadMax},
    {FrameType::kGuestEnded, "GuestEnded", kControlPayloadMax},
    {FrameType::kGuestEndedAck, "GuestEndedAck", kControlPayloadMax},
    {FrameType::kHandoverRequest, "HandoverRequest", kControlPayloadMax},
    {FrameType::kHandoverReady, "HandoverReady", kControlPayloadMax},
    {FrameType::kHandoverGo, "HandoverGo", kControlPayloadMax},
    {FrameType::kHandoverDone, "HandoverDone", kControlPayloadMax},
    {FrameType::kHandoverAbort, "HandoverAbort", kControlPayloadMax},
    {FrameType::kStaleGeneration, "StaleGeneration", kControlPayloadMax},
    {FrameType::kResigned, "Resigned", kControlPayloadMax},
    {FrameType::kRelayLogChunk, "RelayLogChunk", kStateFramePayloadMax},
    {FrameType::kRelayLogAck, "RelayLogAck", kControlPayloadMax},
    {FrameType::kDiskOffer, "DiskOffer", kControlPayloadMax, kDiskVersion},
    {FrameType::kDiskAnswer, "DiskAnswer", kControlPayloadMax, kDiskVersion},
    {FrameType::kDiskMarks, "DiskMarks", kControlPayloadMax, kDiskVersion},
    {FrameType::kDiskRecords, "DiskRecords", kStateFramePayloadMax, kDiskVersion},
    {FrameType::kDiskSums, "DiskSums", kStateFramePayloadMax, kDiskVersion},
    {FrameType::kDiskSumAnswers, "DiskSumAnswers", kStateFramePayloadMax, kDiskVersion},
    {FrameType::kDiskProgress, "DiskProgress", kControlPayloadMax, kDiskVersion},
    {FrameType::kDiskTrouble, "DiskTrouble", kControlPayloadMax, kDiskVersion},
    {FrameType::kDisksEnd, "DisksEnd", kControlPayloadMax, kDiskEndVersion},
    {FrameType::kDisksEnded, "DisksEnded", kControlPayloadMax, kDiskEndVersion},
    {FrameType::kAuditDigests, "AuditDigests", kControlPayloadMax, kAuditVersion},
    {FrameType::kAuditRegion, "AuditRegion", kControlPayloadMax, kAuditVersion},
    {FrameType::kAuditEnd, "AuditEnd", kControlPayloadMax, kAuditVersion},
    {FrameType::kCopyWrong, "CopyWrong", kControlPayloadMax, kAuditVersion},
    {FrameType::kCopyDropped, "CopyDropped", kControlPayloadMax, kAuditVersion},
};

const TypeInfo* find_type(FrameType type) {
  for (const TypeInfo& info : kTypes)
    if (info.type == type) return &info;
  return nullptr;
}

}  // namespace

std::string_view frame_type_name(FrameType type) {
  const TypeInfo* info = find_type(type);
  return info == nullptr ? std::string_view{} : info->name;
}

size_t payload_bytes_max(FrameType type) {
  const TypeInfo* info = find_type(type);
  return info == nullptr ? 0 : info->payload_max;
}

uint16_t frame_type_since(FrameType type) {
  const TypeInfo* info = find_type(type);
  return info == nullptr ? uint16_t{0} : info->since;
}

bool is_handshake_type(FrameType type) {
  return type == FrameType::kHello || type == FrameType::kHelloReply || type == FrameType::kBye;
}

uint64_t frame_checksum(const uint8_t* header, ByteSpan payload) {
  return XXH3_64bits_withSeed(payload.data(), payload.size(), XXH3_64bits(header, kChecksumAt));
}

FrameBuilder::FrameBuilder(Bytes& out, FrameType type, uint16_t version) : out_(out), start_(out.size()), type_(type) {
  ByteWriter w(out);
  w.le(kFrameMagic);
  w.le(is_handshake_type(type) ? kHandshakeVersion : version);
  w.le(static_cast<uint16_t>(type));
  w.zeros(12);  // length and checksum, filled in by finish()
}

uint64_t FrameBuilder::finish() {
  const size_t payload = out_.size() - start_ - kFrameHeaderBytes;
  US_CHECK(payload <= payload_bytes_max(type_));
  uint8_t* header = out_.data() + start_;
  store_le(header + 8, static_cast<uint32_t>(payload));
  const uint64_t checksum = frame_checksum(header, {header + kFrameHeaderBytes, payload});
  store_le(header + kChecksumAt, checksum);
  return checksum;
}

}  // namespace us
