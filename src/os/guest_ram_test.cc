#include "os/guest_ram.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace us {
namespace {

blkcnt_t blocks_of(const GuestRam& ram) {
  struct stat status {};
  EXPECT_EQ(::fstat(ram.fd(), &status), 0);
  return status.st_blocks;
}

TEST(GuestRam, IsZeroAndTakesNoSpaceUntilWritten) {
  Result<GuestRam> ram = GuestRam::create(64 * kPageSize);
  ASSERT_TRUE(ram) << ram.error().message;
  EXPECT_EQ(ram->page_count(), 64u);
  EXPECT_EQ(blocks_of(*ram), 0);
  const auto page = ram->page(PageIndex{63});
  EXPECT_TRUE(std::all_of(page.begin(), page.end(), [](uint8_t b) { return b == 0; }));
}

TEST(GuestRam, IsTheFileThatItsIdentityNames) {
  Result<GuestRam> ram = GuestRam::create(4 * kPageSize);
  ASSERT_TRUE(ram);
  struct stat status {};
  ASSERT_EQ(::fstat(ram->fd(), &status), 0);
  EXPECT_EQ(status.st_ino, ram->inode());
  EXPECT_EQ(status.st_dev, ram->device());
  EXPECT_EQ(status.st_size, static_cast<off_t>(ram->size()));
  // Whoever has the descriptor sees what is written here.
  ram->page(PageIndex{2})[5] = 0xab;
  uint8_t byte = 0;
  ASSERT_EQ(::pread(ram->fd(), &byte, 1, static_cast<off_t>(2 * kPageSize + 5)), 1);
  EXPECT_EQ(byte, 0xab);
}

TEST(GuestRam, DataIsWhatWasWrittenAndFindingItTakesNoSpace) {
  Result<GuestRam> ram = GuestRam::create(64 * kPageSize);
  ASSERT_TRUE(ram);
  const auto pages = [&] {
    std::vector<uint64_t> list;
    const auto runs = ram->data_runs();
    EXPECT_TRUE(runs) << runs.error().message;
    for (const DirtyRun& run : *runs)
      for (uint64_t i = 0; i < run.count; ++i) list.push_back(run.first.value() + i);
    return list;
  };
  EXPECT_TRUE(pages().empty());
  for (const uint64_t i : {uint64_t{0}, uint64_t{7}, uint64_t{8}, uint64_t{63}}) ram->page(PageIndex{i})[17] = 1;
  const blkcnt_t blocks = blocks_of(*ram);
  EXPECT_EQ(pages(), (std::vector<uint64_t>{0, 7, 8, 63}));
  EXPECT_EQ(blocks_of(*ram), blocks);
  ASSERT_TRUE(ram->discard());
  EXPECT_TRUE(pages().empty());
}

TEST(GuestRam, DiscardZeroesItAndGivesTheMemoryBack) {
  Result<GuestRam> ram = GuestRam::create(8 * kPageSize);
  ASSERT_TRUE(ram);
  for (uint64_t i = 0; i < 8; ++i) ram->page(PageIndex{i})[0] = 1;
  ASSERT_GT(blocks_of(*ram), 0);
  ASSERT_TRUE(ram->discard());
  EXPECT_EQ(blocks_of(*ram), 0);
  for (uint64_t i = 0; i < 8; ++i) EXPECT_EQ(ram->page(PageIndex{i})[0], 0);
}

TEST(GuestRam, StaysWhereItIsWhenMoved) {
  Result<GuestRam> ram = GuestRam::create(kPageSize);
  ASSERT_TRUE(ram);
  uint8_t* const base = ram->base();
  const GuestRam moved = std::move(*ram);
  EXPECT_EQ(moved.base(), base);
  moved.base()[0] = 1;
}

}  // namespace
}  // namespace us
