#include "core/disk/shared_turn.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "core/disk/disk_samples.h"

namespace us {
namespace {

using namespace disk_samples;

constexpr uint64_t kBytes = 4096;
constexpr uint64_t kStaged = 64 * 1024;
const ImageEpoch kFirst{Generation(3), 9, Epoch(5)};

ImageRecord live_record() {
  ImageRecord record;
  record.image = {1, 2, 3};
  record.disk_bytes = kBytes;
  record.state = ImageState::kLive;
  record.at.generation = Generation(3);
  record.journal_base = JournalSequence(7);
  record.shared_by = "vm";
  return record;
}

class SharedTurnTest : public testing::Test {
 protected:
  SharedTurnTest() { held.begin_session(Generation{}, 0, Epoch(6)); }

  // What is wanted next, in a word; done at once.
  std::string next() {
    const std::optional<SharedTurn::Op> op = turn.next_op(held);
    if (!op) return "";
    if (std::holds_alternative<DiskReplica::TakeImage>(*op)) {
      turn.on_taken(file, std::move(replay), last);
      return "take";
    }
    std::string word = "?";
    if (std::holds_alternative<DiskReplica::SyncImage>(*op)) word = "sync";
    if (std::holds_alternative<DiskReplica::LetGo>(*op)) word = "let go";
    if (std::holds_alternative<DiskReplica::WriteJournal>(*op)) word = "journal";
    if (std::holds_alternative<DiskReplica::SyncJournal>(*op)) word = "sync journal";
    if (const auto* image = std::get_if<DiskReplica::WriteImage>(&*op)) {
      word = "image";
      written = image->writes;
    }
    if (const auto* record = std::get_if<DiskReplica::WriteRecordFile>(&*op)) {
      Bytes blocks(kImageRecordFileBytes);
      std::ranges::copy(record->bytes, blocks.begin() + static_cast<ptrdiff_t>(record->offset));
      file = *decode_image_record(blocks);
      word = image_state_name(file.state);
    }
    turn.on_op_done(held);
    return word;
  }
  void give() {
    turn.give(kFirst);
    while (turn.state() != SharedTurn::State::kGiven) ASSERT_NE(next(), "");
  }

  SharedTurn turn{live_record(), kStaged};
  HeldWrites held{kBytes, kStaged};
  ImageRecord file = live_record();
  std::optional<JournalRecord> replay;
  JournalSequence last{7};
  std::vector<DiskWrite> written;
};

TEST_F(SharedTurnTest, TheImageIsSyncedBeforeItIsPromisedAndPromisedBeforeItIsFree) {
  EXPECT_EQ(next(), "");
  turn.give(kFirst);
  EXPECT_FALSE(turn.direct());
  EXPECT_EQ(next(), "sync");
  EXPECT_EQ(next(), "consistent");
  EXPECT_EQ(file.at, kFirst);
  EXPECT_EQ(next(), "let go");
  EXPECT_EQ(next(), "");
  EXPECT_EQ(turn.state(), SharedTurn::State::kGiven);
}

TEST_F(SharedTurnTest, WhatIsHeldGoesThroughTheJournalAfterTheRecordHasChanged) {
  give();
  held.write(filled(0, 512, 'a'));
  turn.take_back(Generation(4));
  const uint64_t counter = file.counter;
  EXPECT_EQ(next(), "take");
  EXPECT_EQ(next(), "consistent");
  EXPECT_GT(file.counter, counter) << "the standby must find out";
  EXPECT_NE(file.at, kFirst);
  EXPECT_FALSE(turn.closing());
  EXPECT_EQ(next(), "journal");
  held.write(filled(512, 512, 'b'));  // meanwhile
  EXPECT_EQ(next(), "sync journal");
  EXPECT_EQ(next(), "image");
  ASSERT_EQ(written.size(), 1u);
  EXPECT_EQ(next(), "sync");
  EXPECT_TRUE(turn.closing());
  for (const char* step : {"journal", "sync journal", "image", "sync"}) EXPECT_EQ(next(), step);
  EXPECT_EQ(written.at(0).range.start, 512u);
  EXPECT_EQ(next(), "live");
  EXPECT_TRUE(turn.direct());
  EXPECT_EQ(file.at.generation, Generation(4));
  EXPECT_EQ(file.journal_base, JournalSequence(9)) << "nothing in the journal may be applied over what comes now";
  EXPECT_EQ(held.bytes(), 0u);
}

TEST_F(SharedTurnTest, TheStandbysLastBatchIsCompletedFirst) {
  give();
  replay = JournalRecord{JournalSequence(8), {{Generation(3), 9, Epoch(6)}, {filled(0, 512, 'a')}}};
  last = JournalSequence(8);
  turn.take_back(Generation(4));
  for (const char* step : {"take", "sync journal", "image", "sync", "consistent", "live"}) EXPECT_EQ(next(), step);
  EXPECT_EQ(file.journal_base, JournalSequence(8));
}

TEST_F(SharedTurnTest, AnImageThatIsStillHereIsNotTakenAgain) {
  turn.give(kFirst);
  EXPECT_EQ(next(), "sync");
  turn.take_back(Generation(4));
  for (const char* step : {"consistent", "live"}) EXPECT_EQ(next(), step);
  EXPECT_TRUE(turn.direct());
}

TEST_F(SharedTurnTest, AnImageOfALaterGenerationIsLost) {
  give();
  file.at.generation = Generation(5);
  turn.take_back(Generation(4));
  EXPECT_EQ(next(), "take");
  EXPECT_TRUE(turn.lost());
  EXPECT_EQ(next(), "");
}

TEST_F(SharedTurnTest, AnotherVmsImageIsLost) {
  give();
  file.shared_by = "other";
  turn.take_back(Generation(4));
  EXPECT_EQ(next(), "take");
  EXPECT_TRUE(turn.lost());
}

TEST_F(SharedTurnTest, AFailedStepIsTriedAgainAndAFailedSyncWritesAgain) {
  give();
  held.write(filled(0, 512, 'a'));
  turn.take_back(Generation(4));
  for (const char* step : {"take", "consistent", "journal", "sync journal", "image"}) EXPECT_EQ(next(), step);
  ASSERT_TRUE(turn.next_op(held));
  turn.on_op_failed();
  EXPECT_TRUE(turn.failed());
  EXPECT_EQ(next(), "");
  turn.retry();
  for (const char* step : {"image", "sync", "live"}) EXPECT_EQ(next(), step);
}

}  // namespace
}  // namespace us
