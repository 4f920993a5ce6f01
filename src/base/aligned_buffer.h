// AlignedBuffer: memory for disk data, aligned to kAlignment so that it can be read and written with O_DIRECT.  Not
// initialised, except by zeroed().  Move-only; its size never changes.
//
// Large ones are kept when they are freed, and used again: fresh memory of that size costs the kernel more (a page
// fault and a cleared page for each 4 KiB) than the copy into it.  At most kKeptBytesMax are kept in the whole process.
// Any thread may make and free them.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <utility>

#include "base/bytes.h"

namespace us {

class AlignedBuffer {
 public:
  static constexpr size_t kAlignment = 4096;
  static constexpr size_t kKeptBytesMax = size_t{48} << 20;

  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t size) : memory_(take(size)), size_(size) {}
  static AlignedBuffer zeroed(size_t size) {
    AlignedBuffer buffer(size);
    if (size > 0) std::memset(buffer.data(), 0, size);
    return buffer;
  }
  static AlignedBuffer copy_of(ByteSpan from) {
    AlignedBuffer buffer(from.size());
    if (!from.empty()) std::memcpy(buffer.data(), from.data(), from.size());
    return buffer;
  }
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : memory_(std::move(other.memory_)), size_(std::exchange(other.size_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    memory_ = std::move(other.memory_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  uint8_t* data() { return memory_.get(); }
  const uint8_t* data() const { return memory_.get(); }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::span<uint8_t> span() { return {data(), size_}; }
  ByteSpan span() const { return {data(), size_}; }

  // Freed and kept, in the whole process.
  static size_t kept_bytes();

 private:
  struct Free {
    Free() : size(0) {}
    explicit Free(size_t bytes) : size(bytes) {}
    size_t size;
    void operator()(uint8_t* memory) const;
  };
  using Memory = std::unique_ptr<uint8_t, Free>;
  static Memory take(size_t size);

  Memory memory_;
  size_t size_ = 0;
};

}  // namespace us
