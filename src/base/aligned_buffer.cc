#include "base/aligned_buffer.h"

#include <array>
#include <bit>
#include <mutex>
#include <new>
#include <vector>

namespace us {
namespace {

// Kept in sizes of powers of two, from a granule of a synchronisation to a large request.
constexpr size_t kSmallestKept = 32 * 1024;
constexpr size_t kLargestKept = 2 * 1024 * 1024;
constexpr size_t kClasses = 7;
static_assert(kSmallestKept << (kClasses - 1) == kLargestKept);

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kKeep = false;  // whoever uses freed memory is to be found
#else
constexpr bool kKeep = true;
#endif

bool is_kept(size_t size) { return kKeep && size > kSmallestKept / 2 && size <= kLargestKept; }
size_t capacity_of(size_t size) { return is_kept(size) ? std::bit_ceil(size) : size; }
size_t class_of(size_t size) {
  return static_cast<size_t>(std::bit_width(std::bit_ceil(size)) - std::bit_width(kSmallestKept));
}

// Lives as long as the process: buffers may be freed by whatever ends last.
struct Kept {
  std::mutex mutex;
  std::array<std::vector<uint8_t*>, kClasses> free;
  size_t bytes = 0;
};
Kept& kept() {
  static Kept* const all = new Kept;
  return *all;
}

}  // namespace

AlignedBuffer::Memory AlignedBuffer::take(size_t size) {
  if (size == 0) return {};
  if (is_kept(size)) {
    Kept& all = kept();
    const std::lock_guard lock(all.mutex);
    std::vector<uint8_t*>& free = all.free[class_of(size)];
    if (!free.empty()) {
      uint8_t* const memory = free.back();
      free.pop_back();
      all.bytes -= capacity_of(size);
      return Memory(memory, Free{size});
    }
  }
  return Memory(static_cast<uint8_t*>(::operator new (capacity_of(size), std::align_val_t{kAlignment})), Free{size});
}

void AlignedBuffer::Free::operator()(uint8_t* memory) const {
  if (is_kept(size)) {
    Kept& all = kept();
    const std::lock_guard lock(all.mutex);
    if (all.bytes + capacity_of(size) <= kKeptBytesMax) {
      all.bytes += capacity_of(size);
      return all.free[class_of(size)].push_back(memory);
    }
  }
  ::operator delete (memory, std::align_val_t{kAlignment});
}

size_t AlignedBuffer::kept_bytes() {
  Kept& all = kept();
  const std::lock_guard lock(all.mutex);
  return all.bytes;
}

}  // namespace us
