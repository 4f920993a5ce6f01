// A shared disk: one image that both hosts reach.  What the guest was told is written is there whichever host dies, and
// nobody else writes to it.
#include <fmt/format.h>

#include <filesystem>
#include <fstream>

#include "disk_writer.h"
#include "e2e.h"

namespace us::e2e {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr uint64_t kDiskBytes = 64u << 20;

class SharedDisk : public E2e {
 protected:
  fs::path image() const { return cluster_->directory() / "shared.img"; }

  void create_with_disk() {
    ASSERT_NO_FATAL_FAILURE(create());
    for (size_t host = 0; host < demo::kHosts; ++host)
      ASSERT_NO_FATAL_FAILURE(edit_vm_file(
          host, "[[nic]]", fmt::format("[[disk]]\nfile = \"{}\"\nstorage = \"shared\"\n\n[[nic]]", image().string())));
    std::ofstream(image()).close();
    fs::resize_file(image(), kDiskBytes);
  }
  void start_with_disk() {
    ASSERT_NO_FATAL_FAILURE(create_with_disk());
    ASSERT_NO_FATAL_FAILURE(protect());
  }
  void expect_progress(const Writer& writer) {
    const uint64_t before = writer.acknowledged();
    ASSERT_OK(cluster_->wait_until("ten more writes", kSync,
                                   [&]() -> Result<bool> { return writer.acknowledged() >= before + 10; }));
  }
  // As the guest reads it, past its own cache.
  void expect_every_acknowledged_write(uint64_t last) {
    const uint64_t first = last < kSlots ? 1 : last - kSlots + 2;  // the one before may have been begun anew
    const auto missing = cluster_->run_in_guest(fmt::format(
        "echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/vda bs={} count={} 2>/dev/null | tr '\\000' '\\n' | grep record "
        "| sed 's/record //' > /tmp/have; seq {} {} | grep -vxFf /tmp/have | wc -l",
        kSlotBytes, kSlots, first, last));
    ASSERT_OK(missing);
    EXPECT_EQ(std::atoi(missing->c_str()), 0) << *missing << " of " << last << " acknowledged writes are missing";
    EXPECT_FALSE(missing->empty());
  }
};

TEST_F(SharedDisk, AcknowledgedWritesSurviveEveryKill) {
  ASSERT_NO_FATAL_FAILURE(start_with_disk());
  Writer writer(*cluster_);
  ASSERT_NO_FATAL_FAILURE(expect_progress(writer));
  size_t primary = 0;
  for (unsigned round = 0; round < (long_run() ? 20u : 3u); ++round, primary = 1 - primary) {
    ASSERT_OK(cluster_->power_off(primary));
    ASSERT_OK(cluster_->wait_role(1 - primary, "primary", kSoon));
    ASSERT_NO_FATAL_FAILURE(expect_progress(writer));
    ASSERT_OK(cluster_->power_on(primary));
    ASSERT_OK(cluster_->start_standby(primary));
    ASSERT_OK(cluster_->wait_protected(1 - primary, kSync));
    ASSERT_NO_FATAL_FAILURE(expect_progress(writer));
  }
  writer.stop();
  ASSERT_NO_FATAL_FAILURE(expect_every_acknowledged_write(writer.acknowledged()));
}

TEST_F(SharedDisk, AStandbyDiesAndTheGuestGoesOnWriting) {
  ASSERT_NO_FATAL_FAILURE(start_with_disk());
  Writer writer(*cluster_);
  ASSERT_NO_FATAL_FAILURE(expect_progress(writer));
  ASSERT_OK(cluster_->power_off(1));
  ASSERT_NO_FATAL_FAILURE(expect_progress(writer));
  ASSERT_OK(cluster_->power_on(1));
  ASSERT_OK(cluster_->start_standby(1));
  ASSERT_OK(cluster_->wait_protected(0, kSync));
  ASSERT_NO_FATAL_FAILURE(expect_progress(writer));
  ASSERT_OK(cluster_->daemon(0)->command("switchover", {demo::kVmName}));
  ASSERT_OK(cluster_->wait_protected(1, kSync));
  ASSERT_NO_FATAL_FAILURE(expect_progress(writer));
  writer.stop();
  ASSERT_NO_FATAL_FAILURE(expect_every_acknowledged_write(writer.acknowledged()));
}

TEST_F(SharedDisk, AfterBothHostsHaveLostPowerEitherStartsIt) {
  ASSERT_NO_FATAL_FAILURE(start_with_disk());
  Writer writer(*cluster_);
  ASSERT_NO_FATAL_FAILURE(expect_progress(writer));
  writer.stop();
  ASSERT_OK(cluster_->sleep(Duration::seconds(1)));  // the last epochs are on the image then
  ASSERT_OK(cluster_->power_off(0));
  ASSERT_OK(cluster_->power_off(1));
  ASSERT_OK(cluster_->power_on(0));
  ASSERT_OK(cluster_->power_on(1));
  ASSERT_OK(cluster_->start_primary(1, {"--fresh-start"}));
  ASSERT_OK(cluster_->wait_guest(kBoot));
  ASSERT_NO_FATAL_FAILURE(expect_every_acknowledged_write(writer.acknowledged()));
}

TEST_F(SharedDisk, ASecondPrimaryIsRefusedEvenWithAnArbiterOfItsOwn) {
  ASSERT_NO_FATAL_FAILURE(create_with_disk());
  ASSERT_OK(cluster_->start_primary(0));
  ASSERT_OK(cluster_->wait_guest(kBoot));
  const fs::path other = cluster_->directory() / "another-arbiter";
  fs::create_directory(other);
  ASSERT_NO_FATAL_FAILURE(edit_vm_file(1, (cluster_->directory() / "arbiter").string(), other.string()));
  ASSERT_OK(cluster_->start_primary(1));
  ASSERT_OK(cluster_->wait_exit(1, kSoon));
  EXPECT_THAT(log(1), HasSubstr("another host or process writes to it"));
  EXPECT_FALSE(cluster_->has_qemu(1));
  EXPECT_TRUE(cluster_->has_qemu(0));
}

TEST_F(SharedDisk, AnotherVmsImageIsRefused) {
  ASSERT_NO_FATAL_FAILURE(create_with_disk());
  ASSERT_OK(cluster_->start_primary(0));
  ASSERT_OK(cluster_->wait_guest(kBoot));
  ASSERT_OK(cluster_->power_off(0));
  ASSERT_NO_FATAL_FAILURE(edit_vm_file(1, fmt::format("name = \"{}\"", demo::kVmName), "name = \"another\""));
  ASSERT_OK(cluster_->start_primary(1));
  ASSERT_OK(cluster_->wait_exit(1, kSoon));
  EXPECT_THAT(log(1), HasSubstr(fmt::format("is the shared disk of VM {}", demo::kVmName)));
}

}  // namespace
}  // namespace us::e2e
