// Layout of the three parts (virtio 1.2, 2.7.5, 2.7.6, 2.7.8), n = ring size:
//
//   descriptor table   n x { u64 addr, u32 len, u16 flags, u16 next }                     aligned to 16
//   available ring     u16 flags, u16 idx, u16 ring[n], u16 used_event                    aligned to 2
//   used ring          u16 flags, u16 idx, n x { u32 id, u32 len }, u16 avail_event       aligned to 4
//
// Indices run freely modulo 2^16.  The loads and stores of idx and the events are atomic: the driver runs at the
// same time.  "Publish, then look at the event" and "ask for an event, then look at the index" each need a full fence
// between store and load, on both sides, or both sides miss each other (2.7.10.1, 2.7.7.1).
#include "core/virtio/split_ring.h"

#include <fmt/format.h>

#include <atomic>
#include <bit>

#include "base/bytes.h"
#include "base/check.h"

namespace us {
namespace {

constexpr uint16_t kDescriptorNext = 1;
constexpr uint16_t kDescriptorWrite = 2;
constexpr uint16_t kDescriptorIndirect = 4;
constexpr uint16_t kAvailNoInterrupt = 1;
constexpr uint16_t kUsedNoNotify = 1;
constexpr uint32_t kDescriptorBytes = 16;

uint16_t load16(const uint8_t* p) { return __atomic_load_n(reinterpret_cast<const uint16_t*>(p), __ATOMIC_ACQUIRE); }
void store16(uint8_t* p, uint16_t v) { __atomic_store_n(reinterpret_cast<uint16_t*>(p), v, __ATOMIC_RELEASE); }

uint64_t avail_bytes(uint64_t n) { return 6 + 2 * n; }
uint64_t used_bytes(uint64_t n) { return 6 + 8 * n; }

}  // namespace

struct SplitRing::Descriptor {
  uint64_t address;
  uint32_t bytes;
  uint16_t flags;
  uint16_t next;

  static Descriptor parse(const uint8_t* raw) {
    uint8_t copy[kDescriptorBytes];
    std::memcpy(copy, raw, sizeof copy);
    return {load_le<uint64_t>(copy), load_le<uint32_t>(copy + 8), load_le<uint16_t>(copy + 12),
            load_le<uint16_t>(copy + 14)};
  }
};

const char* to_string(RingFault fault) {
  switch (fault) {
    case RingFault::kNone:
      return "none";
    case RingFault::kAvailIndexJumped:
      return "available index is more than the ring size ahead";
    case RingFault::kHeadOutOfRange:
      return "available entry names a descriptor past the table";
    case RingFault::kNextOutOfRange:
      return "descriptor chain leaves the table";
    case RingFault::kChainTooLong:
      return "descriptor chain loops or is too long";
    case RingFault::kBufferOutsideRam:
      return "buffer lies outside guest RAM";
    case RingFault::kWrongDirection:
      return "buffer has the wrong direction";
    case RingFault::kIndirectNotNegotiated:
      return "indirect descriptor without the feature";
    case RingFault::kIndirectNested:
      return "indirect descriptor inside an indirect table";
    case RingFault::kIndirectWithNext:
      return "indirect descriptor has a successor";
    case RingFault::kIndirectSize:
      return "indirect table has an impossible length";
    case RingFault::kIndirectOutsideRam:
      return "indirect table lies outside guest RAM";
    case RingFault::kFrameTooShort:
      return "frame is shorter than its headers";
    case RingFault::kFrameTooLong:
      return "frame is longer than any packet";
    case RingFault::kRingOutsideRam:
      return "ring is no longer in guest RAM";
  }
  return "?";
}

Status SplitRing::start(const RingSetup& setup, Options options) {
  US_CHECK(!running_);
  if (!std::has_single_bit(setup.size) || setup.size > kMaxSize)
    return fail(ErrorKind::kProtocol, fmt::format("ring size {} is no power of two up to {}", setup.size, kMaxSize));
  if (setup.base > UINT16_MAX) return fail(ErrorKind::kProtocol, fmt::format("ring base {} exceeds 65535", setup.base));
  setup_ = setup;
  options_ = options;
  size_ = static_cast<uint16_t>(setup.size);
  if (!resolve()) return fail(ErrorKind::kProtocol, "ring is misaligned or not in guest RAM");
  last_avail_ = taken_ = cursor_ = avail_seen_ = static_cast<uint16_t>(setup.base);
  used_index_ = signalled_ = load16(used_ + 2);
  signalled_valid_ = false;
  fault_ = RingFault::kNone;
  running_ = true;
  return {};
}

bool SplitRing::resolve() {
  if (setup_.descriptors_user % 16 != 0 || setup_.avail_user % 2 != 0 || setup_.used_user % 4 != 0) return false;
  descriptors_ = memory_.find_user(setup_.descriptors_user, uint64_t{kDescriptorBytes} * size_);
  avail_ = memory_.find_user(setup_.avail_user, avail_bytes(size_));
  used_ = memory_.find_user(setup_.used_user, used_bytes(size_));
  if (descriptors_ == nullptr || avail_ == nullptr || used_ == nullptr) return false;
  // A region may put an aligned front-end address at an odd place of the file.
  const auto at = [](const uint8_t* p) { return reinterpret_cast<uintptr_t>(p); };
  return at(descriptors_) % 16 == 0 && at(avail_) % 2 == 0 && at(used_) % 4 == 0;
}

uint16_t SplitRing::stop() {
  US_CHECK(taken_ == last_avail_);
  running_ = false;
  return last_avail_;
}

void SplitRing::memory_changed() {
  if (!running_ || resolve()) return;
  set_fault(RingFault::kRingOutsideRam);
  running_ = false;  // there is nothing left to look at
}

void SplitRing::set_fault(RingFault fault) {
  if (fault_ == RingFault::kNone) fault_ = fault;
  cursor_ = taken_;
}

SplitRing::Next SplitRing::fail_with(RingFault fault) {
  set_fault(fault);
  return Next::kFault;
}

SplitRing::Next SplitRing::next(RingChain& chain) {
  if (fault_ != RingFault::kNone) return Next::kFault;
  if (!running_) return Next::kEmpty;
  if (cursor_ == avail_seen_) {
    avail_seen_ = load16(avail_ + 2);
    if (static_cast<uint16_t>(avail_seen_ - last_avail_) > size_) return fail_with(RingFault::kAvailIndexJumped);
    if (cursor_ == avail_seen_) return Next::kEmpty;
  }
  const uint16_t head = load16(avail_ + 4 + 2 * (cursor_ % size_));
  if (head >= size_) return fail_with(RingFault::kHeadOutOfRange);
  if (!walk(head, chain)) return Next::kFault;
  ++cursor_;
  return Next::kChain;
}

SplitRing::Descriptor SplitRing::table_entry(uint16_t index) const {
  return Descriptor::parse(descriptors_ + kDescriptorBytes * index);
}

bool SplitRing::walk(uint16_t head, RingChain& chain) {
  chain.head = head;
  chain.bytes = 0;
  chain.pieces.clear();
  Descriptor d = table_entry(head);
  uint32_t table_size = size_;
  uint64_t indirect_at = 0;
  bool indirect = false;
  for (uint32_t left = size_;; --left) {
    if (left == 0) return set_fault(RingFault::kChainTooLong), false;
    if ((d.flags & kDescriptorIndirect) != 0) {
      if (indirect) return set_fault(RingFault::kIndirectNested), false;
      if (!enter_indirect(d, table_size)) return false;
      indirect = true;
      indirect_at = d.address;
      left = table_size + 1;
      d.flags = kDescriptorNext;
      d.next = 0;
    } else if (!take_buffer(d, chain)) {
      return false;
    }
    if ((d.flags & kDescriptorNext) == 0) return true;
    if (d.next >= table_size) return set_fault(RingFault::kNextOutOfRange), false;
    if (!indirect) {
      d = table_entry(d.next);
      continue;
    }
    uint8_t raw[kDescriptorBytes];
    if (!memory_.read(GuestPhysAddr{indirect_at + uint64_t{kDescriptorBytes} * d.next}, raw))
      return set_fault(RingFault::kIndirectOutsideRam), false;
    d = Descriptor::parse(raw);
  }
}

bool SplitRing::enter_indirect(const Descriptor& d, uint32_t& count) {
  if (!options_.indirect) return set_fault(RingFault::kIndirectNotNegotiated), false;
  if ((d.flags & kDescriptorNext) != 0) return set_fault(RingFault::kIndirectWithNext), false;
  if (d.bytes == 0 || d.bytes % kDescriptorBytes != 0 || d.bytes / kDescriptorBytes > kMaxIndirect)
    return set_fault(RingFault::kIndirectSize), false;
  count = d.bytes / kDescriptorBytes;
  return true;
}

bool SplitRing::take_buffer(const Descriptor& d, RingChain& chain) {
  const bool to_driver = (d.flags & kDescriptorWrite) != 0;
  if (to_driver != (direction_ == RingDirection::kToDriver)) return set_fault(RingFault::kWrongDirection), false;
  if (!memory_.find(GuestPhysAddr{d.address}, d.bytes, chain.pieces))
    return set_fault(RingFault::kBufferOutsideRam), false;
  chain.bytes += d.bytes;
  return true;
}

void SplitRing::use(uint16_t head, uint32_t written) {
  US_CHECK(running_ && taken_ != cursor_);
  const auto staged = static_cast<uint16_t>(taken_ - last_avail_);
  uint8_t* entry = used_ + 4 + 8 * (static_cast<uint16_t>(used_index_ + staged) % size_);
  store_le<uint32_t>(entry, head);
  store_le<uint32_t>(entry + 4, written);
  ++taken_;
}

uint16_t SplitRing::used_event() const { return load16(avail_ + 4 + 2 * size_); }

void SplitRing::publish() {
  const auto staged = static_cast<uint16_t>(taken_ - last_avail_);
  if (staged == 0) return;
  used_index_ = static_cast<uint16_t>(used_index_ + staged);
  last_avail_ = taken_;
  store16(used_ + 2, used_index_);
  memory_.wrote(used_, used_bytes(size_));
}

bool SplitRing::wants_interrupt() {
  const uint16_t old = signalled_;
  if (!running_ || used_index_ == old) return false;
  const bool known = signalled_valid_;
  signalled_ = used_index_;
  signalled_valid_ = true;
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!options_.event_index) return (load16(avail_) & kAvailNoInterrupt) == 0;
  if (!known) return true;
  // 2.7.10.1: interrupt if used_event was passed since the last decision.
  return static_cast<uint16_t>(used_index_ - used_event() - 1) < static_cast<uint16_t>(used_index_ - old);
}

bool SplitRing::may_have_missed_interrupt() const {
  if (!running_ || fault_ != RingFault::kNone) return false;
  if (!options_.event_index) return (load16(avail_) & kAvailNoInterrupt) == 0;
  return static_cast<uint16_t>(used_index_ - used_event() - 1) < size_;
}

bool SplitRing::has_unseen() const {
  return running_ && fault_ == RingFault::kNone && load16(avail_ + 2) != avail_seen_;
}

bool SplitRing::enable_kick() {
  if (!running_ || fault_ != RingFault::kNone) return false;
  if (options_.event_index) {
    store16(used_ + 4 + 8 * size_, avail_seen_);
  } else {
    store16(used_, 0);
  }
  memory_.wrote(used_, used_bytes(size_));
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return load16(avail_ + 2) != avail_seen_;
}

void SplitRing::disable_kick() {
  // With the event index nothing is to be done: the driver kicks when it passes avail_event, once.
  if (!running_ || fault_ != RingFault::kNone || options_.event_index) return;
  store16(used_, kUsedNoNotify);
  memory_.wrote(used_, used_bytes(size_));
}

}  // namespace us
