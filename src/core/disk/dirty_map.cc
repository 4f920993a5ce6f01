#include "core/disk/dirty_map.h"

#include <xxhash.h>

#include <algorithm>
#include <bit>

namespace us {
namespace {

constexpr uint32_t kMagic = 0x4d445355;       // "USDM" in memory order: the header
constexpr uint32_t kBlockMagic = 0x42445355;  // "USDB"
constexpr uint16_t kVersion = 1;

Bytes encode_header(const DirtyMapShape& shape) {
  Bytes out;
  ByteWriter w(out);
  w.le(kMagic);
  w.le(kVersion);
  w.le(uint16_t{0});
  w.bytes(shape.image);
  w.le(shape.disk_bytes);
  w.le(shape.granule_bytes);
  w.zeros(kDirtyBlockBytes - 8 - out.size());
  w.le(uint64_t{XXH3_64bits(out.data(), out.size())});
  return out;
}

}  // namespace

void GranuleSet::set_all() {
  for (uint64_t g = 0; g < granules_; ++g) set(g);
}

uint64_t GranuleSet::count() const {
  uint64_t n = 0;
  for (const uint64_t word : words_) n += static_cast<uint64_t>(std::popcount(word));
  return n;
}

uint64_t GranuleSet::next(uint64_t from) const {
  if (from >= granules_) return granules_;
  size_t i = from / 64;
  uint64_t word = words_[i] & (~uint64_t{0} << (from % 64));
  while (word == 0) {
    if (++i == words_.size()) return granules_;
    word = words_[i];
  }
  return i * 64 + static_cast<uint64_t>(std::countr_zero(word));
}

GranuleSet& GranuleSet::operator|=(const GranuleSet& other) {
  US_CHECK(granules_ == other.granules_);
  for (size_t i = 0; i < words_.size(); ++i) words_[i] |= other.words_[i];
  return *this;
}

DirtyMap::DirtyMap(const DirtyMapShape& shape, uint64_t keep_epochs)
    : shape_(shape),
      keep_epochs_(keep_epochs),
      marked_(shape.granules()),
      durable_(shape.granules()),
      lasting_(shape.granules()),
      resyncing_(shape.granules()),
      block_dirty_(shape.blocks()) {
  US_CHECK(std::has_single_bit(shape.granule_bytes) && shape.disk_bytes > 0);
}

Bytes DirtyMap::initial_file() const {
  Bytes out = encode_header(shape_);
  ByteWriter w(out);
  for (uint64_t b = 0; b < shape_.blocks(); ++b) w.bytes(encode_block(b));
  return out;
}

// The checksum is over the block with the image's id before it, so that a block of another map is not taken for one of
// this.
Bytes DirtyMap::encode_block(uint64_t block) const {
  Bytes out;
  ByteWriter w(out);
  w.bytes(shape_.image);
  w.zeros(8);  // the checksum's place
  w.le(kBlockMagic);
  w.le(static_cast<uint32_t>(block));
  out.resize(kDirtyBlockBytes);
  const uint64_t first = block * kGranulesPerBlock;
  const uint64_t end = std::min(first + kGranulesPerBlock, marked_.granules());
  for (uint64_t g = marked_.next(first); g < end; g = marked_.next(g + 1))
    out[kDirtyBlockHeadBytes + (g - first) / 8] |= static_cast<uint8_t>(1u << ((g - first) % 8));
  store_le(out.data() + 16, uint64_t{XXH3_64bits(out.data(), out.size())});
  return out;
}

Result<DirtyMap> DirtyMap::load(const DirtyMapShape& shape, ByteSpan file, uint64_t keep_epochs) {
  const Bytes header = encode_header(shape);
  if (file.size() < header.size() || !std::ranges::equal(file.first(header.size()), header))
    return fail(ErrorKind::kInput, "dirty map: it is damaged or of another image");
  DirtyMap map(shape, keep_epochs);
  for (uint64_t block = 0; block < shape.blocks(); ++block) {
    const uint64_t first = block * kGranulesPerBlock;
    const uint64_t end = std::min(first + kGranulesPerBlock, shape.granules());
    const uint64_t at = (1 + block) * kDirtyBlockBytes;
    Bytes bytes(kDirtyBlockBytes);
    if (at + kDirtyBlockBytes <= file.size()) std::ranges::copy(file.subspan(at, kDirtyBlockBytes), bytes.begin());
    const uint64_t sum = load_le<uint64_t>(bytes.data() + 16);
    store_le(bytes.data() + 16, uint64_t{0});
    const bool intact = XXH3_64bits(bytes.data(), bytes.size()) == sum &&
                        std::equal(shape.image.begin(), shape.image.end(), bytes.begin()) &&
                        load_le<uint32_t>(bytes.data() + 24) == kBlockMagic &&
                        load_le<uint32_t>(bytes.data() + 28) == block;
    for (uint64_t g = first; g < end; ++g) {
      const bool set = (bytes[kDirtyBlockHeadBytes + (g - first) / 8] >> ((g - first) % 8) & 1) != 0;
      if (intact && !set) continue;
      map.marked_.set(g);
      map.lasting_.set(g);
      if (intact) map.durable_.set(g);
    }
    map.block_dirty_[block] = !intact;  // repaired by the next update
  }
  return map;
}

DiskRange DirtyMap::granules_of(DiskRange range) const {
  US_CHECK(!range.empty() && range.end <= shape_.disk_bytes);
  return {range.start / shape_.granule_bytes, (range.end - 1) / shape_.granule_bytes + 1};
}

DirtyMap::Ready DirtyMap::prepare(DiskRange range, Epoch epoch) {
  const DiskRange granules = granules_of(range);
  Ready ready = Ready::kReady;
  for (uint64_t g = granules.start; g < granules.end; ++g) {
    marked_.set(g);
    if (epoch == kSolo || (written_.size() >= kTrackedGranulesMax && !written_.contains(g))) {
      lasting_.set(g);
      resyncing_.reset(g);
    } else {
      written_[g] = epoch;
    }
    if (durable_.test(g)) continue;
    block_dirty_[g / kGranulesPerBlock] = true;
    wanted_ = true;
    ready = Ready::kMarkFirst;
  }
  return ready;
}

void DirtyMap::on_write_failed(DiskRange range) {
  const DiskRange granules = granules_of(range);
  for (uint64_t g = granules.start; g < granules.end; ++g) {
    lasting_.set(g);
    resyncing_.reset(g);
  }
}

void DirtyMap::mark_all() {
  marked_.set_all();
  lasting_.set_all();
  resyncing_ = GranuleSet(marked_.granules());
  block_dirty_.assign(block_dirty_.size(), true);
  wanted_ = true;
}

void DirtyMap::end_session() {
  written_.clear();
  next_look_ = {};
  lasting_ = marked_;
  resyncing_ = GranuleSet(marked_.granules());
}

void DirtyMap::unmark(uint64_t g) {
  marked_.reset(g);
  block_dirty_[g / kGranulesPerBlock] = true;
}

void DirtyMap::clear_applied(Epoch applied, Epoch synced, Epoch running) {
  if (running < next_look_) return;
  Epoch oldest = running;
  std::erase_if(written_, [&](const auto& entry) {
    const auto& [g, last] = entry;
    if (last > applied || last > synced || running.value() - last.value() < keep_epochs_) {
      oldest = std::min(oldest, last);
      return false;
    }
    if (!lasting_.test(g)) unmark(g);
    return true;
  });
  // Nothing can be idle for long enough before; and a few at a time are not worth the look.
  next_look_ = Epoch(oldest.value() + keep_epochs_ + keep_epochs_ / 16);
}

const GranuleSet& DirtyMap::begin_resync() {
  resyncing_ = lasting_;
  return marked_;
}

void DirtyMap::on_resynchronised() {
  for (uint64_t g = resyncing_.next(0); g < resyncing_.granules(); g = resyncing_.next(g + 1)) {
    lasting_.reset(g);
    resyncing_.reset(g);
    if (!written_.contains(g)) unmark(g);
  }
}

std::optional<DirtyMap::Update> DirtyMap::poll_update() {
  if (in_flight_) return std::nullopt;
  Update update{.blocks = {}, .must_sync = wanted_};
  InFlight next{marked_, wanted_, {}};
  for (uint64_t b = 0; b < block_dirty_.size(); ++b) {
    if (!block_dirty_[b]) continue;
    update.blocks.push_back({(1 + b) * kDirtyBlockBytes, encode_block(b)});
    next.blocks.push_back(b);
    block_dirty_[b] = false;
  }
  if (update.blocks.empty()) return std::nullopt;
  // From now on a mark that this update takes back may be gone at any moment.
  for (const uint64_t b : next.blocks)
    for (uint64_t g = b * kGranulesPerBlock; g < std::min((b + 1) * kGranulesPerBlock, marked_.granules()); ++g)
      if (!marked_.test(g)) durable_.reset(g);
  wanted_ = false;
  in_flight_ = std::move(next);
  return update;
}

void DirtyMap::on_update_done() {
  US_CHECK(in_flight_);
  if (in_flight_->synced) {
    for (const uint64_t b : in_flight_->blocks)
      for (uint64_t g = b * kGranulesPerBlock; g < std::min((b + 1) * kGranulesPerBlock, marked_.granules()); ++g)
        if (in_flight_->marks.test(g)) durable_.set(g);
  }
  in_flight_.reset();
}

void DirtyMap::on_update_failed() {
  US_CHECK(in_flight_);
  // Half a block marks all it covers, so a mark that was on disk before still is, in effect.
  for (const uint64_t b : in_flight_->blocks) block_dirty_[b] = true;
  wanted_ |= in_flight_->synced;
  in_flight_.reset();
}

}  // namespace us
