#include "core/replica/wire.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <type_traits>
#include <utility>

#include "base/check.h"
#include "core/replica/wire_text.h"

namespace us {
namespace {

// Each message lists its fields once, in fields(); Writer and Reader are the two things that can be done with the list.

class Writer {
 public:
  explicit Writer(Bytes& out) : w_(out) {}

  template <std::unsigned_integral T>
  void number(const char*, T v) {
    w_.le(v);
  }
  template <typename Tag, typename Rep>
  void number(const char*, Strong<Tag, Rep> v) {
    w_.le(v.value());
  }
  void flag(const char*, bool v) { w_.le(static_cast<uint8_t>(v ? 1 : 0)); }
  template <typename E, typename Valid>
  void choice(const char*, E v, Valid&& valid) {
    US_CHECK(valid(v));
    w_.le(static_cast<std::underlying_type_t<E>>(v));
  }
  void micros(const char*, Duration d) {
    w_.le(static_cast<uint32_t>(std::clamp<int64_t>(d.to_micros(), 0, std::numeric_limits<uint32_t>::max())));
  }
  void text(const char*, const std::string& v, size_t limit) { w_.text(clean_text(v, limit)); }
  void rest(const char*, ByteSpan v, size_t limit) {
    US_CHECK(v.size() <= limit);
    w_.bytes(v);
  }

 private:
  ByteWriter w_;
};

class Reader {
 public:
  Reader(ByteSpan in, std::string_view message) : r_(in), message_(message) {}

  template <std::unsigned_integral T>
  void number(const char* field, T& v) {
    v = r_.le<T>();
    whole(field);
  }
  template <typename Tag, typename Rep>
  void number(const char* field, Strong<Tag, Rep>& v) {
    v = Strong<Tag, Rep>(r_.le<Rep>());
    whole(field);
  }
  void flag(const char* field, bool& v) {
    const uint8_t raw = r_.le<uint8_t>();
    if (!whole(field)) return;
    if (raw > 1) error(field, fmt::format("is {}, not 0 or 1", raw));
    v = raw == 1;
  }
  template <typename E, typename Valid>
  void choice(const char* field, E& v, Valid&& valid) {
    v = static_cast<E>(r_.le<std::underlying_type_t<E>>());
    if (whole(field) && !valid(v)) error(field, fmt::format("has no value {}", static_cast<unsigned>(v)));
  }
  void micros(const char* field, Duration& d) {
    d = Duration::micros(r_.le<uint32_t>());
    whole(field);
  }
  void text(const char* field, std::string& v, size_t limit) {
    const uint32_t size = r_.le<uint32_t>();
    if (!whole(field)) return;
    if (size > limit) return error(field, fmt::format("of {} bytes, more than the limit of {}", size, limit));
    const ByteSpan raw = r_.bytes(size);
    if (!whole(field)) return;
    v.assign(raw.begin(), raw.end());
    if (!is_clean_text(v)) error(field, "is not UTF-8 without control characters");
  }
  void rest(const char* field, ByteSpan& v, size_t limit) {
    v = r_.bytes(r_.remaining());
    if (v.size() > limit) error(field, fmt::format("of {} bytes, more than the limit of {}", v.size(), limit));
  }

  Status finish() {
    if (r_.ok() && !r_.done()) error("payload", fmt::format("has {} bytes too many", r_.remaining()));
    if (error_.empty()) return {};
    return fail(ErrorKind::kProtocol, error_);
  }

 private:
  bool whole(const char* field) {
    if (!r_.ok()) error(field, "is cut off");
    return r_.ok();
  }
  void error(const char* field, const std::string& what) {
    if (error_.empty()) error_ = fmt::format("{}: {} {}", message_, field, what);
  }

  ByteReader r_;
  std::string_view message_;
  std::string error_;
};

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

// Tries each alternative of the variant until one has the frame's type.
template <size_t I = 0>
Result<Message> decode_as(const Frame& frame) {
  if constexpr (I == std::variant_size_v<Message>) {
    return fail(ErrorKind::kProtocol, fmt::format("unknown frame type {:#06x}", static_cast<unsigned>(frame.type)));
  } else {
    using M = std::variant_alternative_t<I, Message>;
    if (frame.type != M::kType) return decode_as<I + 1>(frame);
    M message;
    Reader reader(frame.payload, frame_type_name(frame.type));
    fields(reader, message);
    US_TRY(reader.finish());
    return Message(std::move(message));
  }
}

}  // namespace

uint64_t encode_to(Bytes& out, const Message& message, uint16_t version) {
  FrameBuilder frame(out, message_type(message), version);
  Writer writer(out);
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
  Writer writer(out);
  fields(writer, empty);
}

Result<Message> decode(const Frame& frame) { return decode_as(frame); }

FrameType message_type(const Message& message) {
  return std::visit([](const auto& m) { return std::decay_t<decltype(m)>::kType; }, message);
}

std::string_view hello_verdict_name(HelloVerdict verdict) {
  switch (verdict) {
    case HelloVerdict::kAccepted:
      return "accepted";
    case HelloVerdict::kOtherProtocol:
      return "other protocol version";
    case HelloVerdict::kOtherQemu:
      return "other QEMU version";
    case HelloVerdict::kOtherMachine:
      return "other machine type";
    case HelloVerdict::kOtherDefinition:
      return "other VM definition";
    case HelloVerdict::kOtherRamSize:
      return "other RAM size";
    case HelloVerdict::kStaleGeneration:
      return "stale generation";
    case HelloVerdict::kBusy:
      return "busy";
    case HelloVerdict::kNotStandby:
      return "not a standby";
    case HelloVerdict::kOtherVm:
      return "other VM";
    case HelloVerdict::kNotReady:
      return "not ready";
  }
  return "unknown";
}

std::string_view bye_reason_name(ByeReason reason) {
  switch (reason) {
    case ByeReason::kStopping:
      return "stopping";
    case ByeReason::kProtocolError:
      return "protocol error";
    case ByeReason::kNoRoom:
      return "no room";
    case ByeReason::kFailed:
      return "failed";
    case ByeReason::kSuperseded:
      return "superseded";
  }
  return "unknown";
}

std::string_view guest_end_name(GuestEnd reason) {
  switch (reason) {
    case GuestEnd::kShutdown:
      return "shutdown";
    case GuestEnd::kReset:
      return "reset";
    case GuestEnd::kPanic:
      return "panic";
    case GuestEnd::kQuit:
      return "quit";
  }
  return "unknown";
}

}  // namespace us
