// FakeDriver: the driver's side of one split ring, for tests and the fuzz target.  Well-behaved through post() and
// collect(); anything else a hostile driver could do through the raw setters.
//
// Works on a RAM image of the test's own.  Guest-physical addresses, front-end addresses and file offsets differ by
// constants, so that mixing them up fails.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "core/virtio/guest_memory.h"
#include "core/virtio/split_ring.h"

namespace us {

// RAM with room for rings and buffers, and the memory view over it.
struct FakeRam {
  static constexpr uint64_t kGuestBase = 0x4000'0000;
  static constexpr uint64_t kUserBase = 0x7f00'0000'0000;

  explicit FakeRam(uint64_t bytes) : FakeRam(Bytes(bytes)) {}
  // Over memory of the caller's, such as a mapped file.
  explicit FakeRam(std::span<uint8_t> mapped)
      : base(mapped.data()), size(mapped.size()), dirty(size / kPageSize), memory(base, size, dirty) {
    const MemoryRegion all{GuestPhysAddr{kGuestBase}, size, kUserBase, 0};
    US_CHECK(memory.set_regions({&all, 1}).has_value());
  }
  FakeRam(const FakeRam&) = delete;
  FakeRam& operator=(const FakeRam&) = delete;

  uint8_t* at(uint64_t offset) { return base + offset; }
  Bytes copy() const { return {base, base + size}; }

 private:
  explicit FakeRam(Bytes owned) : FakeRam(std::span(owned)) { owned_ = std::move(owned); }
  Bytes owned_;

 public:
  uint8_t* base;
  uint64_t size;
  DirtySet dirty;
  GuestMemory memory;
};

// Checks that whatever changes in the RAM from here on is marked in the dirty set, which it clears.
class WriteAudit {
 public:
  explicit WriteAudit(FakeRam& ram) : ram_(ram), before_(ram.copy()) {
    ram_.dirty.drain([](PageIndex) {});
  }
  // The first page that was changed and not marked.
  std::optional<PageIndex> unmarked() {
    std::vector<bool> marked(ram_.dirty.page_count());
    ram_.dirty.drain([&](PageIndex p) { marked[p.value()] = true; });
    for (size_t p = 0; p < marked.size(); ++p)
      if (!marked[p] && std::memcmp(before_.data() + p * kPageSize, ram_.at(p * kPageSize), kPageSize) != 0)
        return PageIndex{p};
    return std::nullopt;
  }

 private:
  FakeRam& ram_;
  Bytes before_;
};

class FakeDriver {
 public:
  static constexpr uint16_t kNext = 1, kWrite = 2, kIndirect = 4;
  static constexpr uint64_t kRingBytes = 64 << 10;

  // Takes the RAM from `offset` on: kRingBytes for the ring, then `arena` bytes for buffers.
  FakeDriver(FakeRam& ram, uint64_t offset, uint16_t size, uint64_t arena)
      : ram_(&ram), offset_(offset), size_(size), arena_start_(offset + kRingBytes), arena_bytes_(arena) {
    for (uint16_t i = 0; i < size; ++i) free_.push_back(i);
    heads_.resize(size);
  }

  RingSetup setup(uint16_t base = 0) const {
    return {size_, base, FakeRam::kUserBase + offset_, FakeRam::kUserBase + avail_at(), FakeRam::kUserBase + used_at()};
  }
  uint64_t avail_at() const { return offset_ + 16 * size_; }
  uint64_t used_at() const { return (avail_at() + 6 + 2 * size_ + 3) / 4 * 4; }

  // --- raw ---
  void set_descriptor(uint64_t table, uint64_t index, uint64_t guest, uint32_t bytes, uint16_t flags, uint16_t next) {
    uint8_t* d = ram_->at(table + 16 * index);
    store_le(d, guest);
    store_le(d + 8, bytes);
    store_le(d + 12, flags);
    store_le(d + 14, next);
  }
  void set_descriptor(uint64_t index, uint64_t guest, uint32_t bytes, uint16_t flags, uint16_t next = 0) {
    set_descriptor(offset_, index, guest, bytes, flags, next);
  }
  // A device on another thread may look at once: everything before is visible to it.
  void set_avail_index(uint16_t index) {
    __atomic_store_n(reinterpret_cast<uint16_t*>(ram_->at(avail_at() + 2)), avail_ = index, __ATOMIC_RELEASE);
  }
  void set_avail_flags(uint16_t flags) { store_le(ram_->at(avail_at()), flags); }
  void set_used_event(uint16_t event) {
    __atomic_store_n(reinterpret_cast<uint16_t*>(ram_->at(avail_at() + 4 + 2 * size_)), event, __ATOMIC_RELEASE);
  }
  void set_used_index(uint16_t index) { store_le(ram_->at(used_at() + 2), used_ = index); }
  uint16_t avail_index() const { return avail_; }
  uint16_t collected() const { return used_; }  // used index up to which collect() has gone
  uint16_t used_index() {
    return __atomic_load_n(reinterpret_cast<uint16_t*>(ram_->at(used_at() + 2)), __ATOMIC_ACQUIRE);
  }
  uint16_t used_flags() { return load_le<uint16_t>(ram_->at(used_at())); }
  uint16_t avail_event() { return load_le<uint16_t>(ram_->at(used_at() + 4 + 8 * size_)); }
  // Makes a head available without owning its descriptors.
  void offer(uint16_t head) {
    store_le(ram_->at(avail_at() + 4 + 2 * (avail_ % size_)), head);
    set_avail_index(static_cast<uint16_t>(avail_ + 1));
  }

  // --- well-behaved ---
  struct Buffer {
    uint64_t offset;  // in RAM
    uint32_t bytes;
  };
  struct Used {
    uint16_t head;
    uint32_t written;
    std::vector<Buffer> buffers;
  };
  // Offers one chain of buffers of these sizes, filled with `contents`; nothing if descriptors or the arena run out.
  std::optional<uint16_t> post(std::span<const uint32_t> sizes, bool writable, bool indirect = false,
                               ByteSpan contents = {}) {
    uint64_t bytes = indirect ? 16 * (sizes.size() + 1) : 0;
    for (const uint32_t s : sizes) bytes += s;
    const size_t descriptors = indirect ? 1 : sizes.size();
    if (free_.size() < descriptors || bytes > arena_bytes_ / size_) return std::nullopt;
    std::vector<uint16_t> taken(free_.begin(), free_.begin() + static_cast<ptrdiff_t>(descriptors));
    free_.erase(free_.begin(), free_.begin() + static_cast<ptrdiff_t>(descriptors));
    const uint16_t head = taken[0];
    // Each head has its own slice of the arena; an indirect table goes to the front of it.
    uint64_t at = arena_start_ + arena_bytes_ / size_ * head;
    const uint64_t table = (at + 15) / 16 * 16;
    if (indirect) at = table + 16 * sizes.size();
    Chain& chain = heads_[head];
    chain = {taken, {}};
    for (size_t i = 0; i < sizes.size(); ++i) {
      const auto flags = static_cast<uint16_t>((i + 1 < sizes.size() ? kNext : 0) | (writable ? kWrite : 0));
      const auto next = static_cast<uint16_t>(indirect ? i + 1 : (i + 1 < sizes.size() ? taken[i + 1] : 0));
      set_descriptor(indirect ? table : offset_, indirect ? i : taken[i], guest(at), sizes[i], flags, next);
      chain.buffers.push_back({at, sizes[i]});
      at += sizes[i];
    }
    if (indirect) set_descriptor(head, guest(table), static_cast<uint32_t>(16 * sizes.size()), kIndirect);
    for (const Buffer& b : chain.buffers) {
      const size_t n = std::min<size_t>(b.bytes, contents.size());
      if (n > 0) std::memcpy(ram_->at(b.offset), contents.data(), n);
      contents = contents.subspan(n);
    }
    offer(head);
    return head;
  }
  // The next chain the device gave back.
  std::optional<Used> collect() {
    if (used_index() == used_) return std::nullopt;
    const uint8_t* entry = ram_->at(used_at() + 4 + 8 * (used_ % size_));
    ++used_;
    const auto head = static_cast<uint16_t>(load_le<uint32_t>(entry));
    Used out{head, load_le<uint32_t>(entry + 4), heads_[head].buffers};
    free_.insert(free_.end(), heads_[head].descriptors.begin(), heads_[head].descriptors.end());
    heads_[head] = {};
    return out;
  }
  Bytes contents(const Used& used) {
    Bytes out;
    size_t left = used.written;
    for (const Buffer& b : used.buffers) {
      const size_t n = std::min<size_t>(b.bytes, left);
      out.insert(out.end(), ram_->at(b.offset), ram_->at(b.offset) + n);
      left -= n;
    }
    return out;
  }
  static uint64_t guest(uint64_t offset) { return FakeRam::kGuestBase + offset; }

 private:
  struct Chain {
    std::vector<uint16_t> descriptors;
    std::vector<Buffer> buffers;
  };
  FakeRam* ram_;
  uint64_t offset_;
  uint16_t size_;
  uint64_t arena_start_, arena_bytes_;
  std::deque<uint16_t> free_;
  std::vector<Chain> heads_;
  uint16_t avail_ = 0;
  uint16_t used_ = 0;
};

}  // namespace us
