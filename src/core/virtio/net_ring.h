// Frames over a SplitRing: what a virtio-net device does with its transmit and receive rings (virtio 1.2, 5.1.6).
//
// Both copy: the guest's buffers are held only for the length of a call, so nothing is in flight afterwards.
// Both leave publishing to the caller, who does it once per batch.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/net/frame_pool.h"
#include "core/virtio/split_ring.h"

namespace us {

// How the negotiated features shape a frame in the ring.
struct NetRingFormat {
  // 12 with VERSION_1 or MRG_RXBUF; 10 (no buffer_count) for older drivers such as firmware.
  uint8_t header_bytes = 10;
  bool mergeable = false;       // a received frame may span several chains
  bool guest_checksum = false;  // the guest takes frames with the checksum still to be filled in
  bool guest_tso4 = false;
  bool guest_tso6 = false;
};

class NetTransmitter {
 public:
  // The next frame the guest sent, copied out, its buffers used; nothing if there is none or the ring is at fault.
  std::optional<EthernetFrame> take(SplitRing& ring, const NetRingFormat& format, FramePool& pool);

 private:
  RingChain chain_;
};

class NetReceiver {
 public:
  enum class Outcome : uint8_t {
    kDelivered,
    kNoBuffers,  // not enough of them now; nothing was taken from the ring
    kUnfit,      // the guest can never take this frame; it is to be dropped
    kFault,
  };
  Outcome deliver(SplitRing& ring, const NetRingFormat& format, const EthernetFrame& frame, GuestMemory& memory);

 private:
  struct Part {
    uint16_t head;
    uint32_t bytes;
  };
  Outcome gather(SplitRing& ring, bool mergeable, uint64_t bytes);
  void scatter(ByteSpan bytes, GuestMemory& memory);

  RingChain chain_;
  std::vector<Part> parts_;
  std::vector<GuestPiece> pieces_;
  size_t piece_ = 0;  // where scatter() goes on
  uint32_t piece_at_ = 0;
};

}  // namespace us
