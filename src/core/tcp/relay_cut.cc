#include "core/tcp/relay_cut.h"

#include "base/check.h"

namespace us {
namespace {

tl::unexpected<Error> bad(const char* what) { return fail(ErrorKind::kProtocol, std::string("cut: ") + what); }

Result<NicCut> decode_nic(ByteReader& in) {
  NicCut nic;
  nic.nic = in.le<uint8_t>();
  const size_t changed = in.le<uint32_t>();
  const size_t ended = in.le<uint32_t>();
  if (!in.ok() || changed * kFlowStateBytesMin + ended * sizeof(uint64_t) > in.remaining()) return bad("truncated");
  nic.changed.reserve(changed);
  for (size_t i = 0; i < changed; ++i) {
    US_ASSIGN(FlowState state, decode_flow_state(in));
    nic.changed.push_back(std::move(state));
  }
  if (ended * sizeof(uint64_t) > in.remaining()) return bad("truncated");
  nic.ended.reserve(ended);
  for (size_t i = 0; i < ended; ++i) nic.ended.push_back(FlowId(in.le<uint64_t>()));
  return nic;
}

}  // namespace

Bytes encode(const RelayCut& cut) {
  US_CHECK(cut.nics.size() <= 0xff);
  Bytes bytes;
  ByteWriter out(bytes);
  out.le(cut.position.value());
  out.le(static_cast<uint8_t>(cut.nics.size()));
  for (const NicCut& nic : cut.nics) {
    out.le(nic.nic);
    out.le(static_cast<uint32_t>(nic.changed.size()));
    out.le(static_cast<uint32_t>(nic.ended.size()));
    for (const FlowState& state : nic.changed) encode(state, out);
    for (const FlowId id : nic.ended) out.le(id.value());
  }
  return bytes;
}

Result<RelayCut> decode_relay_cut(ByteSpan bytes) {
  ByteReader in(bytes);
  RelayCut cut;
  cut.position = LogPosition(in.le<uint64_t>());
  const size_t nics = in.le<uint8_t>();
  for (size_t i = 0; i < nics; ++i) {
    US_ASSIGN(NicCut nic, decode_nic(in));
    if (!cut.nics.empty() && nic.nic <= cut.nics.back().nic) return bad("NICs out of order");
    cut.nics.push_back(std::move(nic));
  }
  if (!in.done()) return bad("truncated, or with bytes left over");
  return cut;
}

}  // namespace us
