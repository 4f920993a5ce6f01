#include "host/epoch_times.h"

#include <gtest/gtest.h>

namespace us {
namespace {

Instant at(int64_t ms) { return Instant::from_nanos(ms * 1'000'000); }

TEST(EpochTimes, TellsWhenAnEpochWasCutRanOnAndWasCommitted) {
  EpochTimes times;
  times.on_cut(Epoch{1}, at(10), 7);
  times.on_resumed(Epoch{1}, at(12));
  times.on_commit(Epoch{1}, at(15));
  const auto latest = times.latest();
  ASSERT_EQ(latest.size(), 1u);
  EXPECT_EQ(latest[0].epoch, Epoch{1});
  EXPECT_EQ(latest[0].stopped, at(10));
  EXPECT_EQ(latest[0].resumed, at(12));
  EXPECT_EQ(latest[0].committed, at(15));
  EXPECT_EQ(latest[0].pages, 7u);
}

TEST(EpochTimes, ACommitCoversTheEpochsBeforeItButNoneAfterAndKeepsEarlierTimes) {
  EpochTimes times;
  for (uint64_t e = 1; e <= 4; ++e) times.on_cut(Epoch{e}, at(static_cast<int64_t>(e)), 0);
  times.on_commit(Epoch{1}, at(10));
  times.on_commit(Epoch{3}, at(20));
  const auto latest = times.latest();
  EXPECT_EQ(latest[0].committed, at(10));
  EXPECT_EQ(latest[1].committed, at(20));
  EXPECT_EQ(latest[2].committed, at(20));
  EXPECT_EQ(latest[3].committed, std::nullopt);
}

TEST(EpochTimes, KeepsTheLatestOnly) {
  EpochTimes times;
  for (uint64_t e = 1; e <= EpochTimes::kKept + 3; ++e) times.on_cut(Epoch{e}, at(1), 0);
  EXPECT_EQ(times.latest().size(), EpochTimes::kKept);
  EXPECT_EQ(times.latest().front().epoch, Epoch{4});
}

TEST(EpochTimes, ANewSessionForgetsTheOldOne) {
  EpochTimes times;
  times.on_cut(Epoch{8}, at(1), 0);
  times.on_cut(Epoch{1}, at(2), 0);
  ASSERT_EQ(times.latest().size(), 1u);
  EXPECT_EQ(times.latest()[0].epoch, Epoch{1});
}

}  // namespace
}  // namespace us
