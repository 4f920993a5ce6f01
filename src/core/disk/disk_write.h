// DiskWrite: one change to a guest's disk, as it is logged, staged, held, journalled and applied.
//
// The bytes are shared, never copied: a write that is split by a later one keeps two slices of one buffer.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/check.h"

namespace us {

// Bytes [start, end) of a disk.
struct DiskRange {
  uint64_t start = 0;
  uint64_t end = 0;
  uint64_t length() const { return end - start; }
  bool empty() const { return start == end; }
  bool overlaps(const DiskRange& o) const { return start < o.end && o.start < end; }
  bool contains(const DiskRange& o) const { return start <= o.start && o.end <= end; }
  bool operator==(const DiskRange&) const = default;
};

// A part of a buffer that several may hold.
class DataSlice {
 public:
  DataSlice() = default;
  explicit DataSlice(AlignedBuffer buffer)
      : buffer_(std::make_shared<const AlignedBuffer>(std::move(buffer))), length_(buffer_->size()) {}
  static DataSlice copy_of(ByteSpan bytes) { return DataSlice(AlignedBuffer::copy_of(bytes)); }

  size_t size() const { return length_; }
  ByteSpan span() const { return buffer_ ? buffer_->span().subspan(offset_, length_) : ByteSpan{}; }
  DataSlice part(uint64_t offset, uint64_t length) const {
    US_CHECK(offset <= length_ && length <= length_ - offset);
    DataSlice out = *this;
    out.offset_ += offset;
    out.length_ = length;
    return out;
  }

 private:
  std::shared_ptr<const AlignedBuffer> buffer_;
  size_t offset_ = 0;
  size_t length_ = 0;
};

// Numbers are on the wire and on disk.
enum class WriteKind : uint8_t {
  kData = 1,
  kZeroes = 2,   // reads as zeroes afterwards and keeps its space
  kDiscard = 3,  // reads as zeroes afterwards (on both hosts alike, which the guest need not know); a hole will do
};
constexpr bool is_write_kind(uint8_t kind) { return kind >= 1 && kind <= 3; }

struct DiskWrite {
  WriteKind kind = WriteKind::kData;
  DiskRange range;      // not empty
  DataSlice data = {};  // of kData: range.length() bytes

  static DiskWrite of_data(uint64_t offset, DataSlice data) {
    const uint64_t end = offset + data.size();
    return {WriteKind::kData, {offset, end}, std::move(data)};
  }
  // The part of it in `within`, which must lie in its range.
  DiskWrite part(DiskRange within) const {
    US_CHECK(range.contains(within));
    DiskWrite out{kind, within, {}};
    if (kind == WriteKind::kData) out.data = data.part(within.start - range.start, within.length());
    return out;
  }
};

// What `bytes`, those of `range`, become by the writes, in this order.
inline void apply_over(std::span<uint8_t> bytes, DiskRange range, const std::vector<DiskWrite>& writes) {
  for (const DiskWrite& write : writes) {
    if (!write.range.overlaps(range)) continue;
    const DiskRange within{std::max(write.range.start, range.start), std::min(write.range.end, range.end)};
    const auto to = bytes.subspan(within.start - range.start, within.length());
    if (write.kind == WriteKind::kData)
      std::ranges::copy(write.part(within).data.span(), to.begin());
    else
      std::ranges::fill(to, uint8_t{0});
  }
}

}  // namespace us
