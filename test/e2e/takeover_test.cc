// Hosts that die, and the clients that must not notice: the demo's own story, with its verdict as the test.
#include <atomic>

#include "demo/story.h"
#include "e2e.h"

namespace us::e2e {
namespace {

class Takeover : public testing::Test {
 protected:
  static int run(demo::DemoOptions options) {
    options.program = US_PROGRAM;
    options.guest_dir = US_GUEST_DIR;
    options.download_mib = 8;
    const std::atomic<bool> never = false;
    return demo::run_demo(options, never);
  }
};

TEST_F(Takeover, ManyInARowLoseNothing) { EXPECT_EQ(run({.rounds = long_run() ? 20u : 4u}), 0); }

TEST_F(Takeover, PrimaryThatLosesBothLinksFencesItself) {
  EXPECT_EQ(run({.rounds = long_run() ? 20u : 2u, .fault = demo::Fault::kCutNetwork}), 0);
}

TEST_F(Takeover, GuestWithTwoVcpus) { EXPECT_EQ(run({.rounds = long_run() ? 10u : 2u, .cpus = 2}), 0); }

TEST_F(Takeover, ClientsOverIpv6) { EXPECT_EQ(run({.rounds = 1, .ipv6 = true}), 0); }

TEST_F(Takeover, ShortEpochs) { EXPECT_EQ(run({.rounds = 1, .epoch = "10ms"}), 0); }

// Parts of a host that die or stop, rather than all of it.
class PartialFailure : public E2e {
 protected:
  pid_t qemu_of(size_t host) const {
    for (const pid_t pid : cluster_->lab().host(host).processes())
      if (demo::process_name(pid).starts_with("qemu-system")) return pid;
    return 0;
  }
  void expect_takeover_by_b() {
    ASSERT_OK(cluster_->wait_role(1, "primary", kSoon));
    EXPECT_FALSE(cluster_->has_qemu(0));
    expect_load_goes_on();
    expect_load_unharmed();
  }
};

TEST_F(PartialFailure, DaemonDiesAloneAndItsQemuWithIt) {
  ASSERT_NO_FATAL_FAILURE(start_protected());
  start_load();
  ASSERT_EQ(::kill(cluster_->daemon(0)->pid(), SIGKILL), 0);
  ASSERT_OK(
      cluster_->wait_until("the end of its QEMU", kSoon, [this]() -> Result<bool> { return !cluster_->has_qemu(0); }));
  expect_takeover_by_b();
}

TEST_F(PartialFailure, QemuDiesAlone) {
  ASSERT_NO_FATAL_FAILURE(start_protected());
  start_load();
  ASSERT_EQ(::kill(qemu_of(0), SIGKILL), 0);
  expect_takeover_by_b();
}

// A host that freezes and thaws is the hardest case for "one writer": it wakes up believing that it is the primary.
TEST_F(PartialFailure, FrozenPrimaryThatThawsFencesItself) {
  ASSERT_NO_FATAL_FAILURE(start_protected());
  start_load();
  const auto frozen = cluster_->lab().host(0).processes();
  for (const pid_t pid : frozen) ::kill(pid, SIGSTOP);
  ASSERT_OK(cluster_->wait_role(1, "primary", kSoon));
  expect_load_goes_on();
  for (const pid_t pid : frozen) ::kill(pid, SIGCONT);
  ASSERT_OK(cluster_->wait_role(0, "fenced", kSoon));
  expect_takeover_by_b();
}

TEST_F(PartialFailure, ReplicationLinkAloneBreaksAndExactlyOneHostGoesOn) {
  ASSERT_NO_FATAL_FAILURE(start_protected());
  start_load();
  ASSERT_OK(cluster_->lab().set_replication_cable(0, false));
  // Either host may win; the other one must have no guest any more.
  ASSERT_OK(cluster_->wait_until("exactly one host running the guest", kSoon, [this]() -> Result<bool> {
    return cluster_->has_qemu(0) != cluster_->has_qemu(1) && (role(0) == "primary") != (role(1) == "primary");
  }));
  expect_load_goes_on();
  ASSERT_OK(cluster_->sleep(Duration::seconds(1)));
  EXPECT_NE(role(0) == "primary", role(1) == "primary");
  expect_load_unharmed();
}

}  // namespace
}  // namespace us::e2e
