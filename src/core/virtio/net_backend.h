// NetBackend: the state of one vhost-user network device on the back-end side: negotiated features, memory table, one
// receive and one transmit ring.  Pure: the owner reads the socket, keeps the descriptors, and does what is answered.
//
// Ring 0 receives (to the guest), ring 1 transmits (from the guest).  A ring starts at SET_VRING_KICK and stops at
// GET_VRING_BASE; the answer to that is the promise that the ring's memory is not touched until the next start.
// QEMU goes through this at each stop and cont of the VM, so once per epoch.
//
// An error from handle() means that front end and back end no longer understand each other; the owner closes the
// connection, calls reset(), and the front end may connect again.  What a *guest* does wrong never ends up there: it
// becomes a ring's fault().
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "core/virtio/net_ring.h"
#include "core/virtio/split_ring.h"
#include "core/virtio/vhost_user.h"

namespace us {

// Which file a descriptor refers to.
struct FileIdentity {
  uint64_t device = 0;
  uint64_t inode = 0;
  bool operator==(const FileIdentity&) const = default;
};

class NetBackend {
 public:
  static constexpr uint32_t kReceive = 0;
  static constexpr uint32_t kTransmit = 1;
  static constexpr uint32_t kRings = 2;

  // `ram` identifies the file that `memory` maps; a memory table may name no other.
  NetBackend(GuestMemory memory, FileIdentity ram);
  NetBackend(const NetBackend&) = delete;
  NetBackend& operator=(const NetBackend&) = delete;

  struct Answer {
    std::optional<Bytes> reply;
    std::optional<uint32_t> started;  // this ring runs now
    std::optional<uint32_t> stopped;
    bool features_changed = false;
  };
  // `files` identifies the descriptors that came with the message, in order.
  Result<Answer> handle(const VhostUserMessage& message, std::span<const FileIdentity> files);

  // The front end is gone: stops and forgets everything.
  void reset();

  SplitRing& ring(uint32_t index) { return rings_[index].ring; }
  // Running, and not switched off by SET_VRING_ENABLE.
  bool active(uint32_t index) const { return rings_[index].ring.running() && rings_[index].enabled; }
  bool quiescent() const { return !rings_[kReceive].ring.running() && !rings_[kTransmit].ring.running(); }
  GuestMemory& memory() { return memory_; }
  const NetRingFormat& format() const { return format_; }
  uint64_t features() const { return features_; }

  // The features offered, by what each is good for.
  static uint64_t offered_features();
  static bool has_guest_tso_ecn(uint64_t features);

 private:
  struct Ring {
    Ring(RingDirection direction, GuestMemory& memory) : ring(direction, memory) {}
    SplitRing ring;
    RingSetup setup;
    bool enabled = false;
  };
  Status set_features(uint64_t features);
  Status set_memory(const VhostUserMessage& message, std::span<const FileIdentity> files);
  Status start_ring(uint32_t index, const VhostUserMessage& message);
  Status set_ring(const VhostUserMessage& message, Answer& answer);

  GuestMemory memory_;
  FileIdentity ram_;
  uint64_t features_ = 0;
  NetRingFormat format_;
  std::array<Ring, kRings> rings_;
};

}  // namespace us
