#include "core/disk/dirty_map.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "core/disk/disk_samples.h"
#include "core/disk/model_disk.h"

namespace us {
namespace {

constexpr ImageId kImage{4, 2};
using Ready = DirtyMap::Ready;

class DirtyMapTest : public testing::Test {
 protected:
  void flush() {
    while (const auto update = map.poll_update()) {
      for (const auto& block : update->blocks)
        std::ranges::copy(block.bytes, file.begin() + static_cast<ptrdiff_t>(block.offset));
      map.on_update_done();
    }
  }
  uint64_t marked_in_file() { return DirtyMap::load(shape, file)->marked().count(); }

  DirtyMapShape shape{.image = kImage, .disk_bytes = 3ull << 30, .granule_bytes = 64 * 1024};
  DirtyMap map{shape, 4};
  Bytes file = map.initial_file();
};

TEST_F(DirtyMapTest, AWriteWaitsUntilItsMarkIsDurable) {
  EXPECT_EQ(map.prepare({0, 100}, Epoch(1)), Ready::kMarkFirst);
  EXPECT_EQ(map.prepare({0, 100}, Epoch(1)), Ready::kMarkFirst);
  const auto update = map.poll_update();
  ASSERT_TRUE(update);
  EXPECT_TRUE(update->must_sync);
  EXPECT_EQ(update->blocks.size(), 1u);
  EXPECT_EQ(map.prepare({0, 100}, Epoch(1)), Ready::kMarkFirst);
  map.on_update_done();
  EXPECT_EQ(map.prepare({0, 100}, Epoch(1)), Ready::kReady);
  EXPECT_EQ(map.prepare({65535, 65537}, Epoch(1)), Ready::kMarkFirst) << "the next granule";
}

TEST_F(DirtyMapTest, AMarkSetWhileAnUpdateIsUnderWayNeedsTheNextOne) {
  map.prepare({0, 1}, Epoch(1));
  ASSERT_TRUE(map.poll_update());
  map.prepare({1 << 20, (1 << 20) + 1}, Epoch(1));
  EXPECT_FALSE(map.poll_update()) << "one at a time";
  map.on_update_done();
  EXPECT_EQ(map.prepare({1 << 20, (1 << 20) + 1}, Epoch(1)), Ready::kMarkFirst);
  ASSERT_TRUE(map.poll_update());
  map.on_update_done();
  EXPECT_EQ(map.prepare({1 << 20, (1 << 20) + 1}, Epoch(1)), Ready::kReady);
}

TEST_F(DirtyMapTest, AFailedUpdateIsTriedAgain) {
  map.prepare({0, 1}, Epoch(1));
  ASSERT_TRUE(map.poll_update());
  map.on_update_failed();
  EXPECT_EQ(map.prepare({0, 1}, Epoch(1)), Ready::kMarkFirst);
  EXPECT_TRUE(map.poll_update()->must_sync);
}

TEST_F(DirtyMapTest, TheFileBringsTheMarksBack) {
  map.prepare({0, 1}, Epoch(1));
  map.prepare({(3ull << 30) - 1, 3ull << 30}, Epoch(1));
  flush();
  const auto back = DirtyMap::load(shape, file);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->marked(), map.marked());
  EXPECT_EQ(back->marked().count(), 2u);
}

TEST_F(DirtyMapTest, MarksAreTakenBackOnceTheOtherHostHasTheEpochAndTheyAreIdle) {
  map.prepare({0, 1}, Epoch(1));
  map.prepare({1 << 20, (1 << 20) + 1}, Epoch(3));
  flush();
  map.clear_applied(Epoch(0), Epoch(9), Epoch(10));
  EXPECT_EQ(map.marked().count(), 2u) << "not applied there";
  map.clear_applied(Epoch(9), Epoch(0), Epoch(10));
  EXPECT_EQ(map.marked().count(), 2u) << "not synced here: a power loss could undo it";
  map.clear_applied(Epoch(2), Epoch(2), Epoch(4));
  EXPECT_EQ(map.marked().count(), 2u) << "not idle for long enough";
  map.clear_applied(Epoch(2), Epoch(2), Epoch(5));
  EXPECT_EQ(map.marked().count(), 1u);
  flush();
  EXPECT_EQ(marked_in_file(), 1u);
}

TEST_F(DirtyMapTest, AMarkThatIsBeingTakenBackIsNotReliedOn) {
  map.prepare({0, 1}, Epoch(1));
  flush();
  map.clear_applied(Epoch(1), Epoch(1), Epoch(9));
  const auto update = map.poll_update();
  ASSERT_TRUE(update);
  EXPECT_FALSE(update->must_sync);
  EXPECT_EQ(map.prepare({0, 1}, Epoch(9)), Ready::kMarkFirst);
  map.on_update_done();
  EXPECT_EQ(map.prepare({0, 1}, Epoch(9)), Ready::kMarkFirst);
  flush();
  EXPECT_EQ(map.prepare({0, 1}, Epoch(9)), Ready::kReady);
}

TEST_F(DirtyMapTest, ARewrittenMarkThatWasNotWrittenOutYetCostsNothing) {
  map.prepare({0, 1}, Epoch(1));
  flush();
  map.clear_applied(Epoch(1), Epoch(1), Epoch(9));
  EXPECT_EQ(map.prepare({0, 1}, Epoch(9)), Ready::kReady) << "it is still on disk";
}

TEST_F(DirtyMapTest, MarksOfSoloAndOfFailedWritesAndOfEarlierSessionsStayUntilAResynchronisation) {
  map.prepare({0, 1}, DirtyMap::kSolo);
  map.prepare({1 << 20, (1 << 20) + 1}, Epoch(1));
  map.on_write_failed({1 << 20, (1 << 20) + 1});
  map.prepare({2 << 20, (2 << 20) + 1}, Epoch(1));
  map.end_session();
  map.prepare({2 << 20, (2 << 20) + 1}, Epoch(1));
  map.clear_applied(Epoch(50), Epoch(50), Epoch(100));
  EXPECT_EQ(map.marked().count(), 3u);
  EXPECT_EQ(map.begin_resync().count(), 3u);
  map.on_resynchronised();
  EXPECT_EQ(map.marked().count(), 0u);
  flush();
  EXPECT_EQ(marked_in_file(), 0u);
}

TEST_F(DirtyMapTest, WhatIsWrittenDuringAResynchronisationStaysMarkedUntilItsEpochIsOnBothImages) {
  map.prepare({0, 1}, DirtyMap::kSolo);
  map.prepare({1 << 20, (1 << 20) + 1}, DirtyMap::kSolo);
  map.begin_resync();
  map.prepare({0, 1}, Epoch(3));
  map.on_resynchronised();
  EXPECT_EQ(map.marked().count(), 1u);
  map.clear_applied(Epoch(3), Epoch(3), Epoch(9));
  EXPECT_EQ(map.marked().count(), 0u);
}

TEST_F(DirtyMapTest, AWriteThatFailsDuringAResynchronisationNeedsTheNextOne) {
  map.prepare({0, 1}, DirtyMap::kSolo);
  map.begin_resync();
  map.on_write_failed({0, 1});
  map.on_resynchronised();
  EXPECT_EQ(map.marked().count(), 1u);
  map.begin_resync();
  map.on_resynchronised();
  EXPECT_EQ(map.marked().count(), 0u);
}

TEST_F(DirtyMapTest, AGuestThatZeroesAHugeDiskDoesNotGrowTheMap) {
  const DirtyMapShape huge{.image = kImage, .disk_bytes = 64ull << 30, .granule_bytes = 64 * 1024};
  DirtyMap big(huge);
  big.prepare({0, huge.disk_bytes}, Epoch(1));
  big.clear_applied(Epoch(1), Epoch(1), Epoch(1000));
  EXPECT_EQ(big.marked().count(), huge.granules() - kTrackedGranulesMax) << "the rest waits for a resynchronisation";
}

TEST_F(DirtyMapTest, ADamagedBlockMarksAllItCoversAndIsRepaired) {
  file[kDirtyBlockBytes + 100] ^= 1;
  auto back = DirtyMap::load(shape, file);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->marked().count(), kGranulesPerBlock);
  EXPECT_EQ(back->prepare({0, 1}, Epoch(1)), Ready::kMarkFirst);
  auto repair = back->poll_update();
  ASSERT_TRUE(repair);
  EXPECT_EQ(repair->blocks.size(), 1u);
  file.resize(2 * kDirtyBlockBytes);
  EXPECT_EQ(DirtyMap::load(shape, file)->marked().count(), shape.granules()) << "a short file";
}

TEST_F(DirtyMapTest, MarksInABlockThatWasWrittenButNotSyncedAreNotReliedOn) {
  file[kDirtyBlockBytes + 100] ^= 1;
  auto back = DirtyMap::load(shape, file);
  EXPECT_FALSE(back->poll_update()->must_sync) << "a repair, and nobody waits for it";
  back->on_update_done();
  EXPECT_EQ(back->prepare({0, 1}, Epoch(1)), Ready::kMarkFirst);
  EXPECT_TRUE(back->poll_update()->must_sync);
}

TEST_F(DirtyMapTest, AMapOfAnotherImageSizeOrGranuleIsRefused) {
  for (int what = 0; what < 3; ++what) {
    DirtyMapShape other = shape;
    if (what == 0) other.image[0] ^= 1;
    if (what == 1) other.disk_bytes += 512;
    if (what == 2) other.granule_bytes *= 2;
    EXPECT_FALSE(DirtyMap::load(other, file)) << what;
  }
  EXPECT_FALSE(DirtyMap::load(shape, {}));
  EXPECT_TRUE(DirtyMap::load(shape, file));
}

// The primary writes, marks first; power is lost at any moment; wherever its image then differs from the last one that
// the other host is known to hold, the map in the file says so.
RC_GTEST_PROP(DirtyMap, AfterAPowerLossEveryDifferenceIsMarked, (uint64_t seed)) {
  Rng rng(seed);
  constexpr uint64_t kDisk = 64 * 512;
  const DirtyMapShape shape{.image = kImage, .disk_bytes = kDisk, .granule_bytes = 512};
  DirtyMap map(shape, 1 + rng.below(3));
  ModelDisk file(shape.file_bytes(), seed + 1), image(kDisk, seed + 2);
  file.write(0, map.initial_file());
  file.sync();
  std::vector<Bytes> at{Bytes(kDisk)};  // at[e]: the image at the end of epoch e
  uint64_t running = 1, applied = 0, synced = 0;
  std::optional<DirtyMap::Update> update;
  std::vector<DiskWrite> waiting;
  const auto advance_update = [&] {
    if (!update) {
      update = map.poll_update();
      return;
    }
    for (const auto& block : update->blocks) file.write(block.offset, block.bytes);
    if (update->must_sync && rng.chance(0.2)) return;  // the crash may come between write and sync
    if (update->must_sync) file.sync();
    map.on_update_done();
    update.reset();
  };
  for (uint64_t steps = rng.below(400); steps > 0; --steps) {
    if (waiting.empty() && rng.chance(0.5)) waiting.push_back(disk_samples::random_write(rng, kDisk, 900));
    if (!waiting.empty() && map.prepare(waiting[0].range, Epoch(running)) == Ready::kReady) {
      Bytes bytes(waiting[0].range.length());
      std::ranges::copy(waiting[0].data.span(), bytes.begin());
      image.write(waiting[0].range.start, bytes);
      waiting.clear();
    }
    if (rng.chance(0.6)) advance_update();
    if (rng.chance(0.1)) {
      image.sync();
      synced = running - 1;
    }
    if (waiting.empty() && rng.chance(0.2)) {
      at.emplace_back(image.bytes().begin(), image.bytes().end());
      ++running;
    }
    if (rng.chance(0.2) && applied + 1 < running) map.clear_applied(Epoch(++applied), Epoch(synced), Epoch(running));
  }
  image.crash();
  file.crash();
  const auto back = DirtyMap::load(shape, file.bytes());
  RC_ASSERT(back.has_value());
  for (uint64_t epoch = applied; epoch < running; ++epoch)
    for (uint64_t i = 0; i < kDisk; ++i) RC_ASSERT(image.bytes()[i] == at[epoch][i] || back->marked().test(i / 512));
}

}  // namespace
}  // namespace us
