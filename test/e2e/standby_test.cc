// The standby dies, comes back, and is of use again.
#include "e2e.h"

namespace us::e2e {
namespace {

class Standby : public E2e {};

TEST_F(Standby, ItsDeathLeavesTheGuestRunningAndANewOneProtectsIt) {
  ASSERT_NO_FATAL_FAILURE(start_protected());
  start_load();
  ASSERT_OK(cluster_->power_off(1));
  expect_load_goes_on();
  ASSERT_OK(cluster_->wait_until("the primary going solo", kSoon, [this]() -> Result<bool> {
    US_ASSIGN(const DaemonStatus now, cluster_->status(0));
    return now.role == "primary" && now.state == "solo";
  }));

  ASSERT_OK(cluster_->power_on(1));
  ASSERT_OK(cluster_->start_standby(1));
  ASSERT_OK(cluster_->wait_protected(0, kSync));
  expect_load_goes_on();

  ASSERT_OK(cluster_->power_off(0));
  ASSERT_OK(cluster_->wait_role(1, "primary", kSoon));
  expect_load_goes_on();
  expect_load_unharmed();
}

TEST_F(Standby, ThatDiesWhileItIsSynchronisedHarmsNothing) {
  ASSERT_NO_FATAL_FAILURE(create());
  ASSERT_OK(cluster_->start_primary(0));
  ASSERT_OK(cluster_->wait_guest(kBoot));
  start_load();
  ASSERT_OK(cluster_->start_standby(1));
  ASSERT_OK(cluster_->wait_until("synchronisation", kSoon, [this]() -> Result<bool> {
    US_ASSIGN(const DaemonStatus now, cluster_->status(0));
    return now.state == "syncing" || now.state == "protected";
  }));
  ASSERT_OK(cluster_->power_off(1));
  expect_load_goes_on();
  ASSERT_OK(cluster_->power_on(1));
  ASSERT_OK(cluster_->start_standby(1));
  ASSERT_OK(cluster_->wait_protected(0, kSync));
  expect_load_unharmed();
}

}  // namespace
}  // namespace us::e2e
