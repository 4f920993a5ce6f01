// Guests under KVM, whole lives of them: protected, taken over, rebooted while protected, powered off, panicked; with
// one processor and with two.
//
// Where KVM is nested in emulation (test/kvm/run) a guest takes 10 to 40 s to boot and everything else a hundred times
// what it takes on hardware: nothing here says how fast anything is.  Environment:
//   US_KVM_CPU      CPU model of the guest; default: the product's
//   US_KVM_TRACKER  the dirty tracker that this kernel must get; default: any
#include <cstdlib>

#include "demo/command.h"
#include "e2e.h"
#include "qemu/accelerator.h"

namespace us::e2e {
namespace {

using testing::HasSubstr;

std::string word(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr ? value : "";
}

// One sentence instead of a failure of every test.
class NeedsKvm : public testing::Environment {
 public:
  void SetUp() override {
    const std::string cpu = word("US_KVM_CPU");
    const auto obstacle =
        try_accelerator(Accelerator::kKvm, "qemu-system-x86_64", cpu.empty() ? "host" : cpu, Duration::seconds(60));
    ASSERT_OK(obstacle);
    ASSERT_FALSE(obstacle->has_value()) << "KVM runs no guest on this machine: " << **obstacle << ".\n"
                                        << "`./do test-kvm` makes the same tests without KVM, in an emulated machine.";
  }
};

[[maybe_unused]] const testing::Environment* const kNeedsKvm = testing::AddGlobalTestEnvironment(new NeedsKvm);

class Kvm : public E2e {
 protected:
  Kvm() { patience_ = Duration::seconds(90); }

  static constexpr Duration kSlowBoot = Duration::seconds(180);

  // Long epochs: nested, each pause takes 50 to 100 ms, and most of the time must be the guest's.  After a scan with
  // soft-dirty bits it gets nothing done for a while besides: KVM maps all of its memory anew.
  static demo::ClusterOptions options(int cpus) {
    demo::ClusterOptions options;
    options.memory = "256M";
    options.cpus = cpus;
    options.cpu = word("US_KVM_CPU");
    options.epoch = word("US_KVM_TRACKER") == "soft-dirty" ? "1s" : "300ms";
    options.detection = "2s";
    return options;
  }

  void start(int cpus) {
    ASSERT_NO_FATAL_FAILURE(start_protected(options(cpus)));
    const auto status = cluster_->status(0);
    ASSERT_OK(status);
    EXPECT_EQ(status->accelerator, "kvm") << status->accelerator_reason;
    EXPECT_THAT(status->accelerator_reason, HasSubstr("probe guest ran"));
    if (const std::string wanted = word("US_KVM_TRACKER"); !wanted.empty()) {
      EXPECT_EQ(status->dirty_tracker, wanted);
    }
  }

  void expect_equal_copies(size_t primary) {
    const auto pages = cluster_->audit(primary);
    ASSERT_OK(pages);
    EXPECT_EQ(*pages, 256u * 256u);
  }

  void twenty_epochs() {
    const auto begin = cluster_->status(0);
    ASSERT_OK(begin);
    ASSERT_OK(cluster_->wait_until("20 epochs", kSync, [&]() -> Result<bool> {
      US_ASSIGN(const DaemonStatus now, cluster_->status(0));
      return now.committed_epoch >= begin->committed_epoch + 20;
    }));
  }

  // Epochs and an audit under load, then the death of host A; the clients' connections and data outlive it.
  void outlive_host_a() {
    start_load();
    ASSERT_NO_FATAL_FAILURE(twenty_epochs());
    ASSERT_NO_FATAL_FAILURE(expect_equal_copies(0));
    ASSERT_OK(cluster_->power_off(0));
    ASSERT_OK(cluster_->wait_role(1, "primary", kSync));
    expect_load_goes_on();
    expect_load_unharmed();
  }

  void reboot() {
    const std::string before = boot_id();
    ASSERT_FALSE(before.empty());
    ASSERT_OK(cluster_->tell_guest("reboot -f"));
    ASSERT_OK(cluster_->wait_until("the guest having booted again", kSlowBoot, [&]() -> Result<bool> {
      const std::string now = boot_id();
      return !now.empty() && now != before;
    }));
    ASSERT_OK(wait_services());
  }

  void expect_end(const std::string& line, const std::string& words) {
    ASSERT_OK(cluster_->tell_guest(line));
    ASSERT_OK(cluster_->wait_until("the end of both QEMUs", kSync, [this]() -> Result<bool> {
      return !cluster_->has_qemu(0) && !cluster_->has_qemu(1);
    }));
    EXPECT_THAT(log(1), HasSubstr(words));
  }
};

TEST_F(Kvm, GuestOutlivesItsHostThenRebootsWhileProtectedThenPowersOff) {
  ASSERT_NO_FATAL_FAILURE(start(1));
  ASSERT_NO_FATAL_FAILURE(outlive_host_a());
  ASSERT_OK(cluster_->power_on(0));
  ASSERT_OK(cluster_->start_standby(0));
  ASSERT_OK(cluster_->wait_protected(1, kSync));
  ASSERT_NO_FATAL_FAILURE(reboot());
  ASSERT_OK(cluster_->wait_protected(1, kSync));
  EXPECT_EQ(role(0), "standby");
  ASSERT_NO_FATAL_FAILURE(expect_equal_copies(1));
  expect_end("poweroff -f", "powered itself off");
}

TEST_F(Kvm, GuestWithTwoVcpusOutlivesItsHostAndItsPanicIsSeen) {
  ASSERT_NO_FATAL_FAILURE(start(2));
  ASSERT_NO_FATAL_FAILURE(outlive_host_a());
  expect_end("echo c >/proc/sysrq-trigger", "panicked");
}

TEST_F(Kvm, DoctorNamesTheAcceleratorAndTheTracker) {
  ASSERT_NO_FATAL_FAILURE(create(options(1)));
  const auto doctor = demo::run_command(
      cluster_->lab().host(0).wrap({program(), "doctor", cluster_->vm_file(0).string()}), Duration::seconds(120));
  ASSERT_OK(doctor);
  EXPECT_EQ(doctor->exit_status, 0) << doctor->output;
  EXPECT_THAT(doctor->output, HasSubstr("ok          accelerator     KVM: the probe guest ran under it"));
  const std::string tracker = word("US_KVM_TRACKER") == "soft-dirty" ? "soft-dirty    " : "dirty tracking";
  EXPECT_THAT(doctor->output, testing::ContainsRegex("ok          " + tracker + "  .*1 GB takes [0-9.]+ ms"));
  if (word("US_KVM_TRACKER") == "soft-dirty") {
    EXPECT_THAT(doctor->output, HasSubstr("degraded    dirty tracking"));
  }
}

}  // namespace
}  // namespace us::e2e
