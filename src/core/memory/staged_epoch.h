// StagedEpoch: what the standby has of an epoch until all of it is there, and then the whole epoch until it is applied.
//
// All or nothing: once end() has said yes, apply_to() cannot fail.  So everything is proven on arrival: pages are
// decoded at once into memory of this object rather than kept encoded.  Keeping them encoded would save memory, but
// then each block had to be decompressed twice (once to prove it, once to apply it), and the second time while a
// takeover waits; a copy from here is several times faster.  The memory is bounded by `bytes_max` (a quarter of RAM is
// the intention; an epoch is some MB), zero pages take none.
//
// Any error before it is whole makes the epoch unusable until clear().  Errors are ErrorKind::kProtocol (what came
// makes no sense) or ErrorKind::kRefused (over bytes_max).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/strong.h"
#include "core/memory/page_codec.h"

namespace us {

// Kinds of replicated state beside RAM and devices.  Numbers are on the wire and never reused.
enum class SideKind : uint16_t {
  kNicAddresses = 1,  // addresses learned from the guest's NICs, to announce it after a takeover
  kRelay = 2,         // snapshots of the TCP relays
  kDiskBarrier = 3,   // which writes of each disk belong to the epoch
  kRings = 4,         // state of the vhost-user rings
};
inline constexpr size_t kSideKinds = 4;
constexpr bool is_side_kind(SideKind kind) {
  const auto k = static_cast<uint16_t>(kind);
  return k >= 1 && k <= kSideKinds;
}

inline constexpr uint32_t kDeviceStateBytesMax = 16 * 1024 * 1024;
inline constexpr uint32_t kSideStateBytesMax = 64 * 1024 * 1024;  // all kinds together

// How much an epoch carries, announced before any of it.
struct EpochSize {
  uint64_t pages = 0;  // zero pages included
  uint32_t device_state_bytes = 0;
  uint32_t side_state_bytes = 0;
  bool operator==(const EpochSize&) const = default;
};

// The checksum over the checksums of an epoch's chunk frames, in the order of sending; it ties EpochEnd to exactly
// those chunks.
//   d(0) = 0;  d(n) = XXH3-64(d(n-1) u64, checksum of chunk frame n u64), little endian
class ChunkDigest {
 public:
  void add(uint64_t frame_checksum);
  uint64_t value() const { return value_; }
  uint32_t chunks() const { return chunks_; }
  bool operator==(const ChunkDigest&) const = default;

 private:
  uint64_t value_ = 0;
  uint32_t chunks_ = 0;
};

class StagedEpoch {
 public:
  StagedEpoch(uint64_t ram_pages, size_t bytes_max);

  // Starts an epoch; the object must be clear.
  Status begin(Epoch epoch, const EpochSize& size);
  // `frame_checksum` is that of the frame the chunk came in.
  Status add_pages(ByteSpan chunk, uint64_t frame_checksum);
  Status add_device_state(ByteSpan bytes, uint64_t frame_checksum);
  Status add_side_state(SideKind kind, ByteSpan bytes, uint64_t frame_checksum);
  // The sender says that this was all.  It is, if everything announced has come and the digest of the chunks is the
  // sender's: then the epoch is whole.
  Status end(uint64_t pages, uint32_t chunks, uint64_t digest);

  bool is_clear() const { return state_ == State::kClear; }
  bool open() const { return state_ == State::kOpen; }
  bool whole() const { return state_ == State::kWhole; }
  Epoch epoch() const { return epoch_; }
  uint64_t pages() const { return pages_; }
  // Memory held, spare slabs included.
  size_t bytes() const;

  // Only when whole().  In order of arrival; a page that came twice is applied twice.
  void apply_to(PageSink& sink) const;
  ByteSpan device_state() const { return device_state_; }
  ByteSpan side_state(SideKind kind) const;

  // Forgets the epoch.  Keeps some memory for the next one.
  void clear();

 private:
  enum class State { kClear, kOpen, kWhole, kFailed };
  struct Block {
    const uint8_t* pages;
    uint32_t count;
  };

  tl::unexpected<Error> too_large() const;
  Status settle(Status step);  // an error makes the whole epoch unusable
  Status try_begin(Epoch epoch, const EpochSize& size);
  Status try_add_pages(ByteSpan chunk);
  Status try_add_device_state(ByteSpan bytes);
  Status try_add_side_state(SideKind kind, ByteSpan bytes);
  Status try_end(uint64_t pages, uint32_t chunks, uint64_t digest) const;
  Status stage_blocks(const PageChunkView& view);
  Result<uint8_t*> allocate(size_t bytes);

  uint64_t ram_pages_;
  size_t bytes_max_;
  State state_ = State::kClear;
  Epoch epoch_;
  EpochSize announced_;
  uint64_t pages_ = 0;
  uint32_t side_bytes_ = 0;
  ChunkDigest digest_;

  std::vector<std::unique_ptr<uint8_t[]>> slabs_;
  size_t slabs_used_ = 0;  // slabs_[0 .. slabs_used_) hold pages of this epoch
  size_t slab_at_ = 0;     // bytes used in the last of them
  std::vector<Block> blocks_;
  std::vector<PageRun> runs_;
  Bytes device_state_;
  std::array<Bytes, kSideKinds> side_state_;
};

}  // namespace us
