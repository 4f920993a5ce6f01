// vhost-user messages as a back end sees them (QEMU docs/interop/vhost-user.rst): decoding and checking what the
// front end sends, encoding what we answer.  Bytes only; descriptors travel beside them and belong to the caller.
//
// A message is a 12-byte header { u32 request, u32 flags, u32 size } and `size` bytes, in host byte order.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "core/virtio/guest_memory.h"

namespace us {

inline constexpr size_t kVhostUserHeaderBytes = 12;
inline constexpr uint32_t kVhostUserPayloadMax = 4096;
inline constexpr size_t kVhostUserFdsMax = GuestMemory::kMaxRegions;

enum class VhostUserRequest : uint32_t {
  kGetFeatures = 1,
  kSetFeatures = 2,
  kSetOwner = 3,
  kResetOwner = 4,
  kSetMemTable = 5,
  kSetLogBase = 6,
  kSetLogFd = 7,
  kSetVringNum = 8,
  kSetVringAddr = 9,
  kSetVringBase = 10,
  kGetVringBase = 11,
  kSetVringKick = 12,
  kSetVringCall = 13,
  kSetVringErr = 14,
  kGetProtocolFeatures = 15,
  kSetProtocolFeatures = 16,
  kGetQueueNum = 17,
  kSetVringEnable = 18,
};
const char* to_string(VhostUserRequest request);

struct VhostUserHeader {
  VhostUserRequest request;
  uint32_t payload_bytes;
  bool need_reply;
};
// Refuses an unknown request, another protocol version, a reply, and a payload size that the request cannot have.
Result<VhostUserHeader> decode_vhost_user_header(ByteSpan header);

// One message.  Which fields mean something depends on the request.
struct VhostUserMessage {
  VhostUserRequest request = VhostUserRequest::kGetFeatures;
  bool need_reply = false;
  uint64_t value = 0;                                            // features, queue count
  uint32_t ring = 0;                                             // all SET_VRING_*, GET_VRING_BASE
  uint32_t ring_value = 0;                                       // NUM, BASE, ENABLE
  bool has_fd = false;                                           // KICK, CALL, ERR: a descriptor comes along
  uint64_t descriptors_user = 0, used_user = 0, avail_user = 0;  // ADDR
  std::vector<MemoryRegion> regions{};                           // MEM_TABLE, one descriptor each
  // How many descriptors must come along.
  size_t fd_count() const { return request == VhostUserRequest::kSetMemTable ? regions.size() : (has_fd ? 1 : 0); }
};
Result<VhostUserMessage> decode_vhost_user(const VhostUserHeader& header, ByteSpan payload);

Bytes encode_vhost_user_u64(VhostUserRequest request, uint64_t value);
Bytes encode_vhost_user_ring_state(VhostUserRequest request, uint32_t ring, uint32_t value);

}  // namespace us
