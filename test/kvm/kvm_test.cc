// A guest under KVM: protected, killed, taken over; with two processors; rebooted while it is protected.
//
// The times are those of KVM nested in emulation, where a guest takes 10 to 40 s to boot and everything else a hundred
// times what it takes on hardware: nothing here says how fast anything is.
#include "e2e.h"

namespace us::e2e {
namespace {

class Kvm : public E2e {
 protected:
  // A boot while protected: most of the time must be the guest's, for each pause takes 50 to 100 ms here.
  static constexpr Duration kSlowBoot = Duration::seconds(150);

  static demo::ClusterOptions options(int cpus, const std::string& epoch = "50ms") {
    demo::ClusterOptions options;
    options.memory = "256M";
    options.cpus = cpus;
    options.accelerator = "kvm";
    options.cpu = "host";
    options.epoch = epoch;
    options.detection = "2s";
    return options;
  }

  void start(const demo::ClusterOptions& options) {
    ASSERT_NO_FATAL_FAILURE(start_protected(options));
    const auto status = cluster_->status(0);
    ASSERT_OK(status);
    EXPECT_EQ(status->accelerator, "kvm");
  }

  void wait_epochs(uint64_t count) {
    const auto begin = cluster_->status(0);
    ASSERT_OK(begin);
    ASSERT_OK(cluster_->wait_until("epochs under load", kSync, [&]() -> Result<bool> {
      US_ASSIGN(const DaemonStatus now, cluster_->status(0));
      return now.committed_epoch >= begin->committed_epoch + count;
    }));
  }

  void kill_host_a_under_load() {
    start_load();
    ASSERT_NO_FATAL_FAILURE(wait_epochs(20));
    ASSERT_OK(cluster_->power_off(0));
    ASSERT_OK(cluster_->wait_role(1, "primary", kSync));
    expect_load_goes_on();
    expect_load_unharmed();
  }
};

TEST_F(Kvm, GuestSurvivesTheDeathOfItsHost) {
  ASSERT_NO_FATAL_FAILURE(start(options(1)));
  kill_host_a_under_load();
}

TEST_F(Kvm, GuestWithTwoVcpusSurvivesTheDeathOfItsHost) {
  ASSERT_NO_FATAL_FAILURE(start(options(2)));
  kill_host_a_under_load();
}

TEST_F(Kvm, GuestRebootsWhileProtectedAndSurvivesTheDeathOfItsHost) {
  ASSERT_NO_FATAL_FAILURE(start(options(1, "300ms")));
  const std::string before = boot_id();
  ASSERT_OK(cluster_->tell_guest("reboot -f"));
  ASSERT_OK(cluster_->wait_until("the guest having booted again", kSlowBoot, [&]() -> Result<bool> {
    const std::string now = boot_id();
    return !now.empty() && now != before;
  }));
  ASSERT_OK(wait_services());
  ASSERT_OK(cluster_->wait_protected(0, kSync));
  kill_host_a_under_load();
}

}  // namespace
}  // namespace us::e2e
