#include "os/block_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <numeric>

#include "base/aligned_buffer.h"

namespace us {
namespace {

constexpr uint64_t kBytes = 1 << 20;

class BlockFileTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "block_file_test_XXXXXX";  // in the working directory: /tmp is often without O_DIRECT
    const int fd = ::mkstemp(name);
    ASSERT_GE(fd, 0);
    path = name;
    ASSERT_EQ(::ftruncate(fd, kBytes), 0);
    ::close(fd);
  }
  void TearDown() override { ::unlink(path.c_str()); }
  BlockFile open(bool direct = true) { return std::move(BlockFile::open(path, {.try_direct = direct}).value()); }
  static AlignedBuffer pattern(size_t size) {
    AlignedBuffer out(size);
    std::iota(out.data(), out.data() + size, uint8_t{1});
    return out;
  }
  static AlignedBuffer content(const BlockFile& file, uint64_t offset, size_t size) {
    AlignedBuffer out(size);
    EXPECT_EQ(file.read(offset, out.span()), 0);
    return out;
  }
  uint64_t blocks_on_disk() const {
    struct stat st {};
    ::stat(path.c_str(), &st);
    return static_cast<uint64_t>(st.st_blocks);
  }
  std::string path;
};

TEST_F(BlockFileTest, ReadsBackWhatWasWrittenDirectOrNot) {
  for (const bool direct : {true, false}) {
    BlockFile file = open(direct);
    EXPECT_EQ(file.size_bytes(), kBytes);
    EXPECT_TRUE(direct || file.block_bytes() == 1);
    const AlignedBuffer data = pattern(8192);
    EXPECT_EQ(file.write(4096, data.span()), 0);
    EXPECT_EQ(file.sync(), 0);
    EXPECT_TRUE(std::ranges::equal(content(file, 4096, 8192).span(), data.span()));
  }
}

TEST_F(BlockFileTest, ManyPiecesAreWrittenOneBehindTheOther) {
  BlockFile file = open(false);
  const AlignedBuffer data = pattern(600'000);
  std::vector<ByteSpan> pieces;
  size_t used = 0;
  for (size_t i = 0; i < 1100; ++i) {  // more than one system call takes
    pieces.push_back(data.span().subspan(used, 1 + i % 997));
    used += pieces.back().size();
  }
  ASSERT_LE(used, data.size());
  EXPECT_EQ(file.write(100, pieces), 0);
  EXPECT_TRUE(std::ranges::equal(content(file, 100, used).span(), data.span().first(used)));
  EXPECT_EQ(content(file, 99, 1).data()[0], 0);
  EXPECT_EQ(content(file, 100 + used, 1).data()[0], 0);
  EXPECT_EQ(file.write(0, std::vector<ByteSpan>{}), 0);
}

TEST_F(BlockFileTest, ASecondWriterIsRefusedUntilTheFirstLetsGo) {
  {
    BlockFile first = open();
    const auto second = BlockFile::open(path, {});
    ASSERT_FALSE(second);
    EXPECT_NE(second.error().message.find(path), std::string::npos);
    EXPECT_FALSE(BlockFile::open(path, {.read_only = true}));
  }
  EXPECT_TRUE(BlockFile::open(path, {}));
}

TEST_F(BlockFileTest, SeveralMayReadAndNoneOfThemWrites) {
  const auto a = BlockFile::open(path, {.read_only = true});
  const auto b = BlockFile::open(path, {.read_only = true});
  ASSERT_TRUE(a && b);
  EXPECT_FALSE(BlockFile::open(path, {}));
  EXPECT_EQ(a->write(0, pattern(4096).span()), EBADF);
}

TEST_F(BlockFileTest, RefusesWhatCannotBeADisk) {
  EXPECT_FALSE(BlockFile::open(path + ".missing", {}));
  EXPECT_FALSE(BlockFile::open("/dev/null", {}));
  EXPECT_FALSE(BlockFile::open(".", {.read_only = true}));
  ASSERT_EQ(::truncate(path.c_str(), 1000), 0);
  EXPECT_FALSE(BlockFile::open(path, {}));
  ASSERT_EQ(::truncate(path.c_str(), 0), 0);
  EXPECT_FALSE(BlockFile::open(path, {}));
}

TEST_F(BlockFileTest, ZeroesReadAsZeroesAndAHoleGivesItsSpaceBack) {
  BlockFile file = open();
  file.write(0, pattern(256 * 1024).span());
  file.sync();
  const uint64_t full = blocks_on_disk();
  EXPECT_EQ(file.zero(64 * 1024, 64 * 1024, true, false), 0);
  EXPECT_LT(blocks_on_disk(), full);
  EXPECT_EQ(file.zero(192 * 1024, 64 * 1024, false, false), 0);
  for (const uint64_t at : {64u * 1024, 192u * 1024}) {
    const AlignedBuffer read = content(file, at, 64 * 1024);
    EXPECT_TRUE(std::ranges::all_of(read.span(), [](uint8_t b) { return b == 0; })) << at;
  }
  EXPECT_EQ(content(file, 128 * 1024, 512).data()[0], 1) << "the rest is untouched";
}

TEST_F(BlockFileTest, TellsHolesFromData) {
  BlockFile file = open();
  file.write(256 * 1024, pattern(64 * 1024).span());
  const auto extents = file.extents(0, kBytes, 10);
  ASSERT_EQ(extents.size(), 3u);
  EXPECT_TRUE(extents[0].hole);
  EXPECT_EQ(extents[0].length, 256u * 1024);
  EXPECT_FALSE(extents[1].hole);
  EXPECT_EQ(extents[1].length, 64u * 1024);
  EXPECT_TRUE(extents[2].hole);
  EXPECT_EQ(file.extents(0, kBytes, 2).size(), 2u);
  const auto inside = file.extents(300 * 1024, 4096, 10);
  ASSERT_EQ(inside.size(), 1u);
  EXPECT_EQ(inside[0].length, 4096u);
}

TEST_F(BlockFileTest, AFailedSyncIsFinalUntilItIsForgotten) {
  const BlockFile file = open(false);
  const UniqueFd kept(::dup(file.fd()));
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  ASSERT_EQ(::dup2(null.get(), file.fd()), file.fd());  // writes go nowhere, and syncs say so (fsync(2), EINVAL)
  EXPECT_EQ(file.write(0, pattern(512).span()), 0);
  EXPECT_EQ(file.sync(), EINVAL);
  ASSERT_EQ(::dup2(kept.get(), file.fd()), file.fd());
  EXPECT_EQ(file.sync(), EINVAL) << "nothing says that what was written before is there";
  file.forget_sync_error();
  file.drop_cache();
  EXPECT_EQ(file.sync(), 0);
  EXPECT_EQ(content(file, 0, 512).data()[0], 0);
}

TEST_F(BlockFileTest, AFileThatBecameShorterIsAnErrorNotZeroes) {
  BlockFile file = open();
  ASSERT_EQ(::truncate(path.c_str(), 4096), 0);
  AlignedBuffer buffer(4096);
  EXPECT_EQ(file.read(8192, buffer.span()), EIO);
}

}  // namespace
}  // namespace us
