#include "core/memory/staged_epoch.h"

#include <fmt/format.h>
#include <xxhash.h>

#include "base/check.h"

namespace us {
namespace {

constexpr size_t kSlabBytes = size_t{1} << 20;
static_assert(kSlabBytes % kBlockBytes == 0);
// What clear() keeps: enough for an ordinary epoch to need no new memory.
constexpr size_t kSlabsKept = 16;
constexpr size_t kStateBytesKept = size_t{1} << 20;

tl::unexpected<Error> bad(std::string message) { return fail(ErrorKind::kProtocol, "epoch: " + message); }

void shrink(Bytes& bytes) {
  bytes.clear();
  if (bytes.capacity() > kStateBytesKept) Bytes().swap(bytes);
}

}  // namespace

void ChunkDigest::add(uint64_t frame_checksum) {
  uint8_t raw[16];
  store_le(raw, value_);
  store_le(raw + 8, frame_checksum);
  value_ = XXH3_64bits(raw, sizeof raw);
  ++chunks_;
}

StagedEpoch::StagedEpoch(uint64_t ram_pages, size_t bytes_max) : ram_pages_(ram_pages), bytes_max_(bytes_max) {
  US_CHECK(ram_pages <= kRamPagesMax);
}

tl::unexpected<Error> StagedEpoch::too_large() const {
  return fail(ErrorKind::kRefused,
              fmt::format("epoch: needs more than the {} bytes there are to stage it", bytes_max_));
}

Status StagedEpoch::settle(Status step) {
  // Whatever comes after an epoch is whole cannot take it away again: it has been acknowledged.
  if (!step && state_ == State::kOpen) state_ = State::kFailed;
  return step;
}

Status StagedEpoch::begin(Epoch epoch, const EpochSize& size) {
  US_CHECK(state_ == State::kClear);
  return settle(try_begin(epoch, size));
}

Status StagedEpoch::add_pages(ByteSpan chunk, uint64_t frame_checksum) {
  digest_.add(frame_checksum);
  return settle(try_add_pages(chunk));
}

Status StagedEpoch::add_device_state(ByteSpan bytes, uint64_t frame_checksum) {
  digest_.add(frame_checksum);
  return settle(try_add_device_state(bytes));
}

Status StagedEpoch::add_side_state(SideKind kind, ByteSpan bytes, uint64_t frame_checksum) {
  digest_.add(frame_checksum);
  return settle(try_add_side_state(kind, bytes));
}

Status StagedEpoch::end(uint64_t pages, uint32_t chunks, uint64_t digest) {
  US_TRY(settle(try_end(pages, chunks, digest)));
  state_ = State::kWhole;
  return {};
}

Status StagedEpoch::try_begin(Epoch epoch, const EpochSize& size) {
  if (size.pages > ram_pages_) return bad(fmt::format("announces {} pages, the RAM has {}", size.pages, ram_pages_));
  if (size.device_state_bytes > kDeviceStateBytesMax)
    return bad(fmt::format("announces {} bytes of device state, the limit is {}", size.device_state_bytes,
                           kDeviceStateBytesMax));
  if (size.side_state_bytes > kSideStateBytesMax)
    return bad(
        fmt::format("announces {} bytes of side state, the limit is {}", size.side_state_bytes, kSideStateBytesMax));
  if (size_t{size.device_state_bytes} + size.side_state_bytes > bytes_max_) return too_large();
  device_state_.reserve(size.device_state_bytes);
  epoch_ = epoch;
  announced_ = size;
  state_ = State::kOpen;
  return {};
}

Status StagedEpoch::try_add_pages(ByteSpan chunk) {
  if (!open()) return bad("pages outside of an epoch");
  US_ASSIGN(const PageChunkView view, PageChunkView::parse(chunk, ram_pages_));
  if (view.pages() > announced_.pages - pages_)
    return bad(fmt::format("more than the {} pages it announced", announced_.pages));
  US_TRY(stage_blocks(view));
  for (uint32_t i = 0; i < view.run_count(); ++i) runs_.push_back(view.run(i));
  pages_ += view.pages();
  return bytes() > bytes_max_ ? Status(too_large()) : Status();
}

Status StagedEpoch::stage_blocks(const PageChunkView& view) {
  PageChunkView::BlockReader blocks(view);
  while (const uint32_t count = blocks.next_pages()) {
    US_ASSIGN(uint8_t* const to, allocate(count * kPageSize));
    US_TRY(blocks.decode({to, count * kPageSize}));
    blocks_.push_back({to, count});
  }
  return {};
}

// Never more than a block; the end of a slab that is too short for it stays unused.
Result<uint8_t*> StagedEpoch::allocate(size_t size) {
  if (slabs_used_ == 0 || kSlabBytes - slab_at_ < size) {
    if (slabs_used_ == slabs_.size()) {
      if (bytes() + kSlabBytes > bytes_max_) return too_large();
      slabs_.push_back(std::make_unique_for_overwrite<uint8_t[]>(kSlabBytes));
    }
    ++slabs_used_;
    slab_at_ = 0;
  }
  uint8_t* const at = slabs_[slabs_used_ - 1].get() + slab_at_;
  slab_at_ += size;
  return at;
}

Status StagedEpoch::try_add_device_state(ByteSpan bytes) {
  if (!open()) return bad("device state outside of an epoch");
  if (bytes.size() > announced_.device_state_bytes - device_state_.size())
    return bad(fmt::format("more than the {} bytes of device state it announced", announced_.device_state_bytes));
  device_state_.insert(device_state_.end(), bytes.begin(), bytes.end());
  return {};
}

Status StagedEpoch::try_add_side_state(SideKind kind, ByteSpan bytes) {
  if (!open()) return bad("side state outside of an epoch");
  if (!is_side_kind(kind)) return bad(fmt::format("unknown kind of side state {}", static_cast<unsigned>(kind)));
  if (bytes.size() > announced_.side_state_bytes - side_bytes_)
    return bad(fmt::format("more than the {} bytes of side state it announced", announced_.side_state_bytes));
  Bytes& to = side_state_[static_cast<size_t>(kind) - 1];
  to.insert(to.end(), bytes.begin(), bytes.end());
  side_bytes_ += static_cast<uint32_t>(bytes.size());
  return this->bytes() > bytes_max_ ? Status(too_large()) : Status();
}

Status StagedEpoch::try_end(uint64_t pages, uint32_t chunks, uint64_t digest) const {
  if (!open()) return bad("end without a beginning");
  if (pages != announced_.pages)
    return bad(fmt::format("announced {} pages and ends with {}", announced_.pages, pages));
  if (pages_ != pages) return bad(fmt::format("{} of {} pages came", pages_, pages));
  if (device_state_.size() != announced_.device_state_bytes)
    return bad(fmt::format("{} of {} bytes of device state came", device_state_.size(), announced_.device_state_bytes));
  if (side_bytes_ != announced_.side_state_bytes)
    return bad(fmt::format("{} of {} bytes of side state came", side_bytes_, announced_.side_state_bytes));
  if (chunks != digest_.chunks()) return bad(fmt::format("{} of {} chunks came", digest_.chunks(), chunks));
  if (digest != digest_.value())
    return bad(fmt::format("digest of the chunks is {:#018x}, the sender's is {:#018x}", digest_.value(), digest));
  return {};
}

size_t StagedEpoch::bytes() const {
  size_t sum = slabs_.size() * kSlabBytes + blocks_.capacity() * sizeof(Block) + runs_.capacity() * sizeof(PageRun) +
               device_state_.capacity();
  for (const Bytes& side : side_state_) sum += side.capacity();
  return sum;
}

void StagedEpoch::apply_to(PageSink& sink) const {
  US_CHECK(whole());
  size_t block = 0;
  uint32_t at = 0;  // page in that block
  for (const PageRun& run : runs_) {
    if (run.zero) {
      sink.apply_zero(run.first, run.count);
      continue;
    }
    for (uint64_t k = 0; k < run.count; ++k) {
      sink.apply(PageIndex{run.first.value() + k}, PageSpan(blocks_[block].pages + at * kPageSize, kPageSize));
      if (++at == blocks_[block].count) {
        ++block;
        at = 0;
      }
    }
  }
}

ByteSpan StagedEpoch::side_state(SideKind kind) const {
  US_CHECK(is_side_kind(kind));
  return side_state_[static_cast<size_t>(kind) - 1];
}

void StagedEpoch::clear() {
  state_ = State::kClear;
  epoch_ = Epoch{};
  announced_ = EpochSize{};
  digest_ = ChunkDigest{};
  pages_ = 0;
  side_bytes_ = 0;
  if (slabs_.size() > kSlabsKept) slabs_.resize(kSlabsKept);
  slabs_used_ = slab_at_ = 0;
  blocks_.clear();
  runs_.clear();
  if (blocks_.capacity() * sizeof(Block) > kStateBytesKept) std::vector<Block>().swap(blocks_);
  if (runs_.capacity() * sizeof(PageRun) > kStateBytesKept) std::vector<PageRun>().swap(runs_);
  shrink(device_state_);
  for (Bytes& side : side_state_) shrink(side);
}

}  // namespace us
