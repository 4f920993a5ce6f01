// The scaling simulation against what can be said without it.
#include <gtest/gtest.h>

#include <algorithm>

#include "sim/scale/many_guests.h"
#include "sim/scale/one_flow.h"
#include "sim/scale/server.h"

namespace us::sim::scale {
namespace {

constexpr const char* kText =
    "# costs\n"
    "relay_frame_us = 0.5  # measured\nrelay_byte_ns = 0.2\npause_base_ms = 2\npause_page_us = 1\nencode_page_us = 4\n"
    "page_wire_bytes = 700\ndevice_state_bytes = 60000\napply_page_us = 2\ncommit_fixed_ms = 0.7\nlog_byte_ratio = "
    "1.02\n"
    "pages_per_mbyte = 250\nidle_pages_per_second = 1000\n";

Parameters costs() { return *parse_parameters(kText); }

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

TEST(ScaleParameters, AreReadWithComments) {
  const auto read = parse_parameters(kText);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_DOUBLE_EQ(read->relay_frame_us, 0.5);
  EXPECT_DOUBLE_EQ(read->idle_pages_per_second, 1000);
}

TEST(ScaleParameters, WhatIsMissingUnknownRepeatedOrNoNumberIsRefused) {
  const std::string all = kText;
  EXPECT_FALSE(parse_parameters(all.substr(0, all.rfind("idle"))));
  EXPECT_FALSE(parse_parameters(all + "surprise = 1\n"));
  EXPECT_FALSE(parse_parameters(all + "page_wire_bytes = 1\n"));
  EXPECT_FALSE(parse_parameters(all + "nonsense\n"));
  for (const char* value : {"-1", "nan", "1x", ""}) {
    std::string text = all;
    text.replace(text.find("= 700"), 5, std::string("= ") + value);
    EXPECT_FALSE(parse_parameters(text)) << value;
  }
}

TEST(ScaleServers, WorkWaitsForTheFirstThatIsFree) {
  Pool pool(2);
  const Instant start = Instant::from_nanos(1000);
  EXPECT_EQ(pool.serve(start, Duration::nanos(100)), start + Duration::nanos(100));
  EXPECT_EQ(pool.serve(start, Duration::nanos(50)), start + Duration::nanos(50));
  EXPECT_EQ(pool.serve(start, Duration::nanos(10)), start + Duration::nanos(60));
  EXPECT_EQ(pool.busy(), Duration::nanos(160));
}

TEST(ScaleFlow, WithoutEpochsItFillsTheLine) {
  const FlowResult r = run_flow(costs(), {.gbit = 10, .is_protected = false, .seconds = 0.05});
  EXPECT_GT(r.gbit, 9.0);
  EXPECT_LE(r.gbit, 10.0);
}

TEST(ScaleFlow, TheDataPathsCoreLimitsIt) {
  Parameters slow = costs();
  slow.relay_byte_ns = 1.6;  // 5 Gbit/s
  const FlowResult r = run_flow(slow, {.gbit = 10, .is_protected = false, .seconds = 0.05});
  EXPECT_NEAR(r.gbit, 5.0, 0.3);
  EXPECT_GT(r.core_share, 0.95);
}

TEST(ScaleFlow, TheReplicationLinkLimitsIt) {
  const FlowResult r = run_flow(costs(), {.gbit = 10, .replication_gbit = 4, .buffer_mb = 64, .seconds = 0.8});
  EXPECT_LT(r.gbit, 4.0);
  EXPECT_GT(r.gbit, 2.5);
}

TEST(ScaleFlow, ASmallBufferLimitsItAndALargerOneLess) {
  const FlowResult small = run_flow(costs(), {.gbit = 40, .replication_gbit = 50, .buffer_mb = 2, .seconds = 0.1});
  const FlowResult large = run_flow(costs(), {.gbit = 40, .replication_gbit = 50, .buffer_mb = 32, .seconds = 0.1});
  EXPECT_LT(small.gbit * 2, large.gbit);
  EXPECT_LE(small.buffer_mb, 2.2);
}

TEST(ScaleHost, AnIdleGuestAloneCommitsInTheSumOfTheParts) {
  const HostResult r = run_host(costs(), {.guests = 1, .seconds = 1});
  // Pause 2 ms + 25 pages, encoding, 78 KB at 10 Gbit/s, applying, 0.7 ms, a round trip of 50 us.
  EXPECT_NEAR(median(r.commit_ms), 2.02 + 0.1 + 0.06 + 0.05 + 0.7 + 0.05, 0.15);
  EXPECT_NEAR(r.epochs_per_second, 1000 / 27.0, 1.5);
  EXPECT_NEAR(r.pause_share, 2.02 / 27, 0.01);
}

TEST(ScaleHost, AnAnswerWaitsForTheCutOnOutputNotForTheEpoch) {
  const HostResult cut = run_host(costs(), {.guests = 1, .epoch_ms = 100, .requests = 20, .seconds = 2});
  const HostResult plain =
      run_host(costs(), {.guests = 1, .epoch_ms = 100, .cut_on_output = false, .requests = 20, .seconds = 2});
  EXPECT_LT(median(cut.hold_ms), 5);
  EXPECT_NEAR(median(plain.hold_ms), 50 + 3, 10);
}

TEST(ScaleHost, GuestsThatWantMoreThanTheLinkWaitForEachOther) {
  const Load load{.guests = 50, .link_gbit = 1, .pages = 20000, .working_set = 65536, .seconds = 1};
  const HostResult crowded = run_host(costs(), load);
  const HostResult alone = run_host(costs(), {.guests = 1, .link_gbit = 1, .pages = 20000, .working_set = 65536});
  EXPECT_GT(crowded.link_share, 0.95);
  EXPECT_GT(median(crowded.commit_ms), 3 * median(alone.commit_ms));
}

TEST(ScaleHost, TheSameSeedGivesTheSame) {
  const Load load{.guests = 5, .requests = 100, .seconds = 0.5};
  EXPECT_EQ(run_host(costs(), load).hold_ms, run_host(costs(), load).hold_ms);
}

}  // namespace
}  // namespace us::sim::scale
