#include "core/disk/epoch_write_log.h"

#include <gtest/gtest.h>

#include "core/disk/disk_samples.h"
#include "core/disk/staged_writes.h"

namespace us {
namespace {

using disk_samples::filled;

constexpr uint64_t kWindow = 100'000;

class EpochWriteLogTest : public testing::Test {
 protected:
  EpochWriteLogTest() { log.begin_session(Epoch(1)); }
  EpochWriteLog log{DiskIndex(0), kWindow};
};

TEST_F(EpochWriteLogTest, RecordsLeaveInTheOrderOfTheWritesWithTheirEpoch) {
  log.append(filled(0, 10, 1));
  log.append(filled(5, 10, 2));
  EXPECT_EQ(log.cut(), (DiskBarrier::Count{DiskIndex(0), 2, 20}));
  log.append(filled(0, 10, 3));
  EXPECT_EQ(log.poll()->write.data.span()[0], 1);
  EXPECT_EQ(log.poll()->epoch, Epoch(1));
  const auto third = log.poll();
  EXPECT_EQ(third->epoch, Epoch(2));
  EXPECT_EQ(third->write.data.span()[0], 3);
  EXPECT_FALSE(log.poll());
  EXPECT_EQ(log.cut(), (DiskBarrier::Count{DiskIndex(0), 1, 10}));
}

TEST_F(EpochWriteLogTest, TheGuestWaitsWhileTheStandbysDiskIsBehind) {
  while (log.wants_writes()) log.append(filled(0, 10'000, 1));
  EXPECT_LE(log.unapplied_bytes(), kWindow + 10'000 + kWriteChargeBytes);
  EXPECT_TRUE(log.wants_cut()) << "nothing is applied before the epoch is over";
  log.cut();
  while (log.poll()) {
  }
  EXPECT_FALSE(log.wants_writes()) << "sent is not applied";
  EXPECT_FALSE(log.wants_cut());
  log.on_applied(Epoch(1));
  EXPECT_TRUE(log.wants_writes());
  EXPECT_EQ(log.unapplied_bytes(), 0u);
}

TEST_F(EpochWriteLogTest, ManySmallWritesAreBoundedToo) {
  uint64_t n = 0;
  for (; log.wants_writes(); ++n) log.append({WriteKind::kZeroes, {0, 512}, {}});
  EXPECT_LE(n, kWindow / kWriteChargeBytes + 1);
}

TEST_F(EpochWriteLogTest, OneConfirmationMayCoverSeveralEpochs) {
  for (int i = 0; i < 3; ++i) {
    log.append(filled(0, 1000, 1));
    log.cut();
  }
  log.on_applied(Epoch(2));
  EXPECT_EQ(log.unapplied_bytes(), 1000 + kWriteChargeBytes);
  log.on_applied(Epoch(1));
  EXPECT_EQ(log.applied(), Epoch(2)) << "a late one changes nothing";
}

TEST_F(EpochWriteLogTest, AnEarlyCutIsOnlyWantedForWhatTheRunningEpochHolds) {
  while (log.wants_writes()) log.append(filled(0, 10'000, 1));
  EXPECT_TRUE(log.wants_cut());
  log.cut();
  log.append(filled(0, 10'000, 1));
  EXPECT_FALSE(log.wants_cut()) << "the standby has enough to do, and makes room by itself";
  log.on_applied(Epoch(1));
  EXPECT_FALSE(log.wants_cut());
  for (int i = 0; i < 5; ++i) log.append(filled(0, 10'000, 1));
  EXPECT_TRUE(log.wants_cut());
}

TEST_F(EpochWriteLogTest, ItKnowsHowMuchWaitsToBeSent) {
  log.append(filled(0, 1000, 1));
  log.append(filled(5000, 500, 2));
  EXPECT_EQ(log.unpolled_bytes(), 1500u);
  ASSERT_TRUE(log.poll());
  EXPECT_EQ(log.unpolled_bytes(), 500u);
  log.cut();
  EXPECT_EQ(log.unpolled_bytes(), 500u) << "a cut sends nothing by itself";
  log.begin_session(Epoch(1));
  EXPECT_EQ(log.unpolled_bytes(), 0u);
}

TEST_F(EpochWriteLogTest, ANewSessionStartsFromNothing) {
  log.append(filled(0, 1000, 1));
  log.cut();
  log.begin_session(Epoch(1));
  EXPECT_FALSE(log.has_records());
  EXPECT_EQ(log.unapplied_bytes(), 0u);
  EXPECT_EQ(log.cut(), (DiskBarrier::Count{DiskIndex(0), 0, 0}));
}

TEST_F(EpochWriteLogTest, AnHonestPrimaryNeverMeetsTheStandbysLimit) {
  Rng rng(3);
  StagedWrites staged(1 << 20, kWindow + kPageSize + kWriteChargeBytes);
  staged.begin_session(Generation(1), 1, Epoch(0));
  Epoch applied;
  for (int i = 0; i < 3000; ++i) {
    if (log.wants_writes()) log.append(disk_samples::random_write(rng, 1 << 20, kPageSize));
    while (const auto record = log.poll()) ASSERT_TRUE(staged.stage(record->epoch, record->write));
    if (!log.wants_writes() || rng.chance(0.05)) {
      const Epoch cut = log.running();
      const auto count = log.cut();
      ASSERT_TRUE(staged.check(cut, count));
      staged.commit(cut);
    }
    if (rng.chance(0.02) || !log.wants_writes()) {
      if (const auto batch = staged.take_batch()) {
        applied = batch->target.epoch;
        staged.batch_applied();
        log.on_applied(applied);
      }
    }
  }
  EXPECT_GT(applied.value(), 50u);
}

}  // namespace
}  // namespace us
