#include "base/aligned_buffer.h"

#include <gtest/gtest.h>

#include <vector>

namespace us {
namespace {

bool aligned(const AlignedBuffer& buffer) {
  return reinterpret_cast<uintptr_t>(buffer.data()) % AlignedBuffer::kAlignment == 0;
}

TEST(AlignedBuffer, IsAlignedWhateverItsSize) {
  for (const size_t size : {size_t{1}, size_t{512}, size_t{20'000}, size_t{65'536}, size_t{1} << 20, size_t{5} << 20}) {
    AlignedBuffer buffer(size);
    ASSERT_EQ(buffer.size(), size);
    ASSERT_TRUE(aligned(buffer));
    buffer.span().back() = 7;
    const AlignedBuffer again(size);  // one that was not freed before
    EXPECT_NE(again.data(), buffer.data());
  }
  EXPECT_TRUE(AlignedBuffer(0).empty());
}

TEST(AlignedBuffer, AFreedOneIsUsedAgainAndAZeroedOneIsZeroAllTheSame) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "nothing is kept under this sanitizer";
#endif
  const uint8_t* where = nullptr;
  {
    AlignedBuffer buffer(100'000);
    std::memset(buffer.data(), 0xff, buffer.size());
    where = buffer.data();
  }
  const AlignedBuffer again = AlignedBuffer::zeroed(120'000);  // of the same power of two
  EXPECT_EQ(again.data(), where);
  for (const uint8_t byte : again.span()) ASSERT_EQ(byte, 0);
}

TEST(AlignedBuffer, WhatIsKeptIsBounded) {
  {
    std::vector<AlignedBuffer> many;
    for (int i = 0; i < 100; ++i) many.emplace_back(size_t{1} << 20);
  }
  EXPECT_LE(AlignedBuffer::kept_bytes(), AlignedBuffer::kKeptBytesMax);
  const size_t before = AlignedBuffer::kept_bytes();
  { const AlignedBuffer small(4096); }
  EXPECT_EQ(AlignedBuffer::kept_bytes(), before);
}

}  // namespace
}  // namespace us
