// What the guest does to itself is not a failure of the host.
#include <cstdlib>

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
    expect_ended(words_of_primary);
  }

  // The same, between the stop of an epoch's cut and the saving of devices.
  void expect_end_in_pause(const std::string& injected, const std::string& words_of_primary) {
    ASSERT_NO_FATAL_FAILURE(create());
    ASSERT_OK(cluster_->start_primary(0, {"--inject", injected}));
    ASSERT_OK(cluster_->wait_guest(kBoot));
    ASSERT_OK(cluster_->start_standby(1));
    ASSERT_OK(cluster_->wait_protected(0, kSync));
    expect_ended(words_of_primary);
  }

  void expect_ended(const std::string& words_of_primary) {
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

TEST_F(GuestEnd, PowerOffInAPauseEndsTheVmOnBothHosts) {
  expect_end_in_pause("power-off-in-pause=60", "powered itself off");
}

TEST_F(GuestEnd, PanicInAPauseIsReportedAsSuch) { expect_end_in_pause("panic-in-pause=60", "panicked"); }

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

// QEMU may carry out a reset between the stop of a cut and the saving of devices.
TEST_F(GuestEnd, AnEpochHoldsTogetherThoughTheMachineIsResetInItsPause) {
  ASSERT_NO_FATAL_FAILURE(create());
  ASSERT_OK(cluster_->start_primary(0, {"--inject", "reset-in-pause=30"}));
  ASSERT_OK(cluster_->wait_guest(kBoot));
  const std::string before = boot_id();
  ASSERT_OK(cluster_->start_standby(1));
  ASSERT_OK(cluster_->wait_protected(0, kSync));
  ASSERT_OK(cluster_->wait_until("the reset", kSoon, [this]() -> Result<bool> {
    US_ASSIGN(const DaemonStatus now, cluster_->status(0));
    return now.resets_in_pauses == 1;
  }));
  ASSERT_OK(cluster_->audit(0));
  ASSERT_OK(cluster_->power_off(0));
  ASSERT_OK(cluster_->wait_role(1, "primary", kSoon));
  ASSERT_OK(cluster_->wait_until("the guest having booted on the other host", kBoot, [&]() -> Result<bool> {
    const std::string now = boot_id();
    return !now.empty() && now != before;
  }));
  ASSERT_OK(wait_services());
}

}  // namespace
}  // namespace us::e2e
