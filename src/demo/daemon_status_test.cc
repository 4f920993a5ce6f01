#include "demo/daemon_status.h"

#include <gtest/gtest.h>

namespace us::demo {
namespace {

TEST(DaemonStatus, ReadsWhatTheDaemonSays) {
  const auto status = parse_daemon_status(R"({"name":"demo","role":"primary","state":"protected","generation":3,
      "epoch":120,"committed_epoch":119,"guest_resets":6,"resets_in_pauses":2,"accelerator":"tcg",
      "accelerator_reason":"no KVM","dirty_tracker":"soft-dirty","audit":{"done":4,"differences":1},"pause_ms":{"p50":4.5,"p99":9},
      "takeovers":[{"generation":3,"detection_ms":101.5,"restore_ms":20,"total_ms":130}]})");
  ASSERT_TRUE(status) << status.error().message;
  EXPECT_TRUE(status->is_protected());
  EXPECT_EQ(status->generation, 3u);
  EXPECT_EQ(status->committed_epoch, 119u);
  EXPECT_EQ(status->accelerator, "tcg");
  EXPECT_EQ(status->accelerator_reason, "no KVM");
  EXPECT_EQ(status->dirty_tracker, "soft-dirty");
  EXPECT_EQ(status->guest_resets, 6u);
  EXPECT_EQ(status->resets_in_pauses, 2u);
  EXPECT_EQ(status->audits, 4u);
  EXPECT_EQ(status->audit_differences, 1u);
  EXPECT_EQ(status->pause_p50_ms, 4.5);
  ASSERT_EQ(status->takeovers.size(), 1u);
  EXPECT_EQ(status->takeovers[0].detection_ms, 101.5);
  EXPECT_EQ(status->takeovers[0].arbitration_ms, 0);
}

TEST(DaemonStatus, PauseIsUnknownUntilThereWasOne) {
  const auto status = parse_daemon_status(R"({"role":"primary","state":"solo"})");
  ASSERT_TRUE(status);
  EXPECT_FALSE(status->pause_p50_ms);
  EXPECT_FALSE(status->is_protected());
}

TEST(DaemonStatus, WrongTypesAreIgnoredAndNonsenseIsRefused) {
  const auto status = parse_daemon_status(R"({"role":"primary","epoch":"many","takeovers":[7],"pause_ms":[]})");
  ASSERT_TRUE(status);
  EXPECT_EQ(status->epoch, 0u);
  EXPECT_TRUE(status->takeovers.empty());
  EXPECT_FALSE(parse_daemon_status("no daemon is running"));
  EXPECT_FALSE(parse_daemon_status("[]"));
}

}  // namespace
}  // namespace us::demo
