#include "core/replica/wire_heartbeat.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>

#include "base/check.h"

namespace us {
namespace {

constexpr size_t kChecksumAt = kHeartbeatBytes - 8;

tl::unexpected<Error> bad(std::string message) { return fail(ErrorKind::kProtocol, "heartbeat: " + message); }

}  // namespace

std::array<uint8_t, kHeartbeatBytes> encode_heartbeat(const Heartbeat& heartbeat, uint16_t version) {
  Bytes out;
  out.reserve(kHeartbeatBytes);
  ByteWriter w(out);
  w.le(kHeartbeatMagic);
  w.le(version);
  w.le(static_cast<uint8_t>(heartbeat.role));
  w.zeros(1);
  w.le(heartbeat.session.value());
  w.le(heartbeat.generation.value());
  w.le(heartbeat.sequence);
  w.le(heartbeat.echo_sequence);
  w.le(heartbeat.sent_at);
  w.le(heartbeat.echo_sent_at);
  w.le(heartbeat.epoch.value());
  w.le(heartbeat.committed.value());
  w.le(heartbeat.health & kHealthMask);
  w.zeros(4);
  w.le(static_cast<uint64_t>(XXH3_64bits(out.data(), out.size())));
  US_CHECK(out.size() == kHeartbeatBytes);
  std::array<uint8_t, kHeartbeatBytes> datagram;
  std::copy(out.begin(), out.end(), datagram.begin());
  return datagram;
}

Result<Heartbeat> decode_heartbeat(ByteSpan datagram, uint16_t version) {
  if (datagram.size() != kHeartbeatBytes)
    return bad(fmt::format("{} bytes instead of {}", datagram.size(), kHeartbeatBytes));
  ByteReader r(datagram);
  if (r.le<uint32_t>() != kHeartbeatMagic) return bad("no magic");
  if (load_le<uint64_t>(datagram.data() + kChecksumAt) != XXH3_64bits(datagram.data(), kChecksumAt))
    return bad("checksum does not match");
  if (const uint16_t v = r.le<uint16_t>(); v != version)
    return bad(fmt::format("protocol version {}, expected {}", v, version));
  Heartbeat h;
  const uint8_t role = r.le<uint8_t>();
  if (role != 1 && role != 2) return bad(fmt::format("unknown role {}", role));
  h.role = static_cast<HeartbeatRole>(role);
  if (r.le<uint8_t>() != 0) return bad("reserved byte is not 0");
  h.session = SessionId{r.le<uint64_t>()};
  h.generation = Generation{r.le<uint64_t>()};
  h.sequence = r.le<uint64_t>();
  h.echo_sequence = r.le<uint64_t>();
  h.sent_at = r.le<uint64_t>();
  h.echo_sent_at = r.le<uint64_t>();
  h.epoch = Epoch{r.le<uint64_t>()};
  h.committed = Epoch{r.le<uint64_t>()};
  h.health = r.le<uint32_t>();
  if ((h.health & ~kHealthMask) != 0) return bad(fmt::format("unknown health bits {:#x}", h.health & ~kHealthMask));
  if (r.le<uint32_t>() != 0) return bad("reserved bytes are not 0");
  return h;
}

}  // namespace us
