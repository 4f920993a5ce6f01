#include "core/disk/mark_ahead.h"

#include <gtest/gtest.h>

namespace us {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

TEST(MarkAhead, MarksTheMegabyteAroundAWriteHereAndThere) {
  MarkAhead ahead(100 * kMiB);
  EXPECT_EQ(ahead.next({10 * kMiB + 4096, 10 * kMiB + 8192}, false), (DiskRange{10 * kMiB, 11 * kMiB}));
  EXPECT_EQ(ahead.next({50 * kMiB, 50 * kMiB + 512}, false), (DiskRange{50 * kMiB, 51 * kMiB}));
  EXPECT_EQ(ahead.next({50 * kMiB, 50 * kMiB + 512}, true), std::nullopt);
  EXPECT_EQ(ahead.next({10 * kMiB, 10 * kMiB + 512}, true), std::nullopt);
  EXPECT_EQ(ahead.next({20 * kMiB - 512, 20 * kMiB + 512}, false), (DiskRange{19 * kMiB, 21 * kMiB}));
}

TEST(MarkAhead, ASequentialWriterSoonFindsEverythingMarked) {
  constexpr uint64_t kDisk = 1000 * kMiB;
  MarkAhead ahead(kDisk);
  uint64_t marked_to = 0;
  int waits = 0;
  for (uint64_t at = 0; at < kDisk; at += kMiB / 4) {
    const DiskRange write{at, at + kMiB / 4};
    const bool marked = write.end <= marked_to;
    waits += marked ? 0 : 1;
    const auto more = ahead.next(write, marked);
    if (!more) continue;
    ASSERT_LE(more->start, std::max(marked_to, at)) << "no gap";
    ASSERT_LE(more->end, kDisk);
    ASSERT_LE(more->length(), MarkAhead::kLargest + MarkAhead::kSmallest);
    marked_to = std::max(marked_to, more->end);
    ASSERT_GE(marked_to, write.end);
  }
  EXPECT_EQ(marked_to, kDisk);
  EXPECT_LE(waits, 3);
}

TEST(MarkAhead, ItStopsAtTheEndOfTheDiskWhateverItsSize) {
  MarkAhead ahead(kMiB + 512);
  EXPECT_EQ(ahead.next({kMiB, kMiB + 512}, false), (DiskRange{kMiB, kMiB + 512}));
  EXPECT_EQ(ahead.next({kMiB, kMiB + 512}, true), std::nullopt);
  MarkAhead tiny(512);
  EXPECT_EQ(tiny.next({0, 512}, false), (DiskRange{0, 512}));
  EXPECT_EQ(tiny.next({0, 512}, false), (DiskRange{0, 512}));
}

}  // namespace
}  // namespace us
