// A replicated disk: what the guest was told is written is there whichever host dies, and the two images agree.
#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <tuple>

#include "demo/command.h"
#include "disk_writer.h"
#include "e2e.h"

namespace us::e2e {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using testing::HasSubstr;

constexpr uint64_t kDiskBytes = 64u << 20;

class Disk : public E2e {
 protected:
  fs::path image(size_t host) const { return cluster_->vm_file(host).parent_path() / "disk.img"; }

  // Host A is to have an image, host B makes its own.
  void create_without_image(const std::string& keys = "") {
    ASSERT_NO_FATAL_FAILURE(create());
    for (size_t host = 0; host < demo::kHosts; ++host)
      ASSERT_NO_FATAL_FAILURE(edit_vm_file(
          host, "[[nic]]",
          fmt::format("[[disk]]\nfile = \"disk.img\"\nstorage = \"replicated\"\nsize = \"64M\"\n{}\n[[nic]]", keys)));
  }
  void create_with_disk() {
    ASSERT_NO_FATAL_FAILURE(create_without_image());
    std::ofstream(image(0)).close();
    fs::resize_file(image(0), kDiskBytes);
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
  void expect_every_acknowledged_write(uint64_t last, const std::string& device = "/dev/vda") {
    const uint64_t first = last < kSlots ? 1 : last - kSlots + 2;  // the one before may have been begun anew
    const auto missing = cluster_->run_in_guest(fmt::format(
        "echo 3 > /proc/sys/vm/drop_caches; dd if={} bs={} count={} 2>/dev/null | tr '\\000' '\\n' | grep record "
        "| sed 's/record //' > /tmp/have; seq {} {} | grep -vxFf /tmp/have | wc -l",
        device, kSlotBytes, kSlots, first, last));
    ASSERT_OK(missing);
    EXPECT_EQ(std::atoi(missing->c_str()), 0) << *missing << " of " << last << " acknowledged writes are missing";
    EXPECT_FALSE(missing->empty());
  }
  // What `understudy audit --json` says, and its exit status.
  std::pair<int, Json> audit(size_t host) {
    const auto ran = demo::run_command(
        cluster_->lab().host(host).wrap({program(), "audit", demo::kVmName, "--json", "--runtime-dir",
                                         (cluster_->vm_file(host).parent_path() / "runtime").string()}),
        Duration::seconds(60));
    if (!ran) return {-1, ran.error().message};
    return {ran->exit_status, Json::parse(ran->output, nullptr, false)};
  }
  void expect_equal_images() {
    const auto compared = demo::run_command({"cmp", image(0).string(), image(1).string()});
    ASSERT_OK(compared);
    EXPECT_EQ(compared->exit_status, 0) << compared->output;
  }
};

TEST_F(Disk, AcknowledgedWritesSurviveEveryKill) {
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
  ASSERT_OK(cluster_->sleep(Duration::seconds(1)));
  expect_equal_images();
}

TEST_F(Disk, AStandbyThatDiesIsBroughtUpToDateWhileTheGuestWrites) {
  ASSERT_NO_FATAL_FAILURE(start_with_disk());
  Writer writer(*cluster_);
  ASSERT_NO_FATAL_FAILURE(expect_progress(writer));
  ASSERT_OK(cluster_->power_off(1));
  ASSERT_NO_FATAL_FAILURE(expect_progress(writer));
  ASSERT_OK(cluster_->power_on(1));
  ASSERT_OK(cluster_->start_standby(1));
  ASSERT_OK(cluster_->wait_protected(0, kSync));
  ASSERT_NO_FATAL_FAILURE(expect_progress(writer));
  ASSERT_OK(cluster_->power_off(0));
  ASSERT_OK(cluster_->wait_role(1, "primary", kSoon));
  ASSERT_NO_FATAL_FAILURE(expect_progress(writer));
  writer.stop();
  ASSERT_NO_FATAL_FAILURE(expect_every_acknowledged_write(writer.acknowledged()));
}

TEST_F(Disk, BothHostsLosePowerAndThePrimarysImageHasEverythingThatWasSynced) {
  ASSERT_NO_FATAL_FAILURE(start_with_disk());
  Writer writer(*cluster_);
  ASSERT_NO_FATAL_FAILURE(expect_progress(writer));
  ASSERT_OK(cluster_->power_off(1));
  ASSERT_OK(cluster_->power_off(0));
  writer.stop();
  ASSERT_OK(cluster_->power_on(0));
  ASSERT_OK(cluster_->power_on(1));
  ASSERT_OK(cluster_->start_primary(0));
  ASSERT_OK(cluster_->wait_guest(kBoot));
  const auto text = cluster_->run_in_guest(fmt::format("dd if=/dev/vda bs={} skip={} count=1 2>/dev/null | head -1",
                                                       kSlotBytes, Writer::slot(writer.acknowledged())));
  ASSERT_OK(text);
  EXPECT_THAT(*text, HasSubstr(fmt::format("record {}", writer.acknowledged())));
}

TEST_F(Disk, AHandOverNeedsNoFullCopyBack) {
  ASSERT_NO_FATAL_FAILURE(start_with_disk());
  Writer writer(*cluster_);
  ASSERT_NO_FATAL_FAILURE(expect_progress(writer));
  ASSERT_OK(cluster_->daemon(0)->command("switchover", {demo::kVmName}));
  ASSERT_OK(cluster_->wait_protected(1, kSync));
  ASSERT_NO_FATAL_FAILURE(expect_progress(writer));
  writer.stop();
  ASSERT_NO_FATAL_FAILURE(expect_every_acknowledged_write(writer.acknowledged()));
}

TEST_F(Disk, AfterATidyEndTheOtherHostMayStartTheVm) {
  ASSERT_NO_FATAL_FAILURE(start_with_disk());
  Writer writer(*cluster_);
  ASSERT_NO_FATAL_FAILURE(expect_progress(writer));
  writer.stop();
  ASSERT_OK(cluster_->run_in_guest("echo last words | dd of=/dev/vda bs=4096 seek=8000 conv=fsync,notrunc,sync"));
  ASSERT_OK(cluster_->tell_guest("poweroff -f"));
  for (size_t host = 0; host < demo::kHosts; ++host) {
    ASSERT_OK(cluster_->wait_exit(host, kSoon));
    cluster_->daemon(host).reset();  // nobody waits for it any more
  }
  expect_equal_images();

  ASSERT_OK(cluster_->start_primary(1));
  ASSERT_OK(cluster_->wait_guest(kBoot));
  ASSERT_NO_FATAL_FAILURE(expect_every_acknowledged_write(writer.acknowledged()));
  const auto words = cluster_->run_in_guest("dd if=/dev/vda bs=4096 skip=8000 count=1 2>/dev/null | head -c 10");
  ASSERT_OK(words);
  EXPECT_EQ(*words, "last words");
  ASSERT_OK(cluster_->start_primary(0));  // too late
  ASSERT_OK(cluster_->wait_exit(0, kSoon));
  EXPECT_THAT(log(0), HasSubstr("the guest of generation 1 ended on it, and generation 2 has run since"));

  ASSERT_OK(cluster_->start_standby(0));
  ASSERT_OK(cluster_->wait_protected(1, kSync));
  ASSERT_OK(cluster_->daemon(1)->command("stop", {demo::kVmName}));
  for (size_t host = 0; host < demo::kHosts; ++host) ASSERT_OK(cluster_->wait_exit(host, kSoon));
  expect_equal_images();
  EXPECT_THAT(log(1), HasSubstr("either may start it again"));
}

// Its disk is as if full: no file of its daemon may grow, nor be written beyond the first megabyte.
TEST_F(Disk, AStandbyWithoutRoomIsGivenUpAndComesBackByItself) {
  ASSERT_NO_FATAL_FAILURE(start_with_disk());
  const auto limit_standby = [&](const char* bytes) {
    const auto done = demo::run_command(
        {"prlimit", fmt::format("--pid={}", cluster_->daemon(1)->pid()), fmt::format("--fsize={}:unlimited", bytes)});
    ASSERT_OK(done);
    ASSERT_EQ(done->exit_status, 0) << done->output;
  };
  ASSERT_NO_FATAL_FAILURE(limit_standby("1048576"));
  Writer writer(*cluster_);
  ASSERT_OK(cluster_->wait_until("the standby being given up", kSoon, [this]() -> Result<bool> {
    return log(0).find("not ready: its disk cannot be written") != std::string::npos;
  }));
  EXPECT_THAT(log(0), HasSubstr("File too large"));
  ASSERT_NO_FATAL_FAILURE(expect_progress(writer));
  EXPECT_EQ(role(1), "standby");
  ASSERT_NO_FATAL_FAILURE(limit_standby("unlimited"));
  ASSERT_OK(cluster_->wait_protected(0, kSync));
  ASSERT_NO_FATAL_FAILURE(expect_progress(writer));
  ASSERT_OK(cluster_->power_off(0));
  ASSERT_OK(cluster_->wait_role(1, "primary", kSoon));
  ASSERT_NO_FATAL_FAILURE(expect_progress(writer));
  writer.stop();
  ASSERT_NO_FATAL_FAILURE(expect_every_acknowledged_write(writer.acknowledged()));
}

TEST_F(Disk, AnAuditNamesWhereTheStandbysImageDiffersAndItIsMended) {
  constexpr uint64_t kWrongAt = (40u << 20) + 5;
  constexpr uint64_t kGranule = 64 * 1024;
  ASSERT_NO_FATAL_FAILURE(start_with_disk());
  Writer writer(*cluster_);
  ASSERT_NO_FATAL_FAILURE(expect_progress(writer));
  auto [status, result] = audit(0);
  EXPECT_EQ(status, 0) << result;
  EXPECT_EQ(result["disks"][0].value("granules", uint64_t{0}) + result["disks"][0].value("left_out", uint64_t{0}),
            kDiskBytes / kGranule);
  {
    std::fstream standbys(image(1), std::ios::binary | std::ios::in | std::ios::out);
    standbys.seekp(kWrongAt);
    standbys.put('?');
  }
  std::tie(status, result) = audit(0);
  EXPECT_EQ(status, 1) << result;
  EXPECT_EQ(result["differences"], 0) << "of pages of RAM";
  EXPECT_EQ(result["disks"][0]["offsets"], Json::array({kWrongAt / kGranule * kGranule}));
  EXPECT_THAT(log(0), HasSubstr("disk0: 1 pieces of 64 KiB differ from the standby's, the first at byte 41943040"));
  ASSERT_OK(cluster_->wait_until("the standby dropping its copy", kSoon, [this]() -> Result<bool> {
    return log(0).find("the standby has dropped its wrong copy") != std::string::npos;
  }));
  ASSERT_OK(cluster_->wait_protected(0, kSync));
  ASSERT_NO_FATAL_FAILURE(expect_progress(writer));
  EXPECT_EQ(audit(0).first, 0);
  writer.stop();
}

TEST_F(Disk, AStaleImageIsNotServed) {
  ASSERT_NO_FATAL_FAILURE(start_with_disk());
  ASSERT_OK(cluster_->power_off(0));
  ASSERT_OK(cluster_->wait_role(1, "primary", kSoon));
  ASSERT_OK(cluster_->power_off(1));
  ASSERT_OK(cluster_->power_on(0));
  ASSERT_OK(cluster_->start_primary(0));
  ASSERT_OK(cluster_->wait_exit(0, kSoon));
  EXPECT_FALSE(cluster_->has_qemu(0));
}

// QEMU's own format on top of the replicated image, behind another bus.
TEST_F(Disk, Qcow2OnVirtioScsiSurvivesATakeover) {
  const std::string device = "/dev/sda";
  ASSERT_NO_FATAL_FAILURE(create_without_image("format = \"qcow2\"\nbus = \"virtio-scsi\"\n"));
  const auto made =
      demo::run_command({program(), "disk", "create", image(0).string(), "64M", "--format", "qcow2"}, kSoon);
  ASSERT_OK(made);
  ASSERT_EQ(made->exit_status, 0) << made->output;
  ASSERT_NO_FATAL_FAILURE(protect());
  Writer writer(*cluster_, device);
  ASSERT_NO_FATAL_FAILURE(expect_progress(writer));
  ASSERT_OK(cluster_->power_off(0));
  ASSERT_OK(cluster_->wait_role(1, "primary", kSoon));
  ASSERT_NO_FATAL_FAILURE(expect_progress(writer));
  ASSERT_OK(cluster_->power_on(0));
  ASSERT_OK(cluster_->start_standby(0));
  ASSERT_OK(cluster_->wait_protected(1, kSync));
  ASSERT_NO_FATAL_FAILURE(expect_progress(writer));
  writer.stop();
  ASSERT_NO_FATAL_FAILURE(expect_every_acknowledged_write(writer.acknowledged(), device));
  ASSERT_OK(cluster_->tell_guest("poweroff -f"));
  for (size_t host = 0; host < demo::kHosts; ++host) {
    ASSERT_OK(cluster_->wait_exit(host, kSoon));
    const auto checked = demo::run_command({"qemu-img", "check", "-f", "qcow2", image(host).string()}, kSoon);
    ASSERT_OK(checked);
    EXPECT_EQ(checked->exit_status, 0) << checked->output;
  }
  expect_equal_images();
}

TEST_F(Disk, AMissingImageIsNamed) {
  ASSERT_NO_FATAL_FAILURE(create_with_disk());
  fs::remove(image(0));
  ASSERT_OK(cluster_->start_primary(0));
  ASSERT_OK(cluster_->wait_exit(0, kSoon));
  EXPECT_THAT(log(0), HasSubstr("disk.img"));
}

TEST_F(Disk, AShortImageIsRefused) {
  ASSERT_NO_FATAL_FAILURE(create_with_disk());
  fs::resize_file(image(0), kDiskBytes / 2);
  ASSERT_OK(cluster_->start_primary(0));
  ASSERT_OK(cluster_->wait_exit(0, kSoon));
  EXPECT_THAT(log(0), HasSubstr("disk.img"));
}

}  // namespace
}  // namespace us::e2e
