// SplitRing: the device side of one split virtqueue (virtio 1.2, section 2.7) against a driver that may be hostile.
//
//            last_avail        taken       cursor      avail->idx
//     ... used  |  used, not yet |  looked at  | offered   |
//               |  published     |             |           |
//
// A transaction in three steps, so that a frame which does not fit costs nothing: next() looks at chains, one after
// the other; use() gives the ones looked at back to the driver with what was written to them, rewind() forgets them
// instead; publish() makes everything used so far visible with a single store of used->idx.  Whether the driver wants
// an interrupt for it may be asked at once or, to interrupt it less often, later.
//
// Everything popped is used before stop(), so that nothing is in flight while the ring stands still: then last_avail
// equals used->idx, and the device state that QEMU saves is complete.
//
// Started by start(), which turns the untrusted addresses into checked pointers; between stop() and start() no byte
// of guest memory is read or written.  The first thing in the ring that makes no sense sets fault(); a faulty ring
// gives no chains and takes none until it is started again.  Descriptors are copied once, then judged.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "core/virtio/guest_memory.h"

namespace us {

enum class RingFault : uint8_t {
  kNone,
  kAvailIndexJumped,  // avail->idx is more than the ring size ahead
  kHeadOutOfRange,    // avail->ring names a descriptor past the table
  kNextOutOfRange,    // so does a chain
  kChainTooLong,      // a loop, or more descriptors than the ring has
  kBufferOutsideRam,
  kWrongDirection,  // a buffer to be written in the transmit ring, or one to be read in the receive ring
  kIndirectNotNegotiated,
  kIndirectNested,
  kIndirectWithNext,
  kIndirectSize,  // the table's length is zero, no multiple of 16, or too long
  kIndirectOutsideRam,
  kFrameTooShort,   // less than a header and an Ethernet header
  kFrameTooLong,    // more than kMaxEthernetBytes
  kRingOutsideRam,  // a new memory table no longer holds the ring
};
const char* to_string(RingFault fault);

// One descriptor chain, its buffers found and checked.
struct RingChain {
  uint16_t head = 0;
  uint64_t bytes = 0;
  std::vector<GuestPiece> pieces;
};

enum class RingDirection : uint8_t { kFromDriver, kToDriver };

// What the front end said about a ring; untrusted until start() has judged it.
struct RingSetup {
  uint32_t size = 0;
  uint32_t base = 0;  // last_avail to start from
  uint64_t descriptors_user = 0;
  uint64_t avail_user = 0;
  uint64_t used_user = 0;
};

class SplitRing {
 public:
  static constexpr uint32_t kMaxSize = 1024;
  static constexpr uint32_t kMaxIndirect = 1024;

  SplitRing(RingDirection direction, GuestMemory& memory) : direction_(direction), memory_(memory) {}

  struct Options {
    bool event_index = false;
    bool indirect = false;
  };
  // kProtocol if the size is no power of two up to kMaxSize, or a part is misaligned or not in RAM.
  Status start(const RingSetup& setup, Options options);
  // What GET_VRING_BASE answers: the index of the next chain to take.  Also for a ring that was never started.
  uint16_t stop();
  bool running() const { return running_; }
  // Finds the ring again after a new memory table; a ring that is no longer in RAM is at fault.
  void memory_changed();

  enum class Next : uint8_t { kChain, kEmpty, kFault };
  // Looks at the next chain.  `chain` is overwritten; its vector is reused.
  Next next(RingChain& chain);
  void rewind() { cursor_ = taken_; }
  // Gives back a chain that next() gave, in the order given; `written` bytes of it were filled.
  void use(const RingChain& chain, uint32_t written) { use(chain.head, written); }
  void use(uint16_t head, uint32_t written);
  void publish();
  // True if the driver is to be interrupted for what was published since this was last called.
  bool wants_interrupt();
  bool flush() {
    publish();
    return wants_interrupt();
  }
  uint16_t size() const { return size_; }

  // The used index at the last wants_interrupt().
  uint16_t signalled() const { return signalled_; }
  // True if the driver may have missed an interrupt: it waits for one that what was used so far should have caused.
  bool may_have_missed_interrupt() const;

  // True if there are chains that next() has not seen, whatever the driver was told about kicks.
  bool has_unseen() const;

  // Asks the driver for a kick at the next chain after those that next() knows of.  True if there is one already, and
  // no kick would come for it.
  bool enable_kick();
  void disable_kick();

  RingFault fault() const { return fault_; }
  void set_fault(RingFault fault);

 private:
  struct Descriptor;
  bool resolve();
  Next fail_with(RingFault fault);
  bool walk(uint16_t head, RingChain& chain);
  Descriptor table_entry(uint16_t index) const;
  bool enter_indirect(const Descriptor& d, uint32_t& count);
  bool take_buffer(const Descriptor& d, RingChain& chain);
  uint16_t used_event() const;

  RingDirection direction_;
  GuestMemory& memory_;
  RingSetup setup_;
  Options options_;
  bool running_ = false;
  RingFault fault_ = RingFault::kNone;

  uint8_t* descriptors_ = nullptr;
  uint8_t* avail_ = nullptr;
  uint8_t* used_ = nullptr;
  uint16_t size_ = 0;
  uint16_t last_avail_ = 0;  // everything before it is used and published
  uint16_t taken_ = 0;       // everything before it is used
  uint16_t cursor_ = 0;      // everything before it was looked at
  uint16_t avail_seen_ = 0;  // avail->idx when last read
  uint16_t used_index_ = 0;  // used->idx as published
  uint16_t signalled_ = 0;   // used->idx at the last wants_interrupt()
  bool signalled_valid_ = false;
};

}  // namespace us
