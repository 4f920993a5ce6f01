#include "core/disk/staged_writes.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "core/disk/disk_samples.h"

namespace us {
namespace {

using namespace disk_samples;

constexpr uint64_t kBytes = 4096;

class StagedWritesTest : public testing::Test {
 protected:
  StagedWritesTest() { staged.begin_session(Generation(3), 77, Epoch(0)); }
  StagedWrites staged{kBytes, 100'000};
};

TEST_F(StagedWritesTest, NothingIsAppliedBeforeItsEpochCommits) {
  ASSERT_TRUE(staged.stage(Epoch(1), filled(0, 10, 1)));
  ASSERT_TRUE(staged.stage(Epoch(2), filled(0, 10, 2)));
  EXPECT_FALSE(staged.take_batch());
  staged.commit(Epoch(1));
  const auto batch = staged.take_batch();
  ASSERT_TRUE(batch);
  EXPECT_EQ(batch->target, (ImageEpoch{Generation(3), 77, Epoch(1)}));
  ASSERT_EQ(batch->writes.size(), 1u);
  EXPECT_EQ(batch->writes[0].data.span()[0], 1);
}

TEST_F(StagedWritesTest, EpochsThatCommitWhileABatchIsAppliedMakeTheNextOneTogether) {
  staged.stage(Epoch(1), filled(0, 10, 1));
  staged.commit(Epoch(1));
  ASSERT_TRUE(staged.take_batch());
  staged.stage(Epoch(2), filled(0, 10, 2));
  staged.commit(Epoch(2));
  staged.stage(Epoch(3), filled(5, 10, 3));
  staged.commit(Epoch(3));
  EXPECT_FALSE(staged.take_batch()) << "one at a time";
  staged.batch_applied();
  const auto batch = staged.take_batch();
  ASSERT_TRUE(batch);
  EXPECT_EQ(batch->target.epoch, Epoch(3));
  EXPECT_EQ(batch->writes.size(), 2u);
  EXPECT_TRUE(staged.unapplied());
  staged.batch_applied();
  EXPECT_FALSE(staged.unapplied());
  EXPECT_EQ(staged.bytes(), 0u);
}

TEST_F(StagedWritesTest, AnEpochWithoutWritesStillMovesTheImageOn) {
  staged.commit(Epoch(1));
  const auto batch = staged.take_batch();
  ASSERT_TRUE(batch);
  EXPECT_TRUE(batch->writes.empty());
  EXPECT_EQ(batch->target.epoch, Epoch(1));
}

TEST_F(StagedWritesTest, WhatHasNotCommittedIsForgottenWhenTheConnectionGoes) {
  staged.stage(Epoch(1), filled(0, 10, 1));
  staged.commit(Epoch(1));
  staged.stage(Epoch(2), filled(0, 10, 2));
  staged.drop_uncommitted();
  const auto batch = staged.take_batch();
  EXPECT_EQ(batch->writes[0].data.span()[0], 1);
  staged.batch_applied();
  EXPECT_EQ(staged.bytes(), 0u);
}

TEST_F(StagedWritesTest, ANewSessionForgetsWhatTheLastOneStaged) {
  ASSERT_TRUE(staged.stage(Epoch(1), filled(0, 10, 1)));
  staged.begin_session(Generation(3), 78, Epoch(0));
  EXPECT_EQ(staged.bytes(), 0u);
  staged.commit(Epoch(1));
  EXPECT_TRUE(staged.take_batch()->writes.empty());
}

TEST_F(StagedWritesTest, TheBarrierTellsAnEpochWithAWriteMissing) {
  staged.stage(Epoch(1), filled(0, 10, 1));
  staged.stage(Epoch(1), {WriteKind::kZeroes, {0, 512}, {}});
  EXPECT_TRUE(staged.check(Epoch(1), {DiskIndex(0), 2, 10}));
  EXPECT_FALSE(staged.check(Epoch(1), {DiskIndex(0), 3, 10}));
  EXPECT_FALSE(staged.check(Epoch(1), {DiskIndex(0), 2, 11}));
  EXPECT_TRUE(staged.check(Epoch(2), {DiskIndex(0), 0, 0}));
  EXPECT_FALSE(staged.check(Epoch(2), {DiskIndex(0), 1, 0}));
}

TEST_F(StagedWritesTest, RefusesWritesOfThePastOutOfOrderOrPastTheEnd) {
  EXPECT_FALSE(staged.stage(Epoch(1), filled(kBytes - 5, 10, 1)));
  EXPECT_FALSE(staged.stage(Epoch(1), {WriteKind::kZeroes, {8, 4}, {}}));
  EXPECT_FALSE(staged.stage(Epoch(1), {WriteKind::kZeroes, {8, 8}, {}}));
  EXPECT_TRUE(staged.stage(Epoch(2), filled(0, 10, 1)));
  EXPECT_FALSE(staged.stage(Epoch(1), filled(0, 10, 1)));
  staged.commit(Epoch(2));
  EXPECT_FALSE(staged.stage(Epoch(2), filled(0, 10, 1)));
}

TEST_F(StagedWritesTest, RefusesMoreThanItsLimitUntilSomeHasBeenApplied) {
  while (staged.stage(Epoch(1), filled(0, 1000, 1))) ASSERT_LE(staged.bytes(), 100'000u);
  EXPECT_GT(staged.bytes(), 90'000u);
  staged.commit(Epoch(1));
  ASSERT_TRUE(staged.take_batch());
  EXPECT_FALSE(staged.stage(Epoch(2), filled(0, 1000, 1))) << "a batch counts until it has been applied";
  staged.batch_applied();
  EXPECT_TRUE(staged.stage(Epoch(2), filled(0, 1000, 1)));
}

RC_GTEST_PROP(StagedWrites, BatchesTakeTheImageFromCommittedEpochToCommittedEpoch, (uint64_t seed)) {
  Rng rng(seed);
  StagedWrites staged(kBytes, 10 << 20);
  staged.begin_session(Generation(1), 1, Epoch(0));
  std::vector<Bytes> at{Bytes(kBytes)};  // the disk at each epoch
  Bytes running = at[0], image = at[0];
  uint64_t cut = 0, committed = 0;
  for (int i = 0; i < 60; ++i) {
    const DiskWrite w = random_write(rng, kBytes, 600);
    lay_over(running, w);
    RC_ASSERT(staged.stage(Epoch(cut + 1), w).has_value());
    if (rng.chance(0.3)) {
      ++cut;
      at.push_back(running);
    }
    if (committed < cut && rng.chance(0.3))
      staged.commit(Epoch(committed = committed + 1 + rng.below(cut - committed)));
    if (!rng.chance(0.3)) continue;
    if (const auto batch = staged.take_batch()) {
      lay_over(image, batch->writes);
      RC_ASSERT(batch->target.epoch == Epoch(committed));
      RC_ASSERT((image == at[committed]));
      staged.batch_applied();
    }
  }
}

}  // namespace
}  // namespace us
