// Mistakes of the person who sets it up: a clear message, a failed exit status, and nothing left behind.
#include "demo/command.h"
#include "e2e.h"

namespace us::e2e {
namespace {

using testing::HasSubstr;

class BadInput : public E2e {
 protected:
  void SetUp() override {
    E2e::SetUp();
    ASSERT_NO_FATAL_FAILURE(create());
  }
  // `understudy run` on host A must give up, and say `words`.
  void expect_refusal(const std::string& words) {
    ASSERT_OK(cluster_->start_primary(0));
    ASSERT_OK(cluster_->wait_exit(0, kSoon));
    EXPECT_THAT(*cluster_->daemon(0)->poll_exit(),
                testing::AllOf(HasSubstr("exited"), testing::Not(HasSubstr("status 0"))));
    EXPECT_THAT(log(0), HasSubstr(words));
    EXPECT_FALSE(cluster_->has_qemu(0));
  }
};

TEST_F(BadInput, UnknownKeyIsNamedWithItsLine) {
  ASSERT_NO_FATAL_FAILURE(edit_vm_file(0, "cpus = 1", "cpu_count = 1"));
  expect_refusal("vm.toml:3");
}

TEST_F(BadInput, MissingBridge) {
  ASSERT_NO_FATAL_FAILURE(edit_vm_file(0, "bridge = \"br0\"", "bridge = \"br7\""));
  expect_refusal("br7");
}

TEST_F(BadInput, MissingKernel) {
  ASSERT_NO_FATAL_FAILURE(edit_vm_file(0, "vmlinuz", "vmlinuz-that-is-not-there"));
  expect_refusal("vmlinuz-that-is-not-there");
}

TEST_F(BadInput, MissingQemu) {
  ASSERT_NO_FATAL_FAILURE(edit_vm_file(0, "cpus = 1", "cpus = 1\nqemu_binary = \"qemu-of-another-world\""));
  expect_refusal("qemu-of-another-world");
}

TEST_F(BadInput, QemuArgumentThatWouldBreakProtection) {
  ASSERT_NO_FATAL_FAILURE(
      edit_vm_file(0, "cpus = 1", "cpus = 1\nqemu_args = [\"-device\", \"vfio-pci,host=00:02.0\"]"));
  expect_refusal("vfio-pci");
}

TEST_F(BadInput, NoAddressOfThisHost) {
  ASSERT_NO_FATAL_FAILURE(edit_vm_file(0, demo::kReplicationAddress[0], "10.99.0.1"));
  expect_refusal("none of replication.hosts");
}

TEST_F(BadInput, ArbiterDirectoryThatCannotBeWritten) {
  // Not a matter of permissions, which root ignores.
  ASSERT_NO_FATAL_FAILURE(edit_vm_file(0, "/arbiter\"", "/A/vm.toml/arbiter\""));
  expect_refusal("arbiter");
}

TEST_F(BadInput, PortInUse) {
  auto holder =
      ChildProcess::spawn({.argv = cluster_->lab().host(0).wrap({"iperf3", "-s", "-p", "7400"}), .inherited = {}});
  ASSERT_OK(holder);
  ASSERT_OK(cluster_->wait_until("the port being taken", kSoon, [this]() -> Result<bool> {
    const auto tried = demo::run_command(cluster_->lab().host(0).wrap(
        {"bash", "-c", std::string("exec 3<>/dev/tcp/") + demo::kReplicationAddress[0] + "/7400"}));
    return tried && tried->exit_status == 0;
  }));
  expect_refusal("7400");
}

TEST_F(BadInput, StandbyOfAnotherDefinitionIsRefusedAndThePrimaryGoesOn) {
  ASSERT_NO_FATAL_FAILURE(edit_vm_file(1, "memory = \"512M\"", "memory = \"256M\""));
  ASSERT_OK(cluster_->start_primary(0));
  ASSERT_OK(cluster_->wait_guest(kBoot));
  ASSERT_OK(cluster_->start_standby(1));
  ASSERT_OK(cluster_->wait_until("the refusal with its reason", kSoon, [this]() -> Result<bool> {
    return (log(0) + log(1)).find("memory") != std::string::npos;
  }));
  EXPECT_EQ(role(0), "primary");
  EXPECT_NE(role(1), "primary");
  EXPECT_FALSE(boot_id().empty());
  const auto status = cluster_->status(0);
  ASSERT_OK(status);
  EXPECT_FALSE(status->is_protected());
}

TEST_F(BadInput, SecondPrimaryIsRefusedWhileTheFirstRuns) {
  ASSERT_OK(cluster_->start_primary(1));
  ASSERT_OK(cluster_->wait_guest(kBoot));
  expect_refusal("standby");
  EXPECT_EQ(role(1), "primary");
}

}  // namespace
}  // namespace us::e2e
