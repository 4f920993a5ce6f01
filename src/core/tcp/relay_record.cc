#include "core/tcp/relay_record.h"

#include "base/check.h"

namespace us {
namespace {

constexpr uint8_t kFlagFin = 1;

tl::unexpected<Error> bad(const char* what) { return fail(ErrorKind::kProtocol, what); }

void encode_head(RelayRecordKind kind, uint8_t nic, uint8_t flags, ByteWriter& out) {
  out.le(static_cast<uint8_t>(kind));
  out.le(nic);
  out.le(flags);
  out.le(uint8_t{0});
}

void encode_data_head(RelayRecordKind kind, uint8_t nic, uint8_t flags, FlowId flow, SeqNum start, uint32_t length,
                      ByteWriter& out) {
  US_CHECK(length <= kRelayRecordBytesMax);
  encode_head(kind, nic, flags, out);
  out.le(flow.value());
  out.le(start.value());
  out.le(length);
}

struct Encoder {
  ByteWriter& out;
  void operator()(const OpenRecord& r) const {
    encode_head(RelayRecordKind::kOpen, r.nic, 0, out);
    encode(r.initial, out);
  }
  void operator()(const IngressRecord& r) const {
    encode_ingress_head(r.nic, r.flow, r.stored.start, static_cast<uint32_t>(r.bytes.size()), r.fin, out);
    out.bytes(r.bytes);
  }
  void operator()(const EgressRecord& r) const {
    encode_egress_head(r.nic, r.flow, r.start, static_cast<uint32_t>(r.bytes.size()), out);
    out.bytes(r.bytes);
  }
  void operator()(const ClockBoundRecord& r) const {
    encode_head(RelayRecordKind::kClockBound, r.nic, 0, out);
    out.le(r.flow.value());
    out.le(r.bound);
  }
};

Result<RelayRecord> decode_ingress(ByteReader& in, uint8_t nic, bool fin) {
  IngressRecord r{nic, FlowId(in.le<uint64_t>()), {}, fin};
  r.stored.start = SeqNum(in.le<uint32_t>());
  const uint32_t length = in.le<uint32_t>();
  if (length > kRelayRecordBytesMax || (length == 0 && !fin)) return bad("an ingress record is too long, or empty");
  r.bytes = in.bytes(length);
  r.stored.end = r.stored.start + length + (fin ? 1 : 0);
  if (!in.ok()) return bad("an ingress record is cut off");
  return r;
}

Result<RelayRecord> decode_egress(ByteReader& in, uint8_t nic) {
  EgressRecord r{nic, FlowId(in.le<uint64_t>()), SeqNum(in.le<uint32_t>())};
  const uint32_t length = in.le<uint32_t>();
  if (length > kRelayRecordBytesMax || length == 0) return bad("an egress record is too long, or empty");
  r.bytes = in.bytes(length);
  if (!in.ok()) return bad("an egress record is cut off");
  return r;
}

Result<RelayRecord> decode_clock_bound(ByteReader& in, uint8_t nic) {
  ClockBoundRecord r{nic, FlowId(in.le<uint64_t>()), in.le<uint32_t>()};
  if (!in.ok()) return bad("a clock bound is cut off");
  return r;
}

}  // namespace

void encode(const RelayRecord& record, ByteWriter& out) { std::visit(Encoder{out}, record); }

void encode_ingress_head(uint8_t nic, FlowId flow, SeqNum start, uint32_t length, bool fin, ByteWriter& out) {
  encode_data_head(RelayRecordKind::kIngress, nic, fin ? kFlagFin : uint8_t{0}, flow, start, length, out);
}

void encode_egress_head(uint8_t nic, FlowId flow, SeqNum start, uint32_t length, ByteWriter& out) {
  encode_data_head(RelayRecordKind::kEgress, nic, 0, flow, start, length, out);
}

Result<RelayRecord> decode_relay_record(ByteReader& in) {
  const auto kind = static_cast<RelayRecordKind>(in.le<uint8_t>());
  const uint8_t nic = in.le<uint8_t>();
  const uint8_t flags = in.le<uint8_t>();
  const uint8_t reserved = in.le<uint8_t>();
  if (!in.ok()) return bad("a record is cut off");
  const uint8_t flags_known = kind == RelayRecordKind::kIngress ? kFlagFin : uint8_t{0};
  if ((flags & ~flags_known) != 0 || reserved != 0) return bad("a record has unknown flags");
  switch (kind) {
    case RelayRecordKind::kOpen: {
      US_ASSIGN(FlowState initial, decode_flow_state(in));
      return OpenRecord{nic, std::move(initial)};
    }
    case RelayRecordKind::kIngress:
      return decode_ingress(in, nic, flags != 0);
    case RelayRecordKind::kEgress:
      return decode_egress(in, nic);
    case RelayRecordKind::kClockBound:
      return decode_clock_bound(in, nic);
  }
  return bad("a record of an unknown kind");
}

}  // namespace us
