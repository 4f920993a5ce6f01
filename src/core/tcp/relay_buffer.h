// RelayBuffer: the bytes of one direction of a relayed connection, addressed by their sequence numbers.
// ChunkPool: the memory of all of them, with one limit.
//
//        start()               end()                          start() + capacity()
//   ---------[==================)--------[=====]------[==]-----------)--------
//            the stream, peek()able      stored ahead: bytes that came out of order
//
// A receiver writes: append() in order, store() ahead of a hole and advance_to() when the hole is filled, so that
// an out-of-order byte is already in its place (one copy in).  A sender reads: peek() gives spans into the chunks
// that stay valid until trim_to() passes them.  Which bytes are committed, durable or acknowledged is not known
// here: those marks belong to the receiver, the sender and the flow.
//
// Memory comes from the pool in chunks of 16 KiB, on the first byte of each, and goes back as soon as trim_to()
// has passed it; a buffer without bytes holds no chunk.  The pool must outlive its buffers.
//
// Limits: capacity at most kCapacityMax; when the pool is at its limit, append() and store() take fewer bytes than
// offered, which a TCP receiver may do (the sender repeats them).  Arguments outside the ranges named below are
// bugs of the caller, who has judged the segment.
//
// Replication: the bytes that came since mark X are peek(X, …) up to end(); snapshot() is the marks alone.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "core/tcp/seq_num.h"

namespace us {

// Bytes in order, in several pieces: a payload as it lies in guest memory or in chunks.
using Gather = std::span<const ByteSpan>;
size_t total_size(Gather pieces);

class ChunkPool {
 public:
  static constexpr size_t kChunkBytes = 16384;
  static constexpr size_t kKeepBytes = 8u << 20;  // freed chunks kept for the next user, not given back to the system

  explicit ChunkPool(size_t limit_bytes, size_t keep_bytes = kKeepBytes);
  ~ChunkPool();
  ChunkPool(const ChunkPool&) = delete;
  ChunkPool& operator=(const ChunkPool&) = delete;

  uint8_t* acquire();            // nullptr at the limit; the contents are undefined
  void release(uint8_t* chunk);  // one that acquire() gave

  size_t bytes_in_use() const { return in_use_ * kChunkBytes; }
  size_t bytes_limit() const { return limit_ * kChunkBytes; }
  size_t bytes_free() const { return (limit_ - in_use_) * kChunkBytes; }

 private:
  size_t limit_;  // all three in chunks
  size_t keep_;
  size_t in_use_ = 0;
  size_t kept_ = 0;
  uint8_t* free_ = nullptr;  // a list linked through the chunks' first bytes
};

struct RelayBufferState {
  SeqNum start;
  SeqNum end;
  uint32_t capacity = 0;
  bool operator==(const RelayBufferState&) const = default;
};

class RelayBuffer {
 public:
  static constexpr uint32_t kCapacityMax = 1u << 30;  // RFC 7323 section 2.3: no window is larger
  // peek() covers at most this much: any 64 KiB lie in at most five chunks.
  static constexpr size_t kPeekSpans = 5;
  static constexpr uint32_t kPeekBytes = 65536;

  // Up to kPeekSpans pieces, none of them empty.
  class Spans {
   public:
    operator Gather() const { return {spans_.data(), count_}; }
    Gather pieces() const { return *this; }
    uint32_t size() const { return size_; }
    bool empty() const { return size_ == 0; }

   private:
    friend class RelayBuffer;
    void push(ByteSpan span) {
      spans_[count_++] = span;
      size_ += static_cast<uint32_t>(span.size());
    }
    std::array<ByteSpan, kPeekSpans> spans_;
    size_t count_ = 0;
    uint32_t size_ = 0;
  };

  RelayBuffer(ChunkPool& pool, SeqNum start, uint32_t capacity);
  ~RelayBuffer();
  RelayBuffer(RelayBuffer&&) noexcept;
  RelayBuffer& operator=(RelayBuffer&&) noexcept;

  SeqNum start() const { return start_; }
  SeqNum end() const { return start_ + size_; }
  uint32_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  uint32_t capacity() const { return capacity_; }
  SeqNum limit() const { return start_ + capacity_; }  // first sequence number that has no place
  uint32_t room() const { return size_ < capacity_ ? capacity_ - size_ : 0; }  // from end() to limit()
  uint32_t bytes_free_in_pool() const;  // what the pool could still give, saturated
  uint32_t bytes_held() const { return held_ * static_cast<uint32_t>(ChunkPool::kChunkBytes); }

  // Appends as many bytes as there is room and memory for; returns how many.
  uint32_t append(ByteSpan bytes);
  uint32_t append(Gather pieces);
  // Copies bytes to their place at or ahead of end() without moving end(); cut off at limit().  Returns how many
  // of them, from the front, were stored.  `at` must be in [end(), limit()].
  uint32_t store(SeqNum at, ByteSpan bytes);
  // The bytes in [end(), to) have been stored: they now belong to the stream.
  void advance_to(SeqNum to);
  // Forgets all bytes ahead of end() and gives their chunks back (memory pressure, connection ends).
  void forget_ahead();

  // Bytes from `from`, at most min(length, kPeekBytes).  `from` must be in [start(), end()]; the result is
  // shorter at end().
  Spans peek(SeqNum from, uint32_t length) const;
  // The same for bytes stored ahead of end(), which the caller knows to be there.
  Spans peek_stored(SeqNum from, uint32_t length) const;
  // Whether every byte of `range`, at or ahead of start(), has a place that was written to (to judge restored marks).
  bool has_stored(SeqRange range) const;
  // Calls visit(ByteSpan) on [from, to) in order, piece by piece.  Bytes must be there, as for peek_stored().
  template <typename Visit>
  void for_each(SeqNum from, SeqNum to, Visit visit) const {
    while (from != to) {
      const Spans spans = peek_stored(from, from.distance_to(to));
      for (ByteSpan span : spans.pieces()) visit(span);
      from += spans.size();
    }
  }

  // Bytes before `to` are no longer needed.  `to` must be in [start(), end()].
  void trim_to(SeqNum to);
  // May shrink the capacity below size(): then there is no room until enough was trimmed.
  // An advertised window must not be shrunk; receive_window.h sees to that.
  void set_capacity(uint32_t capacity);

  RelayBufferState snapshot() const { return {start_, end(), capacity_}; }
  // Judges marks from another host: `bytes` must be exactly [start, end).  Bytes stored ahead are not part of it;
  // the owner stores them again (reassembly.h says which).
  static Result<RelayBuffer> restore(const RelayBufferState& untrusted, Gather bytes, ChunkPool& pool,
                                     uint32_t capacity_max);

 private:
  struct Place {
    size_t slot;    // index into chunks_
    size_t offset;  // inside the chunk
  };
  Place place_of(SeqNum seq) const;
  uint8_t* chunk_for_write(size_t slot);
  void release_slot(size_t slot);
  void release_front(size_t slot);
  void release_all();

  ChunkPool* pool_;
  std::vector<uint8_t*> chunks_;  // [first_, size()): the chunk of each 16 KiB from start_; nullptr where no byte is
  size_t first_ = 0;
  SeqNum start_;
  SeqNum ahead_;  // end of the furthest stored byte; end() when none is ahead
  uint32_t size_ = 0;
  uint32_t capacity_ = 0;
  uint32_t start_offset_ = 0;  // of start_ in its chunk
  uint32_t held_ = 0;          // chunks
};

}  // namespace us
