// AlignedBuffer: memory for disk data, aligned to kAlignment so that it can be read and written with O_DIRECT.  Not
// initialised, except by zeroed().  Move-only; its size never changes.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <utility>

#include "base/bytes.h"

namespace us {

class AlignedBuffer {
 public:
  static constexpr size_t kAlignment = 4096;

  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t size) : size_(size) {
    if (size > 0) memory_.reset(static_cast<uint8_t*>(::operator new (size, std::align_val_t{kAlignment})));
  }
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

 private:
  struct Free {
    void operator()(uint8_t* memory) const { ::operator delete (memory, std::align_val_t{kAlignment}); }
  };
  std::unique_ptr<uint8_t, Free> memory_;
  size_t size_ = 0;
};

}  // namespace us
