#include "core/replica/wire.h"

#include <fmt/format.h>

#include <type_traits>
#include <utility>

#include "core/replica/wire_fields.h"

namespace us {
namespace {

// Each message lists its fields once, in fields().

template <typename E>
auto up_to(E first, E last) {
  return [first, last](E v) { return v >= first && v <= last; };
}

template <typename Io, typename M>
concept Is = std::is_same_v<std::remove_const_t<Io>, M>;

template <typename Io, Is<Hello> M>
void fields(Io& io, M& m) {
  io.number("version_min", m.version_min);
  io.number("version_max", m.version_max);
  io.number("session", m.session);
  io.number("generation", m.generation);
  io.text("vm_name", m.vm_name, kNameBytesMax);
  io.text("node", m.node, kNameBytesMax);
  io.text("qemu_version", m.qemu_version, kNameBytesMax);
  io.text("machine", m.machine, kNameBytesMax);
  io.number("definition_hash", m.definition_hash);
  io.text("definition", m.definition, kDefinitionBytesMax);
  io.number("ram_bytes", m.ram_bytes);
  io.number("page_bytes", m.page_bytes);
  io.micros("epoch_length", m.epoch_length);
  io.micros("heartbeat_interval", m.heartbeat_interval);
  io.micros("detection_time", m.detection_time);
  io.number("heartbeat_port", m.heartbeat_port);
}

template <typename Io, Is<HelloReply> M>
void fields(Io& io, M& m) {
  io.choice("verdict", m.verdict, up_to(HelloVerdict::kAccepted, HelloVerdict::kNotReady));
  io.number("version", m.version);
  io.number("session", m.session);
  io.number("generation", m.generation);
  io.text("node", m.node, kNameBytesMax);
  io.text("reason", m.reason, kReasonBytesMax);
  io.number("heartbeat_port", m.heartbeat_port);
}

template <typename Io, Is<Bye> M>
void fields(Io& io, M& m) {
  io.choice("reason", m.reason, up_to(ByeReason::kStopping, ByeReason::kSuperseded));
  io.text("text", m.text, kReasonBytesMax);
}

template <typename Io, Is<SyncBegin> M>
void fields(Io& io, M& m) {
  io.number("pages", m.pages);
}

template <typename Io, Is<SyncRoundEnd> M>
void fields(Io& io, M& m) {
  io.number("round", m.round);
  io.number("pages_sent", m.pages_sent);
  io.number("pages_remaining", m.pages_remaining);
}

template <typename Io, Is<SyncAck> M>
void fields(Io& io, M& m) {
  io.number("round", m.round);
  io.number("pages_applied", m.pages_applied);
}

template <typename Io, Is<EpochBegin> M>
void fields(Io& io, M& m) {
  io.number("epoch", m.epoch);
  io.number("pages", m.size.pages);
  io.number("device_state_bytes", m.size.device_state_bytes);
  io.number("side_state_bytes", m.size.side_state_bytes);
  io.flag("full", m.full);
  io.flag("handover", m.handover);
}

template <typename Io, Is<PageChunk> M>
void fields(Io& io, M& m) {
  io.choice("scope", m.scope, up_to(PageScope::kSync, PageScope::kEpoch));
  io.number("number", m.number);
  io.rest("encoded", m.encoded, kPageChunkBytesMax);
}

template <typename Io, Is<DeviceStateChunk> M>
void fields(Io& io, M& m) {
  io.number("epoch", m.epoch);
  io.rest("bytes", m.bytes, kStateChunkBytesMax);
}

template <typename Io, Is<SideStateChunk> M>
void fields(Io& io, M& m) {
  io.number("epoch", m.epoch);
  io.choice("kind", m.kind, is_side_kind);
  io.rest("bytes", m.bytes, kStateChunkBytesMax);
}

template <typename Io, Is<EpochEnd> M>
void fields(Io& io, M& m) {
  io.number("epoch", m.epoch);
  io.number("pages", m.pages);
  io.number("chunks", m.chunks);
  io.number("digest", m.digest);
}

template <typename Io, Is<Ack> M>
void fields(Io& io, M& m) {
  io.number("epoch", m.epoch);
}

template <typename Io, Is<Applied> M>
void fields(Io& io, M& m) {
  io.number("epoch", m.epoch);
}

template <typename Io, Is<GuestEnded> M>
void fields(Io& io, M& m) {
  io.choice("reason", m.reason, up_to(GuestEnd::kShutdown, GuestEnd::kQuit));
  io.text("text", m.text, kReasonBytesMax);
}

template <typename Io, Is<GuestEndedAck> M>
void fields(Io&, M&) {}

template <typename Io, Is<HandoverRequest> M>
void fields(Io& io, M& m) {
  io.text("requested_by", m.requested_by, kNameBytesMax);
}

template <typename Io, Is<HandoverReady> M>
void fields(Io& io, M& m) {
  io.number("epoch", m.epoch);
}

template <typename Io, Is<HandoverGo> M>
void fields(Io& io, M& m) {
  io.number("epoch", m.epoch);
  io.number("generation", m.generation);
}

template <typename Io, Is<HandoverDone> M>
void fields(Io& io, M& m) {
  io.number("generation", m.generation);
}

template <typename Io, Is<HandoverAbort> M>
void fields(Io& io, M& m) {
  io.text("reason", m.reason, kReasonBytesMax);
}

template <typename Io, Is<StaleGeneration> M>
void fields(Io& io, M& m) {
  io.number("generation", m.generation);
  io.text("holder", m.holder, kNameBytesMax);
}

template <typename Io, Is<Resigned> M>
void fields(Io& io, M& m) {
  io.number("generation", m.generation);
  io.text("reason", m.reason, kReasonBytesMax);
}

template <typename Io, Is<RelayLogChunk> M>
void fields(Io& io, M& m) {
  io.number("first", m.first);
  io.number("count", m.count);
  io.rest("records", m.records, kRelayLogRecordsBytesMax);
}

template <typename Io, Is<RelayLogAck> M>
void fields(Io& io, M& m) {
  io.number("position", m.position);
}

template <typename Io, Is<AuditDigests> M>
void fields(Io& io, M& m) {
  io.number("epoch", m.epoch);
  io.number("regions", m.regions);
  io.number("first", m.first);
  io.rest("digests", m.digests, kAuditDigestBytesMax);
}

template <typename Io, Is<AuditRegion> M>
void fields(Io& io, M& m) {
  io.number("epoch", m.epoch);
  io.number("region", m.region);
  io.rest("hashes", m.hashes, kAuditRegionBytesMax);
}

template <typename Io, Is<AuditEnd> M>
void fields(Io& io, M& m) {
  io.number("epoch", m.epoch);
  io.number("pages", m.pages);
  io.number("regions_differ", m.regions_differ);
  io.micros("took", m.took);
}

template <typename Io, Is<CopyWrong> M>
void fields(Io& io, M& m) {
  io.number("epoch", m.epoch);
  io.text("reason", m.reason, kReasonBytesMax);
}

template <typename Io, Is<CopyDropped> M>
void fields(Io&, M&) {}

bool is_disk(DiskIndex disk) { return disk.value() < kDiskIndexMax; }

template <typename Io, Is<DiskOffer> M>
void fields(Io& io, M& m) {
  io.index("disk", m.disk, is_disk);
  io.id("image", m.image);
  io.number("disk_bytes", m.disk_bytes);
  io.number("granule_bytes", m.granule_bytes);
  io.number("first", m.first);
}

template <typename Io, Is<DiskAnswer> M>
void fields(Io& io, M& m) {
  io.index("disk", m.disk, is_disk);
  io.choice("verdict", m.verdict, up_to(DiskVerdict::kMarks, DiskVerdict::kRefused));
  io.number("marked", m.marked);
  io.text("reason", m.reason, kDiskTextBytesMax);
}

template <typename Io, Is<DiskMarks> M>
void fields(Io& io, M& m) {
  io.index("disk", m.disk, is_disk);
  io.number("first", m.first);
  io.rest("bits", m.bits, kDiskMarksBytesMax);
}

template <typename Io, Is<DiskRecords> M>
void fields(Io& io, M& m) {
  io.index("disk", m.disk, is_disk);
  io.rest("records", m.records, kDiskFrameBytesMax);
}

template <typename Io, Is<DiskSums> M>
void fields(Io& io, M& m) {
  io.index("disk", m.disk, is_disk);
  io.rest("sums", m.sums, kDiskFrameBytesMax);
}

template <typename Io, Is<DiskSumAnswers> M>
void fields(Io& io, M& m) {
  io.index("disk", m.disk, is_disk);
  io.rest("answers", m.answers, kDiskFrameBytesMax);
}

template <typename Io, Is<DiskProgress> M>
void fields(Io& io, M& m) {
  io.index("disk", m.disk, is_disk);
  io.number("copied", m.copied);
  io.number("durable", m.durable);
}

template <typename Io, Is<DiskTrouble> M>
void fields(Io& io, M& m) {
  io.index("disk", m.disk, is_disk);
  io.text("text", m.text, kDiskTextBytesMax);
}

template <typename Io, Is<DisksEnd> M>
void fields(Io& io, M& m) {
  io.number("epoch", m.epoch);
  io.rest("barrier", m.barrier, kDiskBarrierBytesMax);
}

template <typename Io, Is<DisksEnded> M>
void fields(Io& io, M& m) {
  io.number("epoch", m.epoch);
}

// Tries each alternative of the variant until one has the frame's type.
template <size_t I = 0>
Result<Message> decode_as(const Frame& frame) {
  if constexpr (I == std::variant_size_v<Message>) {
    return fail(ErrorKind::kProtocol, fmt::format("unknown frame type {:#06x}", static_cast<unsigned>(frame.type)));
  } else {
    using M = std::variant_alternative_t<I, Message>;
    if (frame.type != M::kType) return decode_as<I + 1>(frame);
    M message;
    FieldReader reader(frame.payload, frame_type_name(frame.type));
    fields(reader, message);
    US_TRY(reader.finish());
    return Message(std::move(message));
  }
}

}  // namespace

uint64_t encode_to(Bytes& out, const Message& message, uint16_t version) {
  FrameBuilder frame(out, message_type(message), version);
  FieldWriter writer(out);
  std::visit([&writer](const auto& m) { fields(writer, m); }, message);
  return frame.finish();
}

Bytes encode(const Message& message, uint16_t version) {
  Bytes out;
  encode_to(out, message, version);
  return out;
}

void append_page_chunk_prefix(Bytes& out, PageScope scope, uint64_t number) {
  const PageChunk empty{scope, number, {}};
  FieldWriter writer(out);
  fields(writer, empty);
}

Result<Message> decode(const Frame& frame) { return decode_as(frame); }

FrameType message_type(const Message& message) {
  return std::visit([](const auto& m) { return std::decay_t<decltype(m)>::kType; }, message);
}

}  // namespace us
