// What the guest does to itself is not a failure of the host.
#include <cstdlib>
#include <fstream>

#include "e2e.h"

namespace us::e2e {
namespace {

using testing::HasSubstr;

class GuestEnd : public E2e {
 protected:
  // Ends the guest by `line`; both daemons must see it, and no host may run it again.
  void expect_end(const std::string& line, const std::string& words_of_primary) {
    ASSERT_NO_FATAL_FAILURE(start_protected());
    ASSERT_OK(cluster_->tell_guest(line));
    ASSERT_OK(cluster_->wait_until("the end of both QEMUs", kSoon, [this]() -> Result<bool> {
      return !cluster_->has_qemu(0) && !cluster_->has_qemu(1);
    }));
    ASSERT_OK(cluster_->sleep(Duration::seconds(2)));  // several detection times
    EXPECT_FALSE(cluster_->has_qemu(0));
    EXPECT_FALSE(cluster_->has_qemu(1)) << "the standby has resurrected it";
    EXPECT_NE(role(1), "primary");
    EXPECT_THAT(log(0), HasSubstr(words_of_primary));
  }
};

TEST_F(GuestEnd, PowerOffEndsTheVmOnBothHosts) { expect_end("poweroff -f", "powered itself off"); }

TEST_F(GuestEnd, OrderlyPowerOffEndsTheVmOnBothHosts) { expect_end("poweroff", "powered itself off"); }

TEST_F(GuestEnd, PanicIsReportedAsSuch) { expect_end("echo c >/proc/sysrq-trigger", "panicked"); }

TEST_F(GuestEnd, RebootIsTheGuestsOwnAffair) {
  ASSERT_NO_FATAL_FAILURE(start_protected());
  const std::string before = boot_id();
  ASSERT_FALSE(before.empty());
  ASSERT_OK(cluster_->tell_guest("reboot -f"));
  ASSERT_OK(cluster_->wait_until("the guest having booted again", kBoot, [&]() -> Result<bool> {
    const std::string now = boot_id();
    return !now.empty() && now != before;
  }));
  ASSERT_OK(cluster_->wait_protected(0, kSync));
  EXPECT_EQ(role(1), "standby");
  const auto status = cluster_->status(0);
  ASSERT_OK(status);
  EXPECT_EQ(status->generation, 1u);

  ASSERT_OK(wait_services());

  // What was rebooted is protected like what was booted.
  start_load();
  ASSERT_OK(cluster_->power_off(0));
  ASSERT_OK(cluster_->wait_role(1, "primary", kSoon));
  expect_load_goes_on();
  expect_load_unharmed();
}

// Firmware that does nothing but count in RAM and reset the machine (port 0xcf9 of the q35 chipset).
std::string resetting_firmware() {
  constexpr size_t kSize = 64 << 10;
  // xor ax,ax; mov ds,ax; inc word [0x7000]; mov dx,0xcf9; mov al,6; out dx,al; l: hlt; jmp l
  constexpr std::string_view kCode("\x31\xc0\x8e\xd8\xff\x06\x00\x70\xba\xf9\x0c\xb0\x06\xee\xf4\xeb\xfd", 17);
  constexpr std::string_view kJump("\xe9\x0d\xff", 3);  // from the reset vector, 16 bytes below the end, to the code
  std::string image(kSize, '\x90');
  image.replace(kSize - 0xf0 - 0x10, kCode.size(), kCode);
  image.replace(kSize - 0x10, kJump.size(), kJump);
  return image;
}

// QEMU carries out a reset when it comes to it, so between the stop of a cut and the saving of devices, too.
TEST_F(GuestEnd, EpochsHoldTogetherThoughTheGuestResetsAllTheTime) {
  ASSERT_NO_FATAL_FAILURE(create());
  const std::string firmware = (cluster_->directory() / "resets.bin").string();
  std::ofstream(firmware) << resetting_firmware();
  for (size_t host = 0; host < demo::kHosts; ++host)
    edit_vm_file(host, "kernel = ", "firmware = \"" + firmware + "\"\nkernel = ");
  ASSERT_OK(cluster_->start_primary(0));
  ASSERT_OK(cluster_->wait_role(0, "primary", kSoon));
  ASSERT_OK(cluster_->start_standby(1));
  ASSERT_OK(cluster_->wait_protected(0, kSync));
  ASSERT_OK(cluster_->wait_until("resets within pauses", kSoon, [this]() -> Result<bool> {
    US_ASSIGN(const DaemonStatus now, cluster_->status(0));
    return now.guest_resets_in_pauses >= 3;
  }));
  for (int i = 0; i < 3; ++i) ASSERT_OK(cluster_->audit(0));
  ASSERT_OK(cluster_->power_off(0));
  ASSERT_OK(cluster_->wait_role(1, "primary", kSoon));
  ASSERT_OK(cluster_->wait_until("a reset after the takeover", kSoon, [this]() -> Result<bool> {
    US_ASSIGN(const DaemonStatus now, cluster_->status(1));
    return now.guest_resets > 0;
  }));
}

}  // namespace
}  // namespace us::e2e
