#include "core/tcp/relay_buffer.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <numeric>

namespace us {
namespace {

constexpr size_t kChunk = ChunkPool::kChunkBytes;

// The byte that belongs to a sequence number in these tests.
uint8_t byte_at(SeqNum seq) { return static_cast<uint8_t>(seq.value() * 2654435761u >> 24); }

Bytes stream(SeqNum from, size_t length) {
  Bytes out(length);
  for (size_t i = 0; i < length; ++i) out[i] = byte_at(from + static_cast<uint32_t>(i));
  return out;
}

Bytes joined(Gather pieces) {
  Bytes out;
  for (ByteSpan piece : pieces) out.insert(out.end(), piece.begin(), piece.end());
  return out;
}

Bytes contents(const RelayBuffer& buffer) {
  Bytes out;
  buffer.for_each(buffer.start(), buffer.end(), [&](ByteSpan b) { out.insert(out.end(), b.begin(), b.end()); });
  return out;
}

TEST(RelayBuffer, GivesBackWhatWasAppendedAcrossTheSequenceWrap) {
  ChunkPool pool(1 << 20);
  const SeqNum start(0xffffff00u);
  RelayBuffer buffer(pool, start, 100'000);
  EXPECT_EQ(buffer.append(stream(start, 70'000)), 70'000u);
  EXPECT_EQ(buffer.end(), start + 70'000);
  EXPECT_EQ(contents(buffer), stream(start, 70'000));
  EXPECT_EQ(joined(buffer.peek(start + 65'000, 100'000)), stream(start + 65'000, 5'000));
}

TEST(RelayBuffer, TakesNoMoreThanItsCapacity) {
  ChunkPool pool(1 << 20);
  RelayBuffer buffer(pool, SeqNum(7), 1000);
  EXPECT_EQ(buffer.append(stream(SeqNum(7), 1500)), 1000u);
  EXPECT_EQ(buffer.room(), 0u);
  buffer.trim_to(SeqNum(7) + 400);
  EXPECT_EQ(buffer.append(stream(SeqNum(1007), 1500)), 400u);
  EXPECT_EQ(contents(buffer), stream(SeqNum(407), 1000));
}

TEST(RelayBuffer, TakesFewerBytesWhenThePoolIsAtItsLimit) {
  ChunkPool pool(2 * kChunk);
  RelayBuffer buffer(pool, SeqNum(0), 1 << 20);
  EXPECT_EQ(buffer.append(stream(SeqNum(0), 3 * kChunk)), 2 * kChunk);
  EXPECT_EQ(buffer.bytes_free_in_pool(), 0u);
  buffer.trim_to(SeqNum(kChunk));
  EXPECT_EQ(buffer.append(stream(SeqNum(2 * kChunk), 10)), 10u);
  EXPECT_EQ(contents(buffer), stream(SeqNum(kChunk), kChunk + 10));
}

TEST(RelayBuffer, HoldsNoChunkWhenItIsEmpty) {
  ChunkPool pool(1 << 20);
  RelayBuffer buffer(pool, SeqNum(0), 1 << 20);
  EXPECT_EQ(pool.bytes_in_use(), 0u);
  buffer.append(stream(SeqNum(0), 1));
  EXPECT_EQ(pool.bytes_in_use(), kChunk);
  buffer.trim_to(SeqNum(1));
  EXPECT_EQ(pool.bytes_in_use(), 0u);
  EXPECT_EQ(buffer.start(), SeqNum(1));
}

TEST(RelayBuffer, ReturnsEachChunkAsSoonAsItsBytesAreTrimmed) {
  ChunkPool pool(1 << 20);
  RelayBuffer buffer(pool, SeqNum(0), 1 << 20);
  buffer.append(stream(SeqNum(0), 4 * kChunk));
  buffer.trim_to(SeqNum(kChunk - 1));
  EXPECT_EQ(pool.bytes_in_use(), 4 * kChunk);
  buffer.trim_to(SeqNum(kChunk));
  EXPECT_EQ(pool.bytes_in_use(), 3 * kChunk);
}

TEST(RelayBuffer, KeepsBytesStoredAheadUntilTheHoleIsFilled) {
  ChunkPool pool(1 << 20);
  RelayBuffer buffer(pool, SeqNum(0), 200'000);
  EXPECT_EQ(buffer.store(SeqNum(100'000), stream(SeqNum(100'000), 50'000)), 50'000u);
  EXPECT_EQ(buffer.size(), 0u);
  // Chunks inside the hole are not taken from the pool.
  EXPECT_LT(pool.bytes_in_use(), 5 * kChunk);
  EXPECT_EQ(buffer.store(SeqNum(0), stream(SeqNum(0), 100'000)), 100'000u);
  buffer.advance_to(SeqNum(150'000));
  EXPECT_EQ(contents(buffer), stream(SeqNum(0), 150'000));
}

TEST(RelayBuffer, BytesStoredAheadSurviveTheTrimOfAllThatIsInOrder) {
  ChunkPool pool(1 << 20);
  RelayBuffer buffer(pool, SeqNum(0), 200'000);
  buffer.append(stream(SeqNum(0), 100));
  buffer.store(SeqNum(20'000), stream(SeqNum(20'000), 100));
  buffer.trim_to(SeqNum(100));
  buffer.append(stream(SeqNum(100), 19'900));
  buffer.advance_to(SeqNum(20'100));
  EXPECT_EQ(contents(buffer), stream(SeqNum(100), 20'000));
}

TEST(RelayBuffer, ForgetsWhatIsAheadAndReturnsItsMemory) {
  ChunkPool pool(1 << 20);
  RelayBuffer buffer(pool, SeqNum(0), 200'000);
  buffer.append(stream(SeqNum(0), 100));
  buffer.store(SeqNum(50'000), stream(SeqNum(50'000), 40'000));
  buffer.forget_ahead();
  EXPECT_EQ(pool.bytes_in_use(), kChunk);
  EXPECT_EQ(contents(buffer), stream(SeqNum(0), 100));
  buffer.trim_to(SeqNum(100));
  EXPECT_EQ(pool.bytes_in_use(), 0u);
}

TEST(RelayBuffer, KnowsWhichPlacesWereWrittenTo) {
  ChunkPool pool(1 << 20);
  RelayBuffer buffer(pool, SeqNum(0), 200'000);
  buffer.store(SeqNum(100'000), stream(SeqNum(100'000), 50'000));
  EXPECT_TRUE(buffer.has_stored({SeqNum(100'000), SeqNum(150'000)}));
  EXPECT_TRUE(buffer.has_stored({SeqNum(120'000), SeqNum(120'000)}));
  EXPECT_FALSE(buffer.has_stored({SeqNum(100'000), SeqNum(150'001)}));
  EXPECT_FALSE(buffer.has_stored({SeqNum(0), SeqNum(100)}));
  EXPECT_FALSE(buffer.has_stored({SeqNum(120'000), SeqNum(110'000)}));
  EXPECT_FALSE(buffer.has_stored({SeqNum(0xffffff00u), SeqNum(110'000)}));
}

TEST(RelayBuffer, AnyPeekOf64KFitsItsSpans) {
  ChunkPool pool(1 << 20);
  RelayBuffer buffer(pool, SeqNum(0), 1 << 19);
  buffer.append(stream(SeqNum(0), 200'000));
  buffer.trim_to(SeqNum(kChunk - 1));
  const auto spans = buffer.peek(SeqNum(kChunk - 1), 1 << 20);
  EXPECT_EQ(spans.size(), RelayBuffer::kPeekBytes);
  EXPECT_EQ(joined(spans), stream(SeqNum(kChunk - 1), RelayBuffer::kPeekBytes));
}

TEST(RelayBuffer, ASmallerCapacityOnlyTakesTheRoomAway) {
  ChunkPool pool(1 << 20);
  RelayBuffer buffer(pool, SeqNum(0), 1000);
  buffer.append(stream(SeqNum(0), 800));
  buffer.set_capacity(500);
  EXPECT_EQ(buffer.room(), 0u);
  EXPECT_EQ(buffer.append(stream(SeqNum(800), 10)), 0u);
  EXPECT_EQ(contents(buffer), stream(SeqNum(0), 800));
}

TEST(RelayBuffer, MovingLeavesAnEmptyBufferBehind) {
  ChunkPool pool(1 << 20);
  RelayBuffer a(pool, SeqNum(0), 1000);
  a.append(stream(SeqNum(0), 800));
  RelayBuffer b(std::move(a));
  EXPECT_EQ(contents(b), stream(SeqNum(0), 800));
  a = std::move(b);
  EXPECT_EQ(contents(a), stream(SeqNum(0), 800));
  EXPECT_EQ(pool.bytes_in_use(), kChunk);
}

TEST(RelayBuffer, RefusesMarksThatDoNotMatchTheBytes) {
  ChunkPool pool(1 << 20);
  const Bytes bytes = stream(SeqNum(10), 100);
  const ByteSpan piece(bytes);
  const RelayBufferState good{SeqNum(10), SeqNum(110), 1000};
  EXPECT_TRUE(RelayBuffer::restore(good, {&piece, 1}, pool, 1000));
  EXPECT_FALSE(RelayBuffer::restore({SeqNum(10), SeqNum(111), 1000}, {&piece, 1}, pool, 1000));
  EXPECT_FALSE(RelayBuffer::restore({SeqNum(10), SeqNum(9), 1000}, {&piece, 1}, pool, 1000));
  EXPECT_FALSE(RelayBuffer::restore({SeqNum(10), SeqNum(110), 1001}, {&piece, 1}, pool, 1000));
  EXPECT_FALSE(RelayBuffer::restore(good, {&piece, 1}, pool, 99));
  ChunkPool none(0);
  EXPECT_FALSE(RelayBuffer::restore(good, {&piece, 1}, none, 1000));
}

// Against a model that is a plain string of bytes: appends, trims, restores in random order.
RC_GTEST_PROP(RelayBuffer, BehavesAsAPlainByteStringAlsoAfterRestore, ()) {
  ChunkPool pool(40 * kChunk);
  SeqNum start(*rc::gen::arbitrary<uint32_t>());
  SeqNum end = start;
  RelayBuffer buffer(pool, start, 300'000);
  const int steps = *rc::gen::inRange(1, 60);
  for (int i = 0; i < steps; ++i) {
    const auto n = *rc::gen::inRange<uint32_t>(0, 70'000);
    switch (*rc::gen::inRange(0, 3)) {
      case 0:
        end += buffer.append(stream(end, n));
        break;
      case 1:
        start += std::min(n, start.distance_to(end));
        buffer.trim_to(start);
        break;
      default: {
        const Bytes bytes = contents(buffer);
        const ByteSpan piece(bytes);
        auto restored = RelayBuffer::restore(buffer.snapshot(), {&piece, 1}, pool, 300'000);
        RC_ASSERT(restored.has_value());
        RC_ASSERT(restored->snapshot() == buffer.snapshot());
        buffer = std::move(*restored);
      }
    }
    RC_ASSERT(buffer.start() == start);
    RC_ASSERT(buffer.end() == end);
    RC_ASSERT(pool.bytes_in_use() <= (buffer.size() / kChunk + 2) * kChunk);
  }
  RC_ASSERT(contents(buffer) == stream(start, start.distance_to(end)));
}

TEST(ChunkPool, ReusesChunksAndNeverPassesItsLimit) {
  ChunkPool pool(2 * kChunk, kChunk);
  uint8_t* a = pool.acquire();
  uint8_t* b = pool.acquire();
  EXPECT_EQ(pool.acquire(), nullptr);
  pool.release(b);
  EXPECT_EQ(pool.acquire(), b);
  pool.release(a);
  pool.release(b);
  EXPECT_EQ(pool.bytes_in_use(), 0u);
}

}  // namespace
}  // namespace us
