#include "core/virtio/net_backend.h"

#include <fmt/format.h>

#include <utility>

namespace us {
namespace {

// virtio 1.2, 5.1.3 and 6.
constexpr uint64_t bit(int n) { return uint64_t{1} << n; }
constexpr uint64_t kNetCsum = bit(0);
constexpr uint64_t kNetGuestCsum = bit(1);
constexpr uint64_t kNetGuestTso4 = bit(7);
constexpr uint64_t kNetGuestTso6 = bit(8);
constexpr uint64_t kNetGuestEcn = bit(9);
constexpr uint64_t kNetHostTso4 = bit(11);
constexpr uint64_t kNetHostTso6 = bit(12);
constexpr uint64_t kNetHostEcn = bit(13);
constexpr uint64_t kNetMergeable = bit(15);
constexpr uint64_t kAnyLayout = bit(27);
constexpr uint64_t kRingIndirect = bit(28);
constexpr uint64_t kRingEventIndex = bit(29);
constexpr uint64_t kProtocolFeatures = bit(30);  // vhost-user's own, never seen by the guest
constexpr uint64_t kVersion1 = bit(32);

// Only what changes the ring or the frames is ours to offer; the rest (status, control queue, announce) QEMU does.
// Protocol features must be offered, because QEMU fails to start the rings if it cannot send SET_VRING_ENABLE; the set
// itself is empty: no message may wait for an answer that is not needed.
constexpr uint64_t kOffered = kNetCsum | kNetGuestCsum | kNetGuestTso4 | kNetGuestTso6 | kNetGuestEcn | kNetHostTso4 |
                              kNetHostTso6 | kNetHostEcn | kNetMergeable | kAnyLayout | kRingIndirect |
                              kRingEventIndex | kProtocolFeatures | kVersion1;

}  // namespace

NetBackend::NetBackend(GuestMemory memory, FileIdentity ram)
    : memory_(std::move(memory)),
      ram_(ram),
      rings_{Ring{RingDirection::kToDriver, memory_}, Ring{RingDirection::kFromDriver, memory_}} {}

uint64_t NetBackend::offered_features() { return kOffered; }
bool NetBackend::has_guest_tso_ecn(uint64_t features) { return (features & kNetGuestEcn) != 0; }

void NetBackend::reset() {
  for (Ring& r : rings_) {
    r.ring.stop();
    r.setup = {};
    r.enabled = false;
  }
  memory_.clear_regions();
  features_ = 0;
  format_ = {};
}

Result<NetBackend::Answer> NetBackend::handle(const VhostUserMessage& message, std::span<const FileIdentity> files) {
  Answer answer;
  if (files.size() != message.fd_count())
    return fail(ErrorKind::kProtocol, fmt::format("vhost-user: {} came with {} descriptors, expected {}",
                                                  to_string(message.request), files.size(), message.fd_count()));
  switch (message.request) {
    case VhostUserRequest::kGetFeatures:
      answer.reply = encode_vhost_user_u64(message.request, kOffered);
      return answer;
    case VhostUserRequest::kGetProtocolFeatures:
      answer.reply = encode_vhost_user_u64(message.request, 0);
      return answer;
    case VhostUserRequest::kSetProtocolFeatures:
      if (message.value != 0) break;
      return answer;
    case VhostUserRequest::kSetFeatures:
      answer.features_changed = message.value != features_;
      US_TRY(set_features(message.value));
      return answer;
    case VhostUserRequest::kSetMemTable:
      US_TRY(set_memory(message, files));
      return answer;
    case VhostUserRequest::kSetOwner:
    case VhostUserRequest::kResetOwner:  // deprecated; the rings are stopped by GET_VRING_BASE
      return answer;
    case VhostUserRequest::kSetVringNum:
    case VhostUserRequest::kSetVringAddr:
    case VhostUserRequest::kSetVringBase:
    case VhostUserRequest::kGetVringBase:
    case VhostUserRequest::kSetVringKick:
    case VhostUserRequest::kSetVringCall:
    case VhostUserRequest::kSetVringErr:
    case VhostUserRequest::kSetVringEnable:
      US_TRY(set_ring(message, answer));
      return answer;
    case VhostUserRequest::kSetLogBase:
    case VhostUserRequest::kSetLogFd:
    case VhostUserRequest::kGetQueueNum:
      break;
  }
  return fail(ErrorKind::kProtocol, fmt::format("vhost-user: {} was not offered", to_string(message.request)));
}

Status NetBackend::set_features(uint64_t features) {
  if ((features & ~kOffered) != 0)
    return fail(ErrorKind::kProtocol, fmt::format("vhost-user: features {:#x} were not offered", features & ~kOffered));
  // QEMU changes them only while the rings stand still; a ring's layout must not change under it.
  if (!quiescent() && features != features_)
    return fail(ErrorKind::kProtocol, "vhost-user: SET_FEATURES while a ring is running");
  features_ = features;
  const auto has = [features](uint64_t mask) { return (features & mask) != 0; };
  format_.header_bytes = has(kVersion1 | kNetMergeable) ? 12 : 10;
  format_.mergeable = has(kNetMergeable);
  format_.guest_checksum = has(kNetGuestCsum);
  format_.guest_tso4 = has(kNetGuestTso4);
  format_.guest_tso6 = has(kNetGuestTso6);
  // "Ring states" in vhost-user.rst: without protocol features there is no SET_VRING_ENABLE.
  if (!has(kProtocolFeatures))
    for (Ring& r : rings_) r.enabled = true;
  return {};
}

Status NetBackend::set_memory(const VhostUserMessage& message, std::span<const FileIdentity> files) {
  for (size_t i = 0; i < files.size(); ++i)
    if (files[i] != ram_)
      return fail(
          ErrorKind::kProtocol,
          fmt::format(
              "vhost-user: memory region {} (guest address {:#x}, {:#x} bytes) is in another file than the guest's RAM",
              i, message.regions[i].guest.value(), message.regions[i].bytes));
  US_TRY(memory_.set_regions(message.regions));
  for (Ring& r : rings_) r.ring.memory_changed();
  return {};
}

Status NetBackend::set_ring(const VhostUserMessage& message, Answer& answer) {
  if (message.ring >= kRings)
    return fail(ErrorKind::kProtocol, fmt::format("vhost-user: {} for ring {}, there are {}",
                                                  to_string(message.request), message.ring, kRings));
  Ring& r = rings_[message.ring];
  switch (message.request) {
    case VhostUserRequest::kGetVringBase:
      if (r.ring.running()) answer.stopped = message.ring;
      answer.reply = encode_vhost_user_ring_state(message.request, message.ring, r.ring.stop());
      return {};
    case VhostUserRequest::kSetVringEnable:
      r.enabled = message.ring_value != 0;
      return {};
    case VhostUserRequest::kSetVringKick:
      US_TRY(start_ring(message.ring, message));
      answer.started = message.ring;
      return {};
    case VhostUserRequest::kSetVringNum:
      r.setup.size = message.ring_value;
      break;
    case VhostUserRequest::kSetVringBase:
      r.setup.base = message.ring_value;
      break;
    case VhostUserRequest::kSetVringAddr:
      r.setup.descriptors_user = message.descriptors_user;
      r.setup.avail_user = message.avail_user;
      r.setup.used_user = message.used_user;
      break;
    default:  // CALL and ERR only carry a descriptor, which is the owner's
      return {};
  }
  if (r.ring.running())
    return fail(ErrorKind::kProtocol,
                fmt::format("vhost-user: {} while ring {} is running", to_string(message.request), message.ring));
  return {};
}

Status NetBackend::start_ring(uint32_t index, const VhostUserMessage& message) {
  Ring& r = rings_[index];
  if (!message.has_fd) return fail(ErrorKind::kProtocol, "vhost-user: a ring without kicks is not supported");
  if (r.ring.running()) return {};  // a new descriptor for a running ring
  US_TRY(r.ring.start(
      r.setup, {.event_index = (features_ & kRingEventIndex) != 0, .indirect = (features_ & kRingIndirect) != 0}));
  return {};
}

}  // namespace us
