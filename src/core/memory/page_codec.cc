#include "core/memory/page_codec.h"

#include <fmt/format.h>
#include <lz4.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace us {
namespace {

// Chunk header: pages u32, data pages u32, runs u32, bytes of all blocks u32.
constexpr size_t kHeaderBytes = 16;
constexpr size_t kBlockHeaderBytes = 4;  // size u32; size == pages * 4096 means raw
constexpr size_t kRunBytes = 8;          // first u32; zero flag in bit 31, count in bits 0..30 of a u32
constexpr uint32_t kZeroFlag = uint32_t{1} << 31;
constexpr uint32_t kRunPagesMax = kZeroFlag - 1;

constexpr uint32_t kPenaltyMax = 32;  // blocks; 2 MiB of pages between two tries on data that does not shrink

// kAuto trades some ratio for speed: on a heap 0.29 instead of 0.28 at the same speed, on machine code 0.60 instead of
// 0.51 at 1.5 times the speed (measured, 16-page blocks).
constexpr int kAutoAcceleration = 8;
constexpr int kLz4Acceleration = 1;

// The most bytes that a compressed block may have.  kAuto wants an eighth saved, or the work on both sides is not worth
// it.
constexpr size_t compressed_bytes_max(PageMode mode, size_t raw) {
  return mode == PageMode::kAuto ? raw - raw / 8 : raw - 1;
}

}  // namespace

bool is_zero_page(PageSpan page) {
  // Most pages that are not zero show it at the beginning; the rest is an or over 256 bytes at a time, which the
  // compiler turns into vector instructions.
  constexpr size_t kStrideWords = 32;
  const uint8_t* p = page.data();
  for (size_t at = 0; at < kPageSize; at += kStrideWords * 8) {
    uint64_t bits = 0;
    for (size_t w = 0; w < kStrideWords; ++w) bits |= load_le<uint64_t>(p + at + w * 8);
    if (bits != 0) return false;
  }
  return true;
}

PageEncoder::PageEncoder(PageMode mode, size_t chunk_bytes_max)
    : mode_(mode),
      chunk_bytes_max_(chunk_bytes_max),
      staging_(std::make_unique_for_overwrite<uint8_t[]>(kBlockBytes)),
      compressed_(std::make_unique_for_overwrite<uint8_t[]>(kBlockBytes)),
      lz4_state_(std::make_unique<uint64_t[]>((static_cast<size_t>(LZ4_sizeofState()) + 7) / 8)) {
  US_CHECK(chunk_bytes_max >= kPageChunkBytesMin && chunk_bytes_max <= kPageChunkBytesMax);
}

void PageEncoder::begin(Bytes& out) {
  US_CHECK(out_ == nullptr);
  out_ = &out;
  start_ = out.size();
  out.insert(out.end(), kHeaderBytes, uint8_t{0});
  pages_ = data_pages_ = 0;
  runs_.clear();
}

bool PageEncoder::fits(bool zero, PageIndex page) const {
  const bool extends = !runs_.empty() && runs_.back().zero == zero && runs_.back().count < kRunPagesMax &&
                       uint64_t{runs_.back().first} + runs_.back().count == page.value();
  const size_t runs = runs_.size() + (extends ? 0 : 1);
  size_t bytes = out_->size() - start_ + runs * kRunBytes;
  if (!zero) {
    if (data_pages_ == kPageChunkDataPagesMax) return false;
    // What the open block will take at worst; a direct block is in *out_ already.
    bytes += (block_direct_ ? 1 : block_pages_ + 1) * kPageSize + kBlockHeaderBytes;
  } else if (!block_direct_) {
    bytes += block_pages_ * kPageSize + kBlockHeaderBytes;
  }
  return bytes <= chunk_bytes_max_;
}

bool PageEncoder::add(PageIndex page, PageSpan bytes) {
  US_CHECK(out_ != nullptr);
  US_CHECK(page.value() < kRamPagesMax);
  US_CHECK(runs_.empty() || page.value() >= uint64_t{runs_.back().first} + runs_.back().count);
  const bool zero = is_zero_page(bytes);
  if (pages_ > 0 && !fits(zero, page)) return false;
  add_run(page, zero);
  ++pages_;
  ++stats_.pages;
  if (zero) {
    ++stats_.zero_pages;
  } else {
    append_data(bytes);
  }
  return true;
}

void PageEncoder::add_run(PageIndex page, bool zero) {
  if (!runs_.empty()) {
    Run& last = runs_.back();
    if (last.zero == zero && last.count < kRunPagesMax && uint64_t{last.first} + last.count == page.value()) {
      ++last.count;
      return;
    }
  }
  runs_.push_back({static_cast<uint32_t>(page.value()), 1, zero});
}

void PageEncoder::append_data(PageSpan bytes) {
  if (block_pages_ == 0) open_block();
  if (block_direct_) {
    out_->insert(out_->end(), bytes.begin(), bytes.end());
  } else {
    std::memcpy(staging_.get() + block_pages_ * kPageSize, bytes.data(), kPageSize);
  }
  ++data_pages_;
  if (++block_pages_ == kPagesPerBlock) close_block();
}

void PageEncoder::open_block() {
  block_direct_ = mode_ == PageMode::kNone || skip_blocks_ > 0;
  if (block_direct_) out_->insert(out_->end(), kBlockHeaderBytes, uint8_t{0});
}

void PageEncoder::close_block() {
  if (block_pages_ == 0) return;
  const size_t raw = block_pages_ * kPageSize;
  if (block_direct_) {
    store_le(out_->data() + out_->size() - raw - kBlockHeaderBytes, static_cast<uint32_t>(raw));
    if (skip_blocks_ > 0) --skip_blocks_;
    ++stats_.blocks_skipped;
    ++stats_.blocks_raw;
  } else if (close_lz4_block()) {
    penalty_ = 0;
    ++stats_.blocks_lz4;
  } else {
    ByteWriter w(*out_);
    w.le(static_cast<uint32_t>(raw));
    w.bytes({staging_.get(), raw});
    ++stats_.blocks_raw;
    if (mode_ == PageMode::kAuto) {
      penalty_ = std::min(std::max(penalty_ * 2, 1u), kPenaltyMax);
      skip_blocks_ = penalty_;
    }
  }
  block_pages_ = 0;
  block_direct_ = false;
}

bool PageEncoder::close_lz4_block() {
  const size_t raw = block_pages_ * kPageSize;
  const int size = LZ4_compress_fast_extState(lz4_state_.get(), reinterpret_cast<const char*>(staging_.get()),
                                              reinterpret_cast<char*>(compressed_.get()), static_cast<int>(raw),
                                              static_cast<int>(compressed_bytes_max(mode_, raw)),
                                              mode_ == PageMode::kAuto ? kAutoAcceleration : kLz4Acceleration);
  if (size <= 0) return false;
  ByteWriter w(*out_);
  w.le(static_cast<uint32_t>(size));
  w.bytes({compressed_.get(), static_cast<size_t>(size)});
  return true;
}

void PageEncoder::finish() {
  US_CHECK(out_ != nullptr);
  close_block();
  const size_t block_bytes = out_->size() - start_ - kHeaderBytes;
  ByteWriter w(*out_);
  for (const Run& run : runs_) {
    w.le(run.first);
    w.le(run.count | (run.zero ? kZeroFlag : 0));
  }
  uint8_t* header = out_->data() + start_;
  store_le(header, pages_);
  store_le(header + 4, data_pages_);
  store_le(header + 8, static_cast<uint32_t>(runs_.size()));
  store_le(header + 12, static_cast<uint32_t>(block_bytes));
  stats_.encoded_bytes += out_->size() - start_;
  US_CHECK(out_->size() - start_ <= chunk_bytes_max_);
  out_ = nullptr;
}

PageRun PageChunkView::run(uint32_t i) const {
  US_CHECK(i < run_count_);
  const uint8_t* p = run_bytes_.data() + size_t{i} * kRunBytes;
  const uint32_t count = load_le<uint32_t>(p + 4);
  return {PageIndex{load_le<uint32_t>(p)}, count & ~kZeroFlag, (count & kZeroFlag) != 0};
}

namespace {

tl::unexpected<Error> bad(std::string message) { return fail(ErrorKind::kProtocol, "page chunk: " + message); }

struct RunTotals {
  uint64_t zero = 0;
  uint64_t data = 0;
};

Result<RunTotals> check_runs(const PageChunkView& view, uint64_t ram_pages) {
  RunTotals totals;
  uint64_t next = 0;
  for (uint32_t i = 0; i < view.run_count(); ++i) {
    const PageRun run = view.run(i);
    const uint64_t first = run.first.value();
    if (run.count == 0) return bad(fmt::format("run {} is empty", i));
    if (first < next)
      return bad(fmt::format("run {} starts at page {}, before page {} where the last ended", i, first, next));
    next = first + run.count;
    if (next > ram_pages) return bad(fmt::format("run {} ends at page {} of {}", i, next, ram_pages));
    (run.zero ? totals.zero : totals.data) += run.count;
  }
  return totals;
}

// Every block in place, every size possible, nothing left over.
Status check_blocks(ByteSpan blocks, uint32_t pages) {
  ByteReader r(blocks);
  while (pages > 0) {
    const uint32_t n = std::min(pages, kPagesPerBlock);
    const uint32_t size = r.le<uint32_t>();
    if (r.ok() && (size == 0 || size > n * kPageSize))
      return bad(fmt::format("a block of {} pages claims {} bytes", n, size));
    r.skip(size);
    if (!r.ok()) return bad(fmt::format("ends inside a block, {} pages before the last", pages));
    pages -= n;
  }
  if (!r.done()) return bad(fmt::format("{} bytes left over after the last block", r.remaining()));
  return {};
}

}  // namespace

Result<PageChunkView> PageChunkView::parse(ByteSpan chunk, uint64_t ram_pages) {
  if (chunk.size() > kPageChunkBytesMax)
    return bad(fmt::format("{} bytes, more than the limit of {}", chunk.size(), kPageChunkBytesMax));
  ByteReader r(chunk);
  const uint32_t pages = r.le<uint32_t>();
  const uint32_t data_pages = r.le<uint32_t>();
  const uint32_t runs = r.le<uint32_t>();
  const uint32_t block_bytes = r.le<uint32_t>();
  if (!r.ok()) return bad(fmt::format("{} bytes, shorter than its header", chunk.size()));
  if (data_pages > kPageChunkDataPagesMax)
    return bad(fmt::format("{} data pages, more than the limit of {}", data_pages, kPageChunkDataPagesMax));
  PageChunkView view;
  view.block_bytes_ = r.bytes(block_bytes);
  view.run_bytes_ = r.bytes(size_t{runs} * kRunBytes);
  if (!r.done())
    return bad(fmt::format("{} bytes do not hold {} bytes of blocks and {} runs", chunk.size(), block_bytes, runs));
  view.run_count_ = runs;
  view.data_pages_ = data_pages;
  US_ASSIGN(const RunTotals totals, check_runs(view, ram_pages));
  if (totals.data != data_pages || totals.data + totals.zero != pages)
    return bad(fmt::format("the runs hold {} data and {} zero pages, the header says {} of {}", totals.data,
                           totals.zero, data_pages, pages));
  view.zero_pages_ = totals.zero;
  US_TRY(check_blocks(view.block_bytes_, data_pages));
  return view;
}

Status PageChunkView::BlockReader::decode(std::span<uint8_t> to) {
  const size_t raw = next_pages() * kPageSize;
  US_CHECK(raw > 0 && to.size() == raw);
  ByteReader r(rest_);
  const uint32_t size = r.le<uint32_t>();
  const ByteSpan block = r.bytes(size);
  US_CHECK(r.ok());  // parse() has walked the same sizes
  rest_ = rest_.subspan(kBlockHeaderBytes + size);
  pages_left_ -= next_pages();
  if (size == raw) {
    std::memcpy(to.data(), block.data(), raw);
    return {};
  }
  const int got = LZ4_decompress_safe(reinterpret_cast<const char*>(block.data()), reinterpret_cast<char*>(to.data()),
                                      static_cast<int>(size), static_cast<int>(raw));
  if (got < 0 || static_cast<size_t>(got) != raw)
    return bad(fmt::format("a block of {} bytes does not decompress to {} bytes", size, raw));
  return {};
}

PageDecoder::PageDecoder(uint64_t ram_pages)
    : ram_pages_(ram_pages), scratch_(std::make_unique_for_overwrite<uint8_t[]>(kBlockBytes)) {
  US_CHECK(ram_pages <= kRamPagesMax);
}

Result<uint64_t> PageDecoder::decode(ByteSpan chunk, PageSink& sink) {
  US_ASSIGN(const PageChunkView view, PageChunkView::parse(chunk, ram_pages_));
  PageChunkView::BlockReader blocks(view);
  uint32_t at = 0;     // next page in scratch_
  uint32_t ready = 0;  // pages in scratch_
  for (uint32_t i = 0; i < view.run_count(); ++i) {
    const PageRun run = view.run(i);
    if (run.zero) {
      sink.apply_zero(run.first, run.count);
      continue;
    }
    for (uint32_t k = 0; k < run.count; ++k) {
      if (at == ready) {
        at = 0;
        ready = blocks.next_pages();
        US_TRY(blocks.decode({scratch_.get(), ready * kPageSize}));
      }
      sink.apply(PageIndex{run.first.value() + k}, PageSpan(scratch_.get() + at++ * kPageSize, kPageSize));
    }
  }
  return view.pages();
}

}  // namespace us
