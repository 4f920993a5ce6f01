#include "config/runtime_settings.h"

#include <gtest/gtest.h>

namespace us {
namespace {

TEST(RuntimeSettings, EveryModeHasAName) {
  for (const std::string_view name : tcp_mode_names()) {
    TcpSettings settings;
    ASSERT_TRUE(apply_tcp_mode(name, settings));
    EXPECT_EQ(tcp_mode_name(settings), name);
  }
  EXPECT_EQ(tcp_mode_name({.ack_guest = true}), "custom");
}

TEST(RuntimeSettings, BufferedSwitchesEverythingOffAndAcceleratedEverythingOn) {
  RuntimeSettings s;
  ASSERT_TRUE(apply_setting("tcp.mode=accelerated", s));
  EXPECT_TRUE(s.tcp.relay && s.tcp.ack_guest && s.tcp.ack_peer && s.tcp.recovery && s.tcp.offload &&
              s.tcp.cut_on_output);
  ASSERT_TRUE(apply_setting("tcp.mode=buffered", s));
  EXPECT_EQ(s.tcp, TcpSettings{});
}

TEST(RuntimeSettings, OneSwitchLeavesTheOthers) {
  RuntimeSettings s;
  ASSERT_TRUE(apply_setting("tcp.mode=accelerated", s));
  ASSERT_TRUE(apply_setting("tcp.ack_peer=off", s));
  EXPECT_FALSE(s.tcp.ack_peer);
  EXPECT_TRUE(s.tcp.ack_guest);
}

TEST(RuntimeSettings, EpochValuesAreReadInTheirUnits) {
  RuntimeSettings s;
  ASSERT_TRUE(apply_setting("epoch.length=50ms", s));
  ASSERT_TRUE(apply_setting("epoch.policy=adaptive", s));
  ASSERT_TRUE(apply_setting("epoch.pause_budget=30", s));
  EXPECT_EQ(s.epoch_length, Duration::millis(50));
  EXPECT_EQ(s.epoch_kind, EpochKind::kAdaptive);
  EXPECT_EQ(s.pause_budget_percent, 30);
}

TEST(RuntimeSettings, AuditsCanBeSwitchedOnAndOff) {
  RuntimeSettings s;
  ASSERT_TRUE(apply_setting("audit.every=100", s));
  EXPECT_EQ(s.audit_every, 100u);
  ASSERT_TRUE(apply_setting("audit.every=0", s));
  EXPECT_EQ(s, RuntimeSettings{});
}

TEST(RuntimeSettings, WhatCannotBeIsRefusedAndChangesNothing) {
  RuntimeSettings s;
  for (const char* bad : {"tcp.mode=fast", "tcp.ack_peer=maybe", "epoch.length=2s", "epoch.length=25", "epoch.policy=x",
                          "epoch.pause_budget=0", "epoch.pause_budget=5x", "audit.every=-1", "audit.every=often",
                          "memory=1G", "tcp.mode"}) {
    const Status status = apply_setting(bad, s);
    ASSERT_FALSE(status) << bad;
    EXPECT_EQ(status.error().kind, ErrorKind::kInput);
    EXPECT_EQ(s, RuntimeSettings{}) << bad;
  }
  EXPECT_NE(apply_setting("tcp.mode=fast", s).error().message.find("ack-guest"), std::string::npos);
}

}  // namespace
}  // namespace us
