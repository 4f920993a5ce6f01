#include "core/virtio/vhost_user.h"

#include <fmt/format.h>

namespace us {
namespace {

constexpr uint32_t kVersionMask = 3;
constexpr uint32_t kVersion = 1;
constexpr uint32_t kFlagReply = 4;
constexpr uint32_t kFlagNeedReply = 8;
constexpr uint64_t kRingIndexMask = 0xff;
constexpr uint64_t kNoFd = 0x100;
constexpr uint32_t kRegionBytes = 32;
constexpr uint32_t kTableHeaderBytes = 8;

struct Shape {
  VhostUserRequest request;
  const char* name;
  uint32_t bytes_min, bytes_max;
};
constexpr uint32_t kTableMax = kTableHeaderBytes + kRegionBytes * GuestMemory::kMaxRegions;
constexpr Shape kShapes[] = {
    {VhostUserRequest::kGetFeatures, "GET_FEATURES", 0, 0},
    {VhostUserRequest::kSetFeatures, "SET_FEATURES", 8, 8},
    {VhostUserRequest::kSetOwner, "SET_OWNER", 0, 0},
    {VhostUserRequest::kResetOwner, "RESET_OWNER", 0, 0},
    {VhostUserRequest::kSetMemTable, "SET_MEM_TABLE", kTableHeaderBytes, kTableMax},
    {VhostUserRequest::kSetLogBase, "SET_LOG_BASE", 8, 16},
    {VhostUserRequest::kSetLogFd, "SET_LOG_FD", 0, 8},
    {VhostUserRequest::kSetVringNum, "SET_VRING_NUM", 8, 8},
    {VhostUserRequest::kSetVringAddr, "SET_VRING_ADDR", 40, 40},
    {VhostUserRequest::kSetVringBase, "SET_VRING_BASE", 8, 8},
    {VhostUserRequest::kGetVringBase, "GET_VRING_BASE", 8, 8},
    {VhostUserRequest::kSetVringKick, "SET_VRING_KICK", 8, 8},
    {VhostUserRequest::kSetVringCall, "SET_VRING_CALL", 8, 8},
    {VhostUserRequest::kSetVringErr, "SET_VRING_ERR", 8, 8},
    {VhostUserRequest::kGetProtocolFeatures, "GET_PROTOCOL_FEATURES", 0, 0},
    {VhostUserRequest::kSetProtocolFeatures, "SET_PROTOCOL_FEATURES", 8, 8},
    {VhostUserRequest::kGetQueueNum, "GET_QUEUE_NUM", 0, 0},
    {VhostUserRequest::kSetVringEnable, "SET_VRING_ENABLE", 8, 8},
};

const Shape* shape_of(uint32_t request) {
  for (const Shape& s : kShapes)
    if (static_cast<uint32_t>(s.request) == request) return &s;
  return nullptr;
}

Status decode_table(ByteReader& in, VhostUserMessage& m) {
  const uint32_t count = in.le<uint32_t>();
  in.skip(4);
  if (count > GuestMemory::kMaxRegions || in.remaining() < size_t{count} * kRegionBytes)
    return fail(ErrorKind::kProtocol,
                fmt::format("vhost-user: SET_MEM_TABLE names {} regions in {} bytes", count, in.remaining()));
  for (uint32_t i = 0; i < count; ++i) {
    MemoryRegion r;
    r.guest = GuestPhysAddr{in.le<uint64_t>()};
    r.bytes = in.le<uint64_t>();
    r.user = in.le<uint64_t>();
    r.file_offset = in.le<uint64_t>();
    m.regions.push_back(r);
  }
  return {};
}

void decode_address(ByteReader& in, VhostUserMessage& m) {
  m.ring = in.le<uint32_t>();
  in.skip(4);  // flags: only "log writes", which we do not offer
  m.descriptors_user = in.le<uint64_t>();
  m.used_user = in.le<uint64_t>();
  m.avail_user = in.le<uint64_t>();
  in.skip(8);  // log address
}

Bytes encode_header(VhostUserRequest request, uint32_t payload_bytes) {
  Bytes out;
  ByteWriter w(out);
  w.le(static_cast<uint32_t>(request));
  w.le(uint32_t{kVersion | kFlagReply});
  w.le(payload_bytes);
  return out;
}

}  // namespace

const char* to_string(VhostUserRequest request) {
  const Shape* s = shape_of(static_cast<uint32_t>(request));
  return s == nullptr ? "?" : s->name;
}

Result<VhostUserHeader> decode_vhost_user_header(ByteSpan header) {
  ByteReader in(header);
  const uint32_t request = in.le<uint32_t>();
  const uint32_t flags = in.le<uint32_t>();
  const uint32_t bytes = in.le<uint32_t>();
  if (!in.done()) return fail(ErrorKind::kProtocol, "vhost-user: header is cut short");
  const Shape* s = shape_of(request);
  if (s == nullptr) return fail(ErrorKind::kProtocol, fmt::format("vhost-user: unknown request {}", request));
  if ((flags & kVersionMask) != kVersion || (flags & kFlagReply) != 0)
    return fail(ErrorKind::kProtocol, fmt::format("vhost-user: {} has wrong flags {:#x}", s->name, flags));
  if (bytes < s->bytes_min || bytes > s->bytes_max)
    return fail(ErrorKind::kProtocol, fmt::format("vhost-user: {} has {} bytes, expected {} to {}", s->name, bytes,
                                                  s->bytes_min, s->bytes_max));
  return VhostUserHeader{s->request, bytes, (flags & kFlagNeedReply) != 0};
}

Result<VhostUserMessage> decode_vhost_user(const VhostUserHeader& header, ByteSpan payload) {
  ByteReader in(payload);
  VhostUserMessage m;
  m.request = header.request;
  m.need_reply = header.need_reply;
  switch (header.request) {
    case VhostUserRequest::kGetFeatures:
    case VhostUserRequest::kSetOwner:
    case VhostUserRequest::kResetOwner:
    case VhostUserRequest::kGetProtocolFeatures:
    case VhostUserRequest::kGetQueueNum:
    case VhostUserRequest::kSetLogBase:
    case VhostUserRequest::kSetLogFd:
      break;
    case VhostUserRequest::kSetFeatures:
    case VhostUserRequest::kSetProtocolFeatures:
      m.value = in.le<uint64_t>();
      break;
    case VhostUserRequest::kSetMemTable:
      US_TRY(decode_table(in, m));
      break;
    case VhostUserRequest::kSetVringAddr:
      decode_address(in, m);
      break;
    case VhostUserRequest::kSetVringKick:
    case VhostUserRequest::kSetVringCall:
    case VhostUserRequest::kSetVringErr:
      m.value = in.le<uint64_t>();
      m.ring = static_cast<uint32_t>(m.value & kRingIndexMask);
      m.has_fd = (m.value & kNoFd) == 0;
      break;
    case VhostUserRequest::kSetVringNum:
    case VhostUserRequest::kSetVringBase:
    case VhostUserRequest::kGetVringBase:
    case VhostUserRequest::kSetVringEnable:
      m.ring = in.le<uint32_t>();
      m.ring_value = in.le<uint32_t>();
      break;
  }
  if (!in.ok())
    return fail(ErrorKind::kProtocol, fmt::format("vhost-user: {} is cut short", to_string(header.request)));
  return m;
}

Bytes encode_vhost_user_u64(VhostUserRequest request, uint64_t value) {
  Bytes out = encode_header(request, 8);
  ByteWriter(out).le(value);
  return out;
}

Bytes encode_vhost_user_ring_state(VhostUserRequest request, uint32_t ring, uint32_t value) {
  Bytes out = encode_header(request, 8);
  ByteWriter w(out);
  w.le(ring);
  w.le(value);
  return out;
}

}  // namespace us
