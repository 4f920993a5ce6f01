#include "core/tcp/reassembly.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>

namespace us {
namespace {

using ::testing::ElementsAre;

SeqRange range(uint32_t start, uint32_t end) { return {SeqNum(start), SeqNum(end)}; }

struct ReassemblyTest : ::testing::Test {
  ChunkPool pool{1 << 20};
  RelayBuffer buffer{pool, SeqNum(1000), 100'000};
  Reassembly reassembly{SeqNum(1000)};

  Taken take(uint32_t first, std::string_view text) {
    const ByteSpan payload(reinterpret_cast<const uint8_t*>(text.data()), text.size());
    const SeqNum start = later(SeqNum(first), buffer.end());
    return reassembly.take(SeqNum(first), {&payload, 1}, {start, SeqNum(first) + static_cast<uint32_t>(text.size())},
                           buffer);
  }
  std::string text() const {
    std::string out;
    buffer.for_each(buffer.start(), buffer.end(), [&](ByteSpan b) { out.append(b.begin(), b.end()); });
    return out;
  }
};

TEST_F(ReassemblyTest, DeliversOnlyWhatHasNoHole) {
  take(1000, "abc");
  const Taken ahead = take(1005, "fg");
  EXPECT_EQ(ahead.stored, range(1005, 1007));
  EXPECT_EQ(text(), "abc");
  EXPECT_EQ(reassembly.next(), SeqNum(1003));
  EXPECT_THAT(reassembly.held().ranges(), ElementsAre(range(1005, 1007)));
  take(1003, "de");
  EXPECT_EQ(text(), "abcdefg");
  EXPECT_EQ(reassembly.next(), SeqNum(1007));
  EXPECT_TRUE(reassembly.held().empty());
}

TEST_F(ReassemblyTest, TheFirstCopyOfAByteWins) {
  take(1004, "EF");
  const Taken again = take(1002, "xxXXxx");
  EXPECT_EQ(again.stored, range(1002, 1008));
  EXPECT_EQ(again.duplicate, range(1004, 1006));
  take(1000, "yyyyyyyyyy");
  EXPECT_EQ(text(), "yyxxEFxxyy");
  EXPECT_EQ(reassembly.next(), SeqNum(1010));
}

TEST_F(ReassemblyTest, APureDuplicateStoresNothing) {
  take(1004, "EF");
  const Taken again = take(1004, "EF");
  EXPECT_TRUE(again.stored.empty());
  EXPECT_EQ(again.duplicate, range(1004, 1006));
}

TEST_F(ReassemblyTest, FinTakesANumberAfterTheLastByte) {
  take(1000, "abc");
  EXPECT_TRUE(reassembly.take_fin(SeqNum(1003)));
  EXPECT_TRUE(reassembly.finished());
  EXPECT_EQ(reassembly.next(), SeqNum(1004));
  EXPECT_EQ(buffer.end(), SeqNum(1003));
  EXPECT_TRUE(reassembly.take_fin(SeqNum(1003)));
  EXPECT_FALSE(reassembly.take_fin(SeqNum(1004)));
}

TEST_F(ReassemblyTest, AFinBehindAHoleWaitsForIt) {
  take(1002, "cd");
  EXPECT_TRUE(reassembly.take_fin(SeqNum(1004)));
  EXPECT_FALSE(reassembly.finished());
  EXPECT_THAT(reassembly.held().ranges(), ElementsAre(range(1002, 1005)));
  take(1000, "ab");
  EXPECT_TRUE(reassembly.finished());
  EXPECT_EQ(text(), "abcd");
}

TEST_F(ReassemblyTest, AFinInsideWhatWasTakenIsRefused) {
  take(1000, "abc");
  take(1010, "k");
  EXPECT_FALSE(reassembly.take_fin(SeqNum(1002)));
  EXPECT_FALSE(reassembly.take_fin(SeqNum(1005)));
  EXPECT_TRUE(reassembly.take_fin(SeqNum(1011)));
}

TEST_F(ReassemblyTest, TooManySeparateRangesAreRefusedButThoseThatTouchAreNot) {
  for (uint32_t i = 0; i < Reassembly::kRangesMax; ++i) EXPECT_TRUE(take(2000 + 2 * i, "x").complete);
  const Taken refused = take(50'000, "x");
  EXPECT_FALSE(refused.complete);
  EXPECT_TRUE(refused.stored.empty());
  EXPECT_TRUE(take(2001, "y").complete);
  EXPECT_TRUE(take(50'000, "x").complete);
}

TEST_F(ReassemblyTest, WithoutMemoryNothingIsLostButTheNewBytes) {
  ChunkPool one(ChunkPool::kChunkBytes);
  RelayBuffer small(one, SeqNum(0), 100'000);
  Reassembly r{SeqNum(0)};
  const Bytes bytes(20'000, 7);
  const ByteSpan payload(bytes);
  const Taken taken = r.take(SeqNum(0), {&payload, 1}, range(0, 20'000), small);
  EXPECT_EQ(taken.stored, range(0, ChunkPool::kChunkBytes));
  EXPECT_FALSE(taken.complete);
  EXPECT_EQ(small.end(), r.next());
  EXPECT_FALSE(r.take(SeqNum(40'000), {&payload, 1}, range(40'000, 60'000), small).complete);
  EXPECT_TRUE(r.held().empty());
}

TEST_F(ReassemblyTest, RefusesMarksThatTheBufferContradicts) {
  take(1000, "abc");
  take(1010, "klm");
  const auto restored = [&](uint32_t next, std::optional<uint32_t> fin, std::vector<SeqRange> held) {
    std::optional<SeqNum> at;
    if (fin) at = SeqNum(*fin);
    return Reassembly::restore(SeqNum(next), at, held, buffer).has_value();
  };
  EXPECT_TRUE(restored(1003, {}, {range(1010, 1013)}));
  EXPECT_TRUE(restored(1003, {}, {}));
  EXPECT_TRUE(restored(1003, 1013, {range(1010, 1014)}));
  EXPECT_TRUE(restored(1004, 1003, {}));
  EXPECT_TRUE(restored(1003, 1020, {range(1010, 1013), range(1020, 1021)}));  // a FIN alone
  EXPECT_FALSE(restored(1002, {}, {range(1010, 1013)}));
  EXPECT_FALSE(restored(1004, {}, {range(1010, 1013)}));
  EXPECT_FALSE(restored(1003, {}, {range(1010, 1014)}));  // a byte that is not there
  EXPECT_FALSE(restored(1003, {}, {range(90'000, 90'001)}));
  EXPECT_FALSE(restored(1003, 1013, {range(1010, 1013)}));  // FIN neither held nor reached
  EXPECT_FALSE(restored(1003, 1012, {range(1010, 1014)}));  // beyond the FIN
  EXPECT_FALSE(restored(1003, 1002, {}));
  EXPECT_FALSE(restored(1004, 1003, {range(1010, 1013)}));
}

// Random segments, some of them lies about bytes that were sent before: every byte of the stream is the first copy.
RC_GTEST_PROP(Reassembly, DeliversTheFirstCopyOfEveryByteOnceAndInOrder, (uint32_t start)) {
  ChunkPool pool(16 << 20);
  RelayBuffer buffer(pool, SeqNum(start), 3000);
  Reassembly reassembly{SeqNum(start)};
  std::map<uint32_t, uint8_t> first_copy;  // by offset
  const int steps = *rc::gen::inRange(1, 80);
  for (int i = 0; i < steps; ++i) {
    const auto offset = *rc::gen::inRange<uint32_t>(0, 2900);
    const auto length = *rc::gen::inRange<uint32_t>(1, 101);
    const Bytes bytes(length, static_cast<uint8_t>(i));
    const size_t cut = *rc::gen::inRange<size_t>(0, length + 1);
    const std::array<ByteSpan, 2> payload{ByteSpan(bytes).first(cut), ByteSpan(bytes).subspan(cut)};
    const SeqNum first = SeqNum(start) + offset;
    const SeqNum from = later(first, buffer.end());
    if ((first + length).at_or_before(from)) continue;
    const Taken taken = reassembly.take(first, payload, {from, first + length}, buffer);
    RC_ASSERT(taken.complete);
    for (uint32_t n = offset; n < offset + length; ++n) first_copy.emplace(n, static_cast<uint8_t>(i));
    if (*rc::gen::inRange(0, 10) == 0) {
      auto restored = Reassembly::restore(reassembly.next(), {}, reassembly.held().ranges(), buffer);
      RC_ASSERT(restored.has_value());
      reassembly = *restored;
    }
  }
  uint32_t expected = 0;
  buffer.for_each(buffer.start(), buffer.end(), [&](ByteSpan b) {
    for (uint8_t byte : b) RC_ASSERT(first_copy.at(expected++) == byte);
  });
  RC_ASSERT(!first_copy.contains(expected));
  RC_ASSERT(SeqNum(start) + expected == reassembly.next());
}

}  // namespace
}  // namespace us
