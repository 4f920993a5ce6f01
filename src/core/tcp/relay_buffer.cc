#include "core/tcp/relay_buffer.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

#include "base/check.h"

namespace us {

namespace {
constexpr size_t kChunk = ChunkPool::kChunkBytes;
// A drained buffer keeps the pointer array of a small one, so that a busy flow whose buffer runs empty with every
// segment does not allocate each time, and an idle one holds 64 bytes.
constexpr size_t kSlotsKept = 8;
// Slots passed by trim_to() are removed from the front of the array this many at a time or more.
constexpr size_t kSlotsBeforeCompaction = 32;
}  // namespace

size_t total_size(Gather pieces) {
  size_t n = 0;
  for (ByteSpan piece : pieces) n += piece.size();
  return n;
}

ChunkPool::ChunkPool(size_t limit_bytes, size_t keep_bytes)
    : limit_(limit_bytes / kChunk), keep_(keep_bytes / kChunk) {}

ChunkPool::~ChunkPool() {
  US_CHECK(in_use_ == 0);
  keep_ = 0;
  while (free_ != nullptr) {
    uint8_t* next;
    std::memcpy(&next, free_, sizeof next);
    ::operator delete (free_, std::align_val_t{64});
    free_ = next;
  }
}

uint8_t* ChunkPool::acquire() {
  if (in_use_ == limit_) return nullptr;
  ++in_use_;
  if (free_ == nullptr) return static_cast<uint8_t*>(::operator new (kChunk, std::align_val_t{64}));
  uint8_t* chunk = free_;
  std::memcpy(&free_, chunk, sizeof free_);
  --kept_;
  return chunk;
}

void ChunkPool::release(uint8_t* chunk) {
  US_CHECK(chunk != nullptr && in_use_ > 0);
  --in_use_;
  if (kept_ == keep_) {
    ::operator delete (chunk, std::align_val_t{64});
    return;
  }
  std::memcpy(chunk, &free_, sizeof free_);
  free_ = chunk;
  ++kept_;
}

RelayBuffer::RelayBuffer(ChunkPool& pool, SeqNum start, uint32_t capacity)
    : pool_(&pool), start_(start), ahead_(start), capacity_(capacity) {
  US_CHECK(capacity <= kCapacityMax);
}

RelayBuffer::~RelayBuffer() { release_all(); }

RelayBuffer::RelayBuffer(RelayBuffer&& other) noexcept
    : pool_(other.pool_),
      chunks_(std::exchange(other.chunks_, {})),
      first_(std::exchange(other.first_, 0)),
      start_(other.start_),
      ahead_(other.ahead_),
      size_(std::exchange(other.size_, 0)),
      capacity_(other.capacity_),
      start_offset_(std::exchange(other.start_offset_, 0)),
      held_(std::exchange(other.held_, 0)) {
  other.ahead_ = other.start_;
}

RelayBuffer& RelayBuffer::operator=(RelayBuffer&& other) noexcept {
  if (this == &other) return *this;
  release_all();
  pool_ = other.pool_;
  chunks_ = std::exchange(other.chunks_, {});
  first_ = std::exchange(other.first_, 0);
  start_ = other.start_;
  ahead_ = std::exchange(other.ahead_, other.start_);
  size_ = std::exchange(other.size_, 0);
  capacity_ = other.capacity_;
  start_offset_ = std::exchange(other.start_offset_, 0);
  held_ = std::exchange(other.held_, 0);
  return *this;
}

uint32_t RelayBuffer::bytes_free_in_pool() const {
  return static_cast<uint32_t>(std::min<size_t>(pool_->bytes_free(), std::numeric_limits<uint32_t>::max()));
}

RelayBuffer::Place RelayBuffer::place_of(SeqNum seq) const {
  const size_t from_first_chunk = size_t{start_offset_} + start_.distance_to(seq);
  return {first_ + from_first_chunk / kChunk, from_first_chunk % kChunk};
}

uint8_t* RelayBuffer::chunk_for_write(size_t slot) {
  if (slot >= chunks_.size()) chunks_.resize(slot + 1, nullptr);
  if (chunks_[slot] == nullptr) {
    chunks_[slot] = pool_->acquire();
    if (chunks_[slot] != nullptr) ++held_;
  }
  return chunks_[slot];
}

uint32_t RelayBuffer::store(SeqNum at, ByteSpan bytes) {
  const uint32_t ahead_by = end().distance_to(at);
  US_CHECK(ahead_by <= room());
  bytes = bytes.first(std::min<size_t>(bytes.size(), room() - ahead_by));
  uint32_t stored = 0;
  while (!bytes.empty()) {
    const Place place = place_of(at + stored);
    uint8_t* chunk = chunk_for_write(place.slot);
    if (chunk == nullptr) break;
    const size_t n = std::min(bytes.size(), kChunk - place.offset);
    std::memcpy(chunk + place.offset, bytes.data(), n);
    bytes = bytes.subspan(n);
    stored += static_cast<uint32_t>(n);
  }
  ahead_ = later(ahead_, at + stored);
  return stored;
}

void RelayBuffer::advance_to(SeqNum to) {
  US_CHECK(to.in_range(end(), ahead_));
  size_ = start_.distance_to(to);
}

uint32_t RelayBuffer::append(ByteSpan bytes) {
  const uint32_t stored = store(end(), bytes);
  advance_to(end() + stored);
  return stored;
}

uint32_t RelayBuffer::append(Gather pieces) {
  uint32_t total = 0;
  for (ByteSpan piece : pieces) {
    const uint32_t stored = append(piece);
    total += stored;
    if (stored != piece.size()) break;
  }
  return total;
}

void RelayBuffer::forget_ahead() {
  const Place last = place_of(end());
  const size_t keep = size_ == 0 ? last.slot : last.slot + (last.offset > 0 ? 1 : 0);
  for (size_t slot = keep; slot < chunks_.size(); ++slot) release_slot(slot);
  if (chunks_.size() > keep) chunks_.resize(keep);
  ahead_ = end();
  if (size_ == 0) release_all();
}

RelayBuffer::Spans RelayBuffer::peek(SeqNum from, uint32_t length) const {
  US_CHECK(from.in_range(start_, end()));
  return peek_stored(from, std::min(length, from.distance_to(end())));
}

RelayBuffer::Spans RelayBuffer::peek_stored(SeqNum from, uint32_t length) const {
  US_CHECK(from.in_range(start_, ahead_) && length <= from.distance_to(ahead_));
  Spans out;
  size_t left = std::min(length, kPeekBytes);
  Place place = place_of(from);
  while (left > 0) {
    const size_t n = std::min(left, kChunk - place.offset);
    US_CHECK(chunks_[place.slot] != nullptr);
    out.push({chunks_[place.slot] + place.offset, n});
    left -= n;
    place = {place.slot + 1, 0};
  }
  return out;
}

bool RelayBuffer::has_stored(SeqRange range) const {
  if (!range.start.in_range(start_, ahead_) || !range.end.in_range(range.start, ahead_)) return false;
  if (range.empty()) return true;
  for (size_t slot = place_of(range.start).slot; slot <= place_of(range.end - 1).slot; ++slot)
    if (chunks_[slot] == nullptr) return false;
  return true;
}

void RelayBuffer::trim_to(SeqNum to) {
  US_CHECK(to.in_range(start_, end()));
  const uint32_t n = start_.distance_to(to);
  const Place place = place_of(to);
  release_front(place.slot);
  start_ = to;
  size_ -= n;
  start_offset_ = static_cast<uint32_t>(place.offset);
  if (size_ == 0 && ahead_ == start_) release_all();
}

void RelayBuffer::set_capacity(uint32_t capacity) {
  US_CHECK(capacity <= kCapacityMax);
  capacity_ = capacity;
}

void RelayBuffer::release_slot(size_t slot) {
  if (chunks_[slot] == nullptr) return;
  pool_->release(chunks_[slot]);
  chunks_[slot] = nullptr;
  --held_;
}

// Makes `slot` the first one in use.
void RelayBuffer::release_front(size_t slot) {
  US_CHECK(slot <= chunks_.size());
  for (; first_ < slot; ++first_) release_slot(first_);
  if (first_ < kSlotsBeforeCompaction || first_ < chunks_.size() / 2) return;
  chunks_.erase(chunks_.begin(), chunks_.begin() + static_cast<std::ptrdiff_t>(first_));
  first_ = 0;
}

void RelayBuffer::release_all() {
  for (size_t slot = first_; slot < chunks_.size(); ++slot) release_slot(slot);
  chunks_.clear();
  if (chunks_.capacity() > kSlotsKept) chunks_.shrink_to_fit();
  first_ = 0;
  start_offset_ = 0;
}

Result<RelayBuffer> RelayBuffer::restore(const RelayBufferState& untrusted, Gather bytes, ChunkPool& pool,
                                         uint32_t capacity_max) {
  const uint32_t size = untrusted.start.distance_to(untrusted.end);
  if (untrusted.capacity > std::min(capacity_max, kCapacityMax))
    return fail(ErrorKind::kProtocol, "relay buffer: capacity above the limit");
  // A capacity lowered by set_capacity() may lie below the size, but never does the size pass the limit.
  if (size > std::min(capacity_max, kCapacityMax) || total_size(bytes) != size)
    return fail(ErrorKind::kProtocol, "relay buffer: bytes do not match the marks");
  RelayBuffer buffer(pool, untrusted.start, std::max(size, untrusted.capacity));
  if (buffer.append(bytes) != size) return fail(ErrorKind::kRefused, "relay buffer: no memory left in the pool");
  buffer.set_capacity(untrusted.capacity);
  return buffer;
}

}  // namespace us
