#include "core/disk/image_record.h"

#include <gtest/gtest.h>

#include "core/disk/model_disk.h"

namespace us {
namespace {

constexpr ImageId kImage{7, 7};

ImageRecord record(ImageState state, uint64_t generation = 3) {
  return {.image = kImage,
          .disk_bytes = 1 << 20,
          .state = state,
          .at = {Generation(generation), 5, Epoch(6)},
          .journal_base = JournalSequence(2),
          .counter = 9};
}
ImageFacts facts(uint64_t newest, bool here) {
  return {.expected = kImage, .disk_bytes = 1 << 20, .newest = Generation(newest), .newest_was_here = here};
}
constexpr ImageState kAll[] = {ImageState::kNew,   ImageState::kLive,    ImageState::kConsistent,
                               ImageState::kStale, ImageState::kSyncing, ImageState::kEnded};

TEST(ImageRecord, ComesBackFromEitherBlock) {
  for (const uint64_t counter : {8u, 9u}) {
    ImageRecord r = record(ImageState::kConsistent);
    r.counter = counter;
    Bytes file(kImageRecordFileBytes);
    std::ranges::copy(encode(r), file.begin() + static_cast<ptrdiff_t>(image_record_offset(r)));
    const auto back = decode_image_record(file);
    ASSERT_TRUE(back);
    EXPECT_EQ(*back, r);
  }
}

TEST(ImageRecord, AFlippedBitLeavesTheBlockBeforeAndTwoLeaveNothing) {
  Bytes file = encode(record(ImageState::kLive));
  ImageRecord newer = record(ImageState::kStale);
  ++newer.counter;
  const Bytes second = encode(newer);
  file.insert(file.end(), second.begin(), second.end());
  EXPECT_EQ(decode_image_record(file)->state, ImageState::kStale);
  for (const size_t at : {0u, 6u, 20u, 70u, 4095u}) {
    Bytes damaged = file;
    damaged[kImageRecordBytes + at] ^= 1;
    EXPECT_EQ(decode_image_record(damaged)->state, ImageState::kLive) << at;
    damaged[at] ^= 1;
    EXPECT_FALSE(decode_image_record(damaged));
  }
  EXPECT_FALSE(decode_image_record({}));
  EXPECT_FALSE(decode_image_record(ByteSpan(file).first(kImageRecordBytes - 1)));
}

TEST(ImageRecord, ACrashWhileItIsWrittenLeavesTheOldOrTheNewOne) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    ModelDisk disk(kImageRecordFileBytes, seed);
    ImageRecord old = record(ImageState::kConsistent);
    disk.write(image_record_offset(old), encode(old));
    disk.sync();
    const auto next = old.go_live(Generation(4), JournalSequence(30));
    ASSERT_TRUE(next);
    disk.write(image_record_offset(*next), encode(*next));
    disk.crash();
    const auto back = decode_image_record(disk.bytes());
    ASSERT_TRUE(back);
    EXPECT_TRUE(*back == old || *back == *next) << seed;
  }
}

TEST(ImageRecord, AStaleOrHalfCopiedImageIsNeverServed) {
  for (const ImageState state : {ImageState::kStale, ImageState::kSyncing}) {
    const ImageRecord r = record(state);
    for (const bool here : {false, true})
      for (const uint64_t newest : {0u, 2u, 3u, 4u}) {
        EXPECT_FALSE(may_start_from(r, facts(newest, here)));
        EXPECT_FALSE(may_take_over_with(r, facts(newest, here), r.at, r.at));
      }
    EXPECT_FALSE(r.go_live(Generation(9), JournalSequence(1)));
  }
}

TEST(ImageRecord, ALiveImageStartsAgainOnlyIfNobodyHasTakenOver) {
  const ImageRecord r = record(ImageState::kLive);
  EXPECT_TRUE(may_start_from(r, facts(3, true)));
  EXPECT_FALSE(may_start_from(r, facts(4, false))) << "the other host went on";
  EXPECT_FALSE(may_start_from(r, facts(4, true))) << "this host went on, with another image";
  EXPECT_FALSE(may_take_over_with(r, facts(3, true), r.at, r.at));
}

TEST(ImageRecord, AConsistentImageTakesOverAtExactlyTheMemorysEpoch) {
  const ImageRecord r = record(ImageState::kConsistent);
  const ImageEpoch at{Generation(3), 5, Epoch(6)};
  EXPECT_TRUE(may_take_over_with(r, facts(3, false), at, at));
  for (const ImageEpoch& other : {ImageEpoch{Generation(3), 5, Epoch(5)}, ImageEpoch{Generation(3), 4, Epoch(6)},
                                  ImageEpoch{Generation(2), 5, Epoch(6)}})
    EXPECT_FALSE(may_take_over_with(r, facts(3, false), other, at));
  EXPECT_FALSE(may_start_from(r, facts(3, false))) << "the primary's image may hold more";
}

TEST(ImageRecord, AfterATidyEndEitherHostMayStartUntilOneHasDoneSo) {
  const ImageEpoch last{Generation(3), 5, Epoch(8)};
  for (const ImageState before : {ImageState::kLive, ImageState::kConsistent}) {
    const auto ended = record(before).end(last, JournalSequence(44));
    ASSERT_TRUE(ended);
    EXPECT_EQ(ended->state, ImageState::kEnded);
    EXPECT_EQ(ended->at, last);
    EXPECT_EQ(ended->journal_base, JournalSequence(44)) << "a record that has been applied is void";
    for (const bool here : {false, true}) {
      EXPECT_TRUE(may_start_from(*ended, facts(3, here)));
      EXPECT_FALSE(may_start_from(*ended, facts(4, here))) << "another generation has run since";
      EXPECT_FALSE(may_start_from(*ended, facts(2, here))) << "an arbiter that has forgotten something";
    }
    EXPECT_FALSE(may_take_over_with(*ended, facts(3, false), last, last)) << "there is no guest to go on with";
    EXPECT_TRUE(ended->go_live(Generation(4), JournalSequence(44)));
    EXPECT_FALSE(ended->go_live(Generation(3), JournalSequence(44)));
    EXPECT_TRUE(ended->begin_sync(kImage, Generation(4), JournalSequence(44)));
    EXPECT_FALSE(ended->begin_sync(kImage, Generation(3), JournalSequence(44)));
    ImageRecord kept = *ended;
    Bytes file(kImageRecordFileBytes);
    std::ranges::copy(encode(kept), file.begin() + static_cast<ptrdiff_t>(image_record_offset(kept)));
    EXPECT_EQ(*decode_image_record(file), kept);
  }
  EXPECT_FALSE(record(ImageState::kLive).end({Generation(4), 5, Epoch(8)}, {}));
}

TEST(ImageRecord, ANewImageStartsAVmThatNeverRan) {
  EXPECT_TRUE(may_start_from(record(ImageState::kNew, 0), facts(0, false)));
  EXPECT_FALSE(may_start_from(record(ImageState::kNew, 0), facts(1, true)));
}

TEST(ImageRecord, AForeignImageOrOneOfAnotherSizeIsRefused) {
  ImageRecord r = record(ImageState::kLive);
  r.image[0] ^= 1;
  EXPECT_FALSE(may_start_from(r, facts(3, true)));
  r = record(ImageState::kLive);
  r.disk_bytes += 512;
  EXPECT_FALSE(may_start_from(r, facts(3, true)));
}

TEST(ImageRecord, OnlyTheArrowsOfTheTableExist) {
  const auto last = JournalSequence(50);
  for (const ImageState state : kAll) {
    const ImageRecord r = record(state);
    using enum ImageState;
    EXPECT_EQ(r.go_live(Generation(4), last).has_value(), state != kStale && state != kSyncing);
    EXPECT_EQ(r.fall_behind(Generation(4)).has_value(), state == kLive || state == kConsistent || state == kEnded);
    EXPECT_EQ(r.end(r.at, last).has_value(), state == kLive || state == kConsistent);
    EXPECT_EQ(r.begin_sync(kImage, Generation(4), last).has_value(), state != kLive);
    EXPECT_EQ(r.finish_sync(r.at).has_value(), state == kSyncing);
  }
}

TEST(ImageRecord, EveryChangeCountsAndWhatWritesTheImageVoidsTheJournal) {
  const auto last = JournalSequence(50);
  const auto live = record(ImageState::kConsistent).go_live(Generation(4), last);
  EXPECT_EQ(live->journal_base, last);
  EXPECT_EQ(live->counter, 10u);
  const auto stale = live->fall_behind(Generation(5));
  const auto syncing = stale->begin_sync(kImage, Generation(5), JournalSequence(60));
  EXPECT_EQ(syncing->journal_base, JournalSequence(60));
  const auto done = syncing->finish_sync({Generation(5), 1, Epoch(2)});
  EXPECT_EQ(done->counter, 13u);
  EXPECT_EQ(done->at.epoch, Epoch(2));
}

TEST(ImageRecord, GenerationsDoNotGoBackwards) {
  const auto last = JournalSequence(50);
  EXPECT_FALSE(record(ImageState::kConsistent).go_live(Generation(3), last))
      << "a takeover has a generation of its own";
  EXPECT_FALSE(record(ImageState::kLive).go_live(Generation(2), last));
  EXPECT_FALSE(record(ImageState::kLive).fall_behind(Generation(3)));
  EXPECT_FALSE(record(ImageState::kStale).begin_sync(kImage, Generation(2), last));
  EXPECT_FALSE(record(ImageState::kStale).begin_sync(ImageId{1}, Generation(5), last)) << "another disk";
  EXPECT_TRUE(record(ImageState::kNew, 0).begin_sync(ImageId{1}, Generation(5), last)) << "becomes a copy of it";
  EXPECT_FALSE(record(ImageState::kSyncing).finish_sync({Generation(4), 1, Epoch(2)}));
}

}  // namespace
}  // namespace us
