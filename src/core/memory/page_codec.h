// Page codec: dirty pages of the guest's RAM file to compact chunks, and back.
//
// Encoding.  PageEncoder takes pages in ascending order and appends one chunk at a time to a buffer of the
// caller.  A chunk is
//
//     header | block | block | ... | run | run | ...
//
// A *run* is a stretch of consecutive page numbers that are all zero or all data.  The data pages, in the order
// of the runs, are cut into *blocks* of 16 pages (the last one may be shorter).  Each block is one LZ4 block, or raw
// bytes where LZ4 does not pay.  16 pages are 64 KiB: the largest input for which LZ4 uses its small, fast hash
// table, and enough context for a good ratio.  Byte tables: docs/wire/replication.md.
//
// Decoding trusts nothing: parse() checks everything that can be checked without decompressing, then every block
// must decompress to exactly the size that the runs declare.
//
// Ownership: encoder and decoder own their scratch memory (about 150 KiB and 64 KiB), borrow everything else.
// Single-threaded, deterministic: the same pages and the same history give the same bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/strong.h"

namespace us {

using PageSpan = std::span<const uint8_t, kPageSize>;

inline constexpr uint32_t kPagesPerBlock = 16;
inline constexpr size_t kBlockBytes = kPagesPerBlock * kPageSize;
// No chunk is longer.  Leaves room for the message around it in a frame of 1 MiB.
inline constexpr size_t kPageChunkBytesMax = (size_t{1} << 20) - 64;
inline constexpr size_t kPageChunkBytesMin = 2 * kBlockBytes;
inline constexpr size_t kPageChunkBytesDefault = 256 * 1024;
// Bounds what one chunk can make the receiver decompress: 8 MiB.  Zero pages are bounded by the size of RAM.
inline constexpr uint32_t kPageChunkDataPagesMax = 2048;
// Page numbers take 32 bits: guests below 16 TiB.
inline constexpr uint64_t kRamPagesMax = (uint64_t{1} << 32) - 1;

enum class PageMode : uint8_t {
  kAuto,  // fast LZ4, and blocks left raw for a while after blocks that did not shrink by an eighth
  kLz4,   // full LZ4 on every block, kept however little it saves
  kNone,  // raw; zero pages are still left out
};

bool is_zero_page(PageSpan page);

struct PageStats {
  uint64_t pages = 0;  // all pages, zero pages included
  uint64_t zero_pages = 0;
  uint64_t blocks_lz4 = 0;
  uint64_t blocks_raw = 0;      // tried and did not shrink, or not tried
  uint64_t blocks_skipped = 0;  // of blocks_raw: not even tried
  uint64_t encoded_bytes = 0;   // headers and runs included
};

class PageEncoder {
 public:
  // `chunk_bytes_max` in [kPageChunkBytesMin, kPageChunkBytesMax].
  explicit PageEncoder(PageMode mode, size_t chunk_bytes_max = kPageChunkBytesDefault);

  // Starts a chunk at the end of `out`, which must stay alive and untouched until finish().
  void begin(Bytes& out);
  // Adds a page whose number is greater than that of the page before it in this chunk.  False: the chunk is full and
  // the page was not taken; finish(), begin() and add it again.  The first page of a chunk always fits.
  // The page is copied; the caller may change it at once.
  [[nodiscard]] bool add(PageIndex page, PageSpan bytes);
  // Pages in the chunk so far.
  uint32_t pages() const { return pages_; }
  // Completes the chunk.  An empty chunk is allowed, and useless.
  void finish();

  const PageStats& stats() const { return stats_; }

 private:
  void add_run(PageIndex page, bool zero);
  void append_data(PageSpan bytes);
  void open_block();
  void close_block();
  bool close_lz4_block();
  bool fits(bool zero, PageIndex page) const;

  struct Run {
    uint32_t first;
    uint32_t count;
    bool zero;
  };

  PageMode mode_;
  size_t chunk_bytes_max_;
  Bytes* out_ = nullptr;  // set between begin() and finish()
  size_t start_ = 0;      // of the chunk in *out_
  uint32_t pages_ = 0;
  uint32_t data_pages_ = 0;
  std::vector<Run> runs_;

  uint32_t block_pages_ = 0;               // in the open block; 0: none is open
  bool block_direct_ = false;              // the open block is raw and is written straight to *out_
  uint32_t skip_blocks_ = 0;               // kAuto: how many more blocks to leave raw
  uint32_t penalty_ = 0;                   // kAuto: length of the last skip; doubles while nothing shrinks
  std::unique_ptr<uint8_t[]> staging_;     // kBlockBytes: the pages of an open block
  std::unique_ptr<uint8_t[]> compressed_;  // kBlockBytes: what LZ4 made of it
  std::unique_ptr<uint64_t[]> lz4_state_;
  PageStats stats_;
};

// Where decoded pages go.  Pages come in ascending order within a chunk.
class PageSink {
 public:
  virtual ~PageSink() = default;
  virtual void apply(PageIndex page, PageSpan bytes) = 0;
  // `count` consecutive pages, never 0, are zero.
  virtual void apply_zero(PageIndex first, uint64_t count) = 0;
};

struct PageRun {
  PageIndex first;
  uint32_t count = 0;  // never 0
  bool zero = false;
};

// A chunk whose header, runs and block sizes are consistent and inside RAM; only the LZ4 data itself is unproven.
// Borrows the chunk's bytes.
class PageChunkView {
 public:
  static Result<PageChunkView> parse(ByteSpan chunk, uint64_t ram_pages);

  uint64_t pages() const { return zero_pages_ + data_pages_; }
  uint64_t zero_pages() const { return zero_pages_; }
  uint32_t data_pages() const { return data_pages_; }
  uint32_t blocks() const { return (data_pages_ + kPagesPerBlock - 1) / kPagesPerBlock; }
  uint32_t run_count() const { return run_count_; }
  PageRun run(uint32_t i) const;

  // Walks the blocks in order.
  class BlockReader {
   public:
    explicit BlockReader(const PageChunkView& view) : rest_(view.block_bytes_), pages_left_(view.data_pages_) {}
    uint32_t next_pages() const { return pages_left_ < kPagesPerBlock ? pages_left_ : kPagesPerBlock; }  // 0: no more
    // Decodes the next block into `to`, exactly next_pages() pages.
    Status decode(std::span<uint8_t> to);

   private:
    ByteSpan rest_;
    uint32_t pages_left_;
  };

 private:
  ByteSpan block_bytes_;
  ByteSpan run_bytes_;
  uint32_t run_count_ = 0;
  uint32_t data_pages_ = 0;
  uint64_t zero_pages_ = 0;
};

// Decodes chunks straight into a sink, for the initial synchronisation, where nothing committed can be harmed: an error
// may come after some pages of the chunk have been applied.  (StagedEpoch is the all-or-nothing way.)
class PageDecoder {
 public:
  explicit PageDecoder(uint64_t ram_pages);
  // Returns how many pages were applied.
  Result<uint64_t> decode(ByteSpan chunk, PageSink& sink);

 private:
  uint64_t ram_pages_;
  std::unique_ptr<uint8_t[]> scratch_;  // kBlockBytes
};

}  // namespace us
