// What a person does with the command line while all is well.
#include "e2e.h"

namespace us::e2e {
namespace {

class Operator : public E2e {};

TEST_F(Operator, SwitchoverHandsTheGuestOverAndBackAndBothSidesKnowTheirRoles) {
  ASSERT_NO_FATAL_FAILURE(start_protected());
  start_load();
  for (const size_t to : {1u, 0u}) {
    const size_t from = 1 - to;
    ASSERT_OK(cluster_->daemon(from)->command("switchover", {demo::kVmName}));
    ASSERT_OK(cluster_->wait_role(to, "primary", kSoon));
    ASSERT_OK(cluster_->wait_role(from, "standby", kSoon));
    expect_load_goes_on();
    ASSERT_OK(cluster_->wait_protected(to, kSync));
  }
  expect_load_unharmed();
}

TEST_F(Operator, StopEndsTheVmAndTheStandbyDoesNotResurrectIt) {
  ASSERT_NO_FATAL_FAILURE(start_protected());
  ASSERT_OK(cluster_->daemon(0)->command("stop", {demo::kVmName}));
  ASSERT_OK(cluster_->wait_exit(0, kSoon));
  ASSERT_OK(cluster_->sleep(Duration::seconds(2)));
  EXPECT_FALSE(cluster_->has_qemu(0));
  EXPECT_NE(role(1), "primary");
}

TEST_F(Operator, StoppingTheStandbyLeavesTheGuestRunning) {
  ASSERT_NO_FATAL_FAILURE(start_protected());
  start_load();
  ASSERT_OK(cluster_->daemon(1)->command("stop", {demo::kVmName}));
  ASSERT_OK(cluster_->wait_exit(1, kSoon));
  expect_load_goes_on();
  EXPECT_EQ(role(0), "primary");
  expect_load_unharmed();
}

TEST_F(Operator, SwitchoverWithoutAStandbyIsRefused) {
  ASSERT_NO_FATAL_FAILURE(create());
  ASSERT_OK(cluster_->start_primary(0));
  ASSERT_OK(cluster_->wait_guest(kBoot));
  EXPECT_FALSE(cluster_->daemon(0)->command("switchover", {demo::kVmName}));
  EXPECT_EQ(role(0), "primary");
  const std::string id = boot_id();
  EXPECT_FALSE(id.empty());
}

}  // namespace
}  // namespace us::e2e
