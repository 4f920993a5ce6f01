// What is refused, and what each refusal tells the operator to do.
#include "host/disk_image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "host/disk_tool.h"
#include "host/local_disk.h"

namespace us {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

constexpr uint64_t kBytes = 1 << 20;

class DiskImageTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/disk_image_test_XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    dir = name;
    path = dir + "/a.img";
  }
  void TearDown() override { fs::remove_all(dir); }
  void make() { ASSERT_TRUE(DiskImage::create(path, kBytes)); }
  std::string why(const DiskImage::Options& options) {
    const auto opened = DiskImage::open(path, options);
    return opened ? "opened" : opened.error().message;
  }
  void overwrite(const std::string& file, std::streamoff at, const std::string& bytes) {
    std::fstream out(file, std::ios::binary | std::ios::in | std::ios::out);
    out.seekp(at);
    out << bytes;
  }
  std::string dir, path;
};

TEST_F(DiskImageTest, ANewImageIsSparseAndNew) {
  make();
  const auto image = DiskImage::open(path, {});
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_EQ(image->bytes(), kBytes);
  EXPECT_EQ(image->record().state, ImageState::kNew);
  struct stat st {};
  ASSERT_EQ(::stat(path.c_str(), &st), 0);
  EXPECT_LT(st.st_blocks, 16);
}

TEST_F(DiskImageTest, CreateOverwritesNothing) {
  std::ofstream(path) << "precious";
  const Status made = DiskImage::create(path, kBytes);
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().message, HasSubstr("exists already; nothing was made"));
  EXPECT_EQ(fs::file_size(path), 8u);
}

TEST_F(DiskImageTest, AMissingImageSaysHowToMakeOne) {
  EXPECT_THAT(why({}), AllOf(HasSubstr(path + " is missing"), HasSubstr("understudy disk create " + path + " SIZE")));
  EXPECT_THAT(why({.bytes = kBytes}), HasSubstr("understudy disk create " + path + " 1048576"));
}

TEST_F(DiskImageTest, AForeignFileIsRefusedUntilItIsAdopted) {
  std::ofstream(path).close();
  fs::resize_file(path, kBytes);
  EXPECT_THAT(why({}), AllOf(HasSubstr("is not known here"), HasSubstr("understudy disk adopt " + path)));
  ASSERT_TRUE(DiskImage::adopt(path));
  EXPECT_EQ(why({}), "opened");
  const Status twice = DiskImage::adopt(path);
  ASSERT_FALSE(twice);
  EXPECT_THAT(twice.error().message, HasSubstr("it is known here"));
}

TEST_F(DiskImageTest, AnImageThatWasCutIsRefused) {
  make();
  fs::resize_file(path, kBytes / 2);
  EXPECT_THAT(why({}), HasSubstr("has 524288 bytes, but had 1048576 when it was last used"));
}

TEST_F(DiskImageTest, ASizeThatTheVmFileDoesNotSayIsRefused) {
  make();
  EXPECT_THAT(why({.bytes = 2 * kBytes}), HasSubstr("has 1048576 bytes, the VM file says 2097152"));
}

TEST_F(DiskImageTest, ALockedImageIsRefused) {
  make();
  const auto held = DiskImage::open(path, {});
  ASSERT_TRUE(held);
  EXPECT_THAT(why({}), HasSubstr("is in use by another process"));
  const Status forgotten = DiskImage::forget(path);
  ASSERT_FALSE(forgotten);
  EXPECT_THAT(forgotten.error().message, HasSubstr("is in use by another process"));
}

TEST_F(DiskImageTest, ADamagedRecordIsRefused) {
  make();
  overwrite(path + ".us-record", 100, "x");
  overwrite(path + ".us-record", 4196, "x");
  EXPECT_THAT(why({}), AllOf(HasSubstr(".us-record is damaged"), HasSubstr("understudy disk forget " + path)));
}

TEST_F(DiskImageTest, AChangeOfTheRecordOutlivesATornOne) {
  make();
  {
    auto image = DiskImage::open(path, {});
    ASSERT_TRUE(image);
    const auto live = image->record().go_live(Generation(1), {});
    ASSERT_TRUE(image->write_record(*live));
  }
  // The next change goes to the other block; half of it is written.
  overwrite(path + ".us-record", 0, "torn");
  const auto image = DiskImage::open(path, {});
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_EQ(image->record().state, ImageState::kLive);
}

TEST_F(DiskImageTest, WithoutAMapEverythingMayDiffer) {
  make();
  auto image = DiskImage::open(path, {});
  ASSERT_TRUE(image);
  auto map = image->load_map();
  ASSERT_TRUE(map);
  EXPECT_FALSE(image->has_map());
  EXPECT_EQ(map->marked().count(), map->marked().granules());
  ASSERT_TRUE(image->write_map(DirtyMap(map->shape())));
  map = image->load_map();
  ASSERT_TRUE(map);
  EXPECT_TRUE(image->has_map());
  EXPECT_EQ(map->marked().count(), 0u);
}

TEST_F(DiskImageTest, ForgettingLeavesTheBytes) {
  make();
  overwrite(path, 5, "here");
  ASSERT_TRUE(DiskImage::forget(path));
  EXPECT_FALSE(fs::exists(path + ".us-record"));
  EXPECT_EQ(fs::file_size(path), kBytes);
  EXPECT_THAT(why({}), HasSubstr("is not known here"));
}

TEST_F(DiskImageTest, TwoImagesAreComparedByteByByte) {
  make();
  const std::string other = dir + "/b.img";
  ASSERT_TRUE(DiskImage::create(other, kBytes));
  auto differs = compare_disk_images(path, other);
  ASSERT_TRUE(differs) << differs.error().message;
  EXPECT_EQ(*differs, std::nullopt);
  overwrite(other, 700'000, "x");
  differs = compare_disk_images(path, other);
  ASSERT_TRUE(differs);
  EXPECT_EQ(*differs, 700'000u);
}

TEST_F(DiskImageTest, AStandbyMakesItsMissingImageAndAPrimaryDoesNot) {
  VmConfig config;
  config.name = "vm";
  DiskConfig disk;
  disk.file = {"a.img", path};
  disk.storage = DiskStorage::kReplicated;
  disk.size_bytes = kBytes;
  config.disks = {disk};
  LocalDiskOptions options{.runtime_directory = dir, .self = {"10.0.0.1", 1}};
  const auto as_primary = open_local_disks(config, options);
  ASSERT_FALSE(as_primary);
  EXPECT_THAT(as_primary.error().message, HasSubstr("is missing"));
  options.standby = true;
  const auto as_standby = open_local_disks(config, options);
  ASSERT_TRUE(as_standby) << as_standby.error().message;
  EXPECT_EQ((*as_standby)[0]->image.record().state, ImageState::kNew);
}

TEST_F(DiskImageTest, APrimaryThatOnlyLookedHasTakenNothing) {
  std::ofstream(path).close();
  fs::resize_file(path, kBytes);
  {
    const auto looked = DiskImage::open(path, {.adopt = true});
    ASSERT_TRUE(looked) << looked.error().message;
    EXPECT_EQ(looked->record().state, ImageState::kNew);
  }
  EXPECT_FALSE(fs::exists(path + ".us-record"));
  auto image = DiskImage::open(path, {.adopt = true});
  ASSERT_TRUE(image);
  const auto live = image->record().go_live(Generation(1), {});
  ASSERT_TRUE(live && image->write_record(*live));
  EXPECT_TRUE(fs::exists(path + ".us-record"));
}

TEST_F(DiskImageTest, AFileOnAStandbyThatIsNotOursIsNotOverwritten) {
  std::ofstream(path).close();
  fs::resize_file(path, kBytes);
  VmConfig config;
  config.name = "vm";
  DiskConfig disk;
  disk.file = {"a.img", path};
  disk.storage = DiskStorage::kReplicated;
  config.disks = {disk};
  const auto opened = open_local_disks(config, {.runtime_directory = dir, .self = {"10.0.0.1", 1}, .standby = true});
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().message, HasSubstr("is not known here"));
}

}  // namespace
}  // namespace us
