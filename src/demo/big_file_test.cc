#include "demo/big_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace us::demo {
namespace {

constexpr size_t kLength = 300'000;

std::vector<uint8_t> whole(uint64_t seed) {
  std::vector<uint8_t> all(kLength);
  BigFile(seed).read(0, all);
  return all;
}

TEST(BigFile, AnyPieceEqualsTheSamePlaceInTheWhole) {
  const std::vector<uint8_t> all = whole(7);
  const BigFile file(7);
  for (size_t offset = 0; offset < kLength; offset += 997) {
    std::vector<uint8_t> piece(std::min<size_t>(offset % 11 == 0 ? 70'000 : 13, kLength - offset));
    file.read(offset, piece);
    ASSERT_TRUE(std::equal(piece.begin(), piece.end(), all.begin() + static_cast<std::ptrdiff_t>(offset))) << offset;
  }
}

TEST(BigFile, NoTwoPagesAreEqual) {
  const std::vector<uint8_t> all = whole(7);
  for (size_t a = 0; a + 4096 <= kLength; a += 4096)
    for (size_t b = a + 4096; b + 4096 <= kLength; b += 4096)
      ASSERT_NE(std::memcmp(&all[a], &all[b], 4096), 0) << a << " " << b;
}

TEST(BigFile, SeedsGiveDifferentFiles) { EXPECT_NE(whole(1), whole(2)); }

}  // namespace
}  // namespace us::demo
