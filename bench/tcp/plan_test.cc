#include "tcp/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace us::bench {
namespace {

using testing::SizeIs;

std::vector<Step> plan_for(Options options) {
  auto plan = make_plan(options);
  EXPECT_TRUE(plan.has_value());
  return plan ? *plan : std::vector<Step>{};
}

size_t count(const Step& step, const std::string& mode) {
  return static_cast<size_t>(std::count_if(step.settings.begin(), step.settings.end(),
                                           [&](const Setting& setting) { return setting.mode == mode; }));
}

TEST(TcpPlan, UnprotectedComesFirstInEveryLoadThatIsCompared) {
  for (const Step& step : plan_for({}))
    if (step.load.kind != Kind::kIdleFlows) {
      EXPECT_EQ(step.settings.front().mode, "unprotected") << describe(step.load);
      EXPECT_EQ(count(step, "unprotected"), 1u) << describe(step.load);
    }
}

TEST(TcpPlan, TheFullSliceHasEveryOptimizationAtEveryLength) {
  const auto plan = plan_for({.scenarios = {"bulk"}, .slice = "all"});
  ASSERT_THAT(plan, SizeIs(2));
  for (const Step& step : plan) {
    for (const char* mode : {"ack-guest", "ack-peer", "recovery", "offload", "cut-on-output"})
      EXPECT_EQ(count(step, mode), 4u) << mode;
    EXPECT_EQ(count(step, "buffered"), 5u);
    EXPECT_EQ(count(step, "accelerated"), 5u);
    EXPECT_EQ(count(step, "stock"), 1u);
  }
}

TEST(TcpPlan, EverySliceIsAsItsTableSays) {
  const auto size = [](const std::string& slice) {
    return plan_for({.scenarios = {"redis"}, .slice = slice})[0].settings.size();
  };
  EXPECT_EQ(size("all"), 2u + 2 * 5 + 5 * 4);
  EXPECT_EQ(size("main"), 2u + 2 * 5 + 5);
  EXPECT_EQ(size("bulk"), 2u + 2 * 5 + 5 * 1);
  EXPECT_EQ(size("few"), 2u + 2 * 2);
  EXPECT_EQ(size("pair"), 2u + 2);
  EXPECT_EQ(size("wide"), 1u + 2);
}

TEST(TcpPlan, TheSliceCanBeChosen) {
  const auto plan = plan_for({.scenarios = {"bulk"}, .slice = "wide"});
  ASSERT_THAT(plan, SizeIs(2));
  EXPECT_THAT(plan[0].settings, SizeIs(3));
  EXPECT_EQ(count(plan[0], "stock"), 0u);
}

TEST(TcpPlan, WhoNamesAModeAndALengthGetsThemWhateverTheSlice) {
  const auto plan = plan_for({.scenarios = {"redis"}, .modes = {"recovery"}, .epochs = {"50"}});
  ASSERT_THAT(plan, SizeIs(1));
  ASSERT_THAT(plan[0].settings, SizeIs(2));
  EXPECT_EQ(plan[0].settings[1].mode, "recovery");
  EXPECT_EQ(plan[0].settings[1].epoch, "50");
}

TEST(TcpPlan, LoadsAreChosenByDirectionRoundTripAndLoss) {
  EXPECT_THAT(plan_for({.scenarios = {"wide-area"}}), SizeIs(12));
  EXPECT_THAT(plan_for({.scenarios = {"wide-area"}, .directions = {"client-to-guest"}}), SizeIs(6));
  EXPECT_THAT(plan_for({.scenarios = {"wide-area"}, .rtts_ms = {80}, .losses = {0.01}}), SizeIs(2));
  EXPECT_FALSE(make_plan({.scenarios = {"bulk"}, .rtts_ms = {80}}));
}

TEST(TcpPlan, LongerPacketsGetAQueueOfAsManyBytes) {
  const auto plan = plan_for({.scenarios = {"bulk"}, .mtu = 9000, .cc = "bbr"});
  EXPECT_EQ(plan[0].load.queue_packets, 166);
  EXPECT_EQ(plan[0].load.mtu, 9000);
  EXPECT_EQ(plan[0].load.cc, "bbr");
}

TEST(TcpPlan, AQuickRunMeasuresTheSameForAShorterTime) {
  const auto whole = plan_for({.slice = "few"}), quick = plan_for({.quick = true, .slice = "few"});
  ASSERT_EQ(whole.size(), quick.size());
  EXPECT_LT(estimated_seconds(quick, 1), estimated_seconds(whole, 1) * 0.75);
}

TEST(TcpPlan, MoreRoundsTakeLonger) {
  const auto plan = plan_for({.scenarios = {"request-1"}});
  EXPECT_GT(estimated_seconds(plan, 5), 4 * estimated_seconds(plan, 1) - 100);
}

TEST(TcpPlan, NoTwoMeasurementsHaveTheSameKey) {
  std::set<std::string> keys;
  for (const Step& step : plan_for({.slice = "all"}))
    for (const Setting& setting : step.settings)
      EXPECT_TRUE(keys.insert(csv_key(key_of(step.load, setting, 1))).second) << describe(step.load);
}

TEST(TcpPlan, TheKeySaysHowItWasMeasured) {
  const auto plan = plan_for({.scenarios = {"incast"}});
  EXPECT_EQ(csv_key(key_of(plan[0].load, {"accelerated", "adaptive"}, 2)),
            "incast,flows=20;bytes=65536;line=wire;mbit=150;queue=100,accelerated,adaptive,guest-to-client,1500,0,0,"
            "cubic,2");
}

}  // namespace
}  // namespace us::bench
