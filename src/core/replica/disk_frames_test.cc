// A DiskSource and a DiskReplica that talk in frames, with files in memory: the whole life of a pair of images.
#include "core/replica/disk_frames.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "core/disk/disk_samples.h"
#include "core/replica/frame_parser.h"

namespace us {
namespace {

using namespace disk_samples;

constexpr uint64_t kDisk = 64 * 1024;
constexpr uint32_t kGranule = 4096;
constexpr uint64_t kWindow = 256 * 1024;
constexpr Generation kGeneration{3};
constexpr SessionId kSession{77};

DirtyMapShape shape_of(uint8_t image) { return {ImageId{image}, kDisk, kGranule}; }

ImageRecord record_of(uint8_t image, ImageState state, Generation generation) {
  return {ImageId{image}, kDisk, state, {generation, 0, Epoch{}}, {}, 1};
}

class Pair {
 public:
  Pair() : source(DiskIndex{0}, kWindow, DirtyMap(shape_of(1))), mine(kDisk), theirs(kDisk) {}

  void standby(ImageRecord record, DirtyMap map) {
    replica.emplace(DiskReplica::Image{record, std::move(map), std::nullopt, {}}, kWindow);
  }
  Status attach(Epoch first) {
    source.begin_session(first);
    const Bytes offer = offer_frame(source, first, kProtocolVersionMax);
    const DiskReplica::Answer answer =
        replica->begin_session(to_offer(std::get<DiskOffer>(message_of(offer)), kGeneration, kSession));
    for (const Bytes& frame : answer_frames(DiskIndex{0}, answer, kProtocolVersionMax))
      US_TRY(deliver(source, message_of(frame)));
    return {};
  }
  void write(const DiskWrite& w) {
    // There is no standby to wait for the mark in memory's map.
    while (source.prepare(w.range) == DirtyMap::Ready::kMarkFirst) {
      const auto update = source.map().poll_update();
      ASSERT_TRUE(update);
      source.map().on_update_done();
    }
    lay_over(mine, w);
    source.on_written(w);
  }
  void read_steps() {
    while (const auto step = source.poll_step()) {
      const ByteSpan bytes = ByteSpan(mine).subspan(step->what.range.start, step->what.range.length());
      copied += step->what.action == ResyncPlan::Action::kCopy ? 1u : 0u;
      if (step->what.action == ResyncPlan::Action::kCopy)
        source.on_copied(*step, DataSlice::copy_of(bytes));
      else
        source.on_compared(*step, granule_sum(bytes));
    }
  }
  void ship() {
    std::vector<Bytes> frames;
    take_stream_frames(source, kProtocolVersionMax, SIZE_MAX, frames);
    for (const Bytes& frame : frames) {
      const Status taken = deliver(*replica, message_of(frame));
      ASSERT_TRUE(taken) << taken.error().message;
    }
  }
  // Everything that the standby has to do, and its answers.
  void work() {
    while (const auto op = replica->next_op()) {
      if (const auto* read = std::get_if<DiskReplica::ReadGranule>(&*op)) {
        const ByteSpan image = ByteSpan(theirs).subspan(read->range.start, read->range.length());
        Bytes bytes(image.begin(), image.end());
        apply_over(bytes, read->range, read->over);
        replica->on_read(granule_sum(bytes));
        continue;
      }
      if (const auto* image = std::get_if<DiskReplica::WriteImage>(&*op)) lay_over(theirs, image->writes);
      replica->on_op_done();
    }
    for (const Bytes& frame : take_reply_frames(DiskIndex{0}, *replica, kProtocolVersionMax)) {
      const Status taken = deliver(source, message_of(frame));
      ASSERT_TRUE(taken) << taken.error().message;
    }
  }
  void resynchronise() {
    for (int i = 0; i < 100 && !source.resynchronised(); ++i) {
      read_steps();
      ship();
      work();
    }
    ASSERT_TRUE(source.resynchronised());
  }
  DiskBarrier::Count cut() {
    const DiskBarrier::Count count = source.cut();
    ship();
    return count;
  }
  void commit(Epoch epoch, const DiskBarrier::Count& count) {
    const Status whole = replica->check(epoch, count);
    ASSERT_TRUE(whole) << whole.error().message;
    if (!replica->ready(epoch)) work();
    ASSERT_TRUE(replica->ready(epoch));
    replica->commit(epoch);
    work();
    source.on_local_sync(source.over());
  }

  static Message message_of(const Bytes& frame) {
    const auto type = static_cast<FrameType>(load_le<uint16_t>(frame.data() + 6));
    const Result<Message> message = decode({type, 0, ByteSpan(frame).subspan(kFrameHeaderBytes)});
    US_CHECK(message);
    return *message;
  }

  DiskSource source;
  std::optional<DiskReplica> replica;
  Bytes mine, theirs;
  uint64_t copied = 0;
};

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

DirtyMap all_marked(uint8_t image) {
  DirtyMap map(shape_of(image));
  map.mark_all();
  return map;
}

TEST(DiskSession, ANewImageIsComparedAndOnlyWhatDiffersIsCopied) {
  Pair pair;
  pair.standby(record_of(9, ImageState::kNew, {}), all_marked(9));
  pair.write(filled(5 * kGranule + 10, 100, 7));
  ASSERT_TRUE(pair.attach(Epoch{1}));
  pair.resynchronise();
  EXPECT_EQ(pair.copied, 1u);
  pair.commit(Epoch{1}, pair.cut());
  EXPECT_EQ(pair.mine, pair.theirs);
  EXPECT_EQ(pair.replica->record().state, ImageState::kConsistent);
  EXPECT_EQ(pair.replica->record().image, ImageId{1});
  EXPECT_EQ(pair.source.durable(), Epoch{1});
  EXPECT_EQ(pair.source.map().marked().count(), 0u);
}

TEST(DiskSession, WritesOfAnEpochReachTheImageWhenItCommitsAndNotBefore) {
  Pair pair;
  pair.standby(record_of(1, ImageState::kConsistent, kGeneration), DirtyMap(shape_of(1)));
  ASSERT_TRUE(pair.attach(Epoch{5}));
  pair.resynchronise();
  EXPECT_EQ(pair.copied, 0u);
  pair.commit(Epoch{5}, pair.cut());
  pair.write(filled(100, 1000, 1));
  const auto count = pair.cut();
  pair.work();
  EXPECT_NE(pair.mine, pair.theirs);
  pair.commit(Epoch{6}, count);
  EXPECT_EQ(pair.mine, pair.theirs);
  EXPECT_EQ(*pair.replica->at(), (ImageEpoch{kGeneration, kSession.value(), Epoch{6}}));
  EXPECT_EQ(pair.source.unconfirmed_bytes(), 0u);
}

TEST(DiskSession, ATakeoverForgetsWhatHasNotCommittedAndGoesLive) {
  Pair pair;
  pair.standby(record_of(1, ImageState::kConsistent, kGeneration), DirtyMap(shape_of(1)));
  ASSERT_TRUE(pair.attach(Epoch{1}));
  pair.resynchronise();
  pair.commit(Epoch{1}, pair.cut());
  pair.write(filled(0, 512, 1));
  const auto second = pair.cut();
  pair.write(filled(512, 512, 2));
  pair.ship();
  const Bytes at_second = [&] {
    Bytes b(kDisk);
    lay_over(b, filled(0, 512, 1));
    return b;
  }();
  ASSERT_TRUE(pair.replica->check(Epoch{2}, second));
  pair.replica->commit(Epoch{2});
  pair.replica->end_session();
  pair.work();
  ASSERT_TRUE(pair.replica->settled());
  EXPECT_EQ(pair.theirs, at_second);
  EXPECT_FALSE(pair.replica->may_take_over({kGeneration, kSession.value(), Epoch{1}}));
  EXPECT_FALSE(pair.replica->may_take_over({kGeneration, 1, Epoch{2}}));
  ASSERT_TRUE(pair.replica->may_take_over({kGeneration, kSession.value(), Epoch{2}}));
  ASSERT_TRUE(pair.replica->go_live(kGeneration.next()));
  EXPECT_EQ(pair.replica->record().state, ImageState::kConsistent);  // not before it is in the file
  pair.work();
  EXPECT_EQ(pair.replica->record().state, ImageState::kLive);
}

TEST(DiskSession, AnOldPrimaryBecomesStaleAndGetsTheUnionOfBothMaps) {
  Pair pair;
  DirtyMap theirs(shape_of(1));
  EXPECT_EQ(theirs.prepare({3 * kGranule, 3 * kGranule + 1}, DirtyMap::kSolo), DirtyMap::Ready::kMarkFirst);
  pair.standby(record_of(1, ImageState::kLive, Generation{2}), std::move(theirs));
  lay_over(pair.theirs, filled(3 * kGranule, 10, 0xee));  // a write that was never committed
  pair.write(filled(7 * kGranule, 10, 1));
  ASSERT_TRUE(pair.attach(Epoch{1}));
  pair.work();
  EXPECT_EQ(pair.replica->record().state, ImageState::kSyncing);
  EXPECT_EQ(pair.replica->record().at.generation, kGeneration);
  pair.resynchronise();
  EXPECT_EQ(pair.copied, 2u);
  pair.commit(Epoch{1}, pair.cut());
  EXPECT_EQ(pair.mine, pair.theirs);
  EXPECT_EQ(pair.replica->map().marked().count(), 0u);
}

TEST(DiskSession, AGuestThatEndsLeavesBothImagesAtItsLastEpoch) {
  Pair pair;
  pair.standby(record_of(1, ImageState::kConsistent, kGeneration), DirtyMap(shape_of(1)));
  ASSERT_TRUE(pair.attach(Epoch{1}));
  EXPECT_FALSE(pair.replica->end(Epoch{1}, {})) << "its image is not consistent yet";
  pair.resynchronise();
  pair.commit(Epoch{1}, pair.cut());
  pair.write(filled(100, 1000, 1));
  const auto last = pair.cut();
  DiskBarrier::Count missing = last;
  ++missing.records;
  EXPECT_FALSE(pair.replica->end(Epoch{1}, last)) << "that one has committed";
  EXPECT_FALSE(pair.replica->end(Epoch{2}, missing));
  ASSERT_TRUE(pair.replica->end(Epoch{2}, last));
  EXPECT_FALSE(pair.replica->end(Epoch{3}, {})) << "a guest ends once";
  pair.replica->end_session();  // even if the primary dies now
  EXPECT_FALSE(pair.replica->ended());
  EXPECT_FALSE(pair.replica->settled());
  pair.work();
  EXPECT_TRUE(pair.replica->ended());
  EXPECT_TRUE(pair.replica->settled());
  EXPECT_EQ(pair.mine, pair.theirs);
  const ImageRecord& record = pair.replica->record();
  EXPECT_EQ(record.at, (ImageEpoch{kGeneration, kSession.value(), Epoch{2}}));
  EXPECT_EQ(record.journal_base, pair.replica->last_sequence()) << "what it wrote last is not replayed";
  EXPECT_GT(record.journal_base, JournalSequence{0});
}

TEST(DiskSession, AnInterruptedSynchronisationIsNotMistakenForAFinishedOne) {
  Pair pair;
  lay_over(pair.mine, filled(0, kDisk, 0x55));
  pair.standby(record_of(9, ImageState::kNew, {}), all_marked(9));
  ASSERT_TRUE(pair.attach(Epoch{1}));
  pair.read_steps();
  pair.ship();
  pair.work();
  pair.source.end_session();
  pair.replica->end_session();
  pair.work();
  EXPECT_EQ(pair.replica->record().state, ImageState::kSyncing);
  EXPECT_FALSE(pair.replica->may_take_over({kGeneration, kSession.value(), Epoch{1}}));
  EXPECT_FALSE(pair.replica->go_live(kGeneration.next()));
  ASSERT_TRUE(pair.attach(Epoch{2}));
  pair.resynchronise();
  pair.commit(Epoch{2}, pair.cut());
  EXPECT_EQ(pair.mine, pair.theirs);
}

// The standby has some writes on its image, some committed, some not.
TEST(DiskSession, AnAuditFindsEqualWhatWillBeEqual) {
  Pair pair;
  pair.standby(record_of(1, ImageState::kConsistent, kGeneration), DirtyMap(shape_of(1)));
  ASSERT_TRUE(pair.attach(Epoch{1}));
  EXPECT_FALSE(pair.source.begin_audit());
  pair.resynchronise();
  pair.commit(Epoch{1}, pair.cut());
  pair.write(filled(100, 5000, 1));
  pair.commit(Epoch{2}, pair.cut());
  pair.write(filled(3 * kGranule, 2 * kGranule, 2));
  const auto third = pair.cut();
  ASSERT_TRUE(pair.replica->check(Epoch{3}, third));
  pair.replica->commit(Epoch{3});
  ASSERT_TRUE(pair.replica->next_op());  // its batch is under way
  pair.write(filled(4 * kGranule + 7, 3 * kGranule, 3));
  ASSERT_TRUE(pair.source.begin_audit());
  EXPECT_FALSE(pair.source.begin_audit()) << "one at a time";
  pair.read_steps();
  pair.write(filled(0, kDisk, 4));  // after what was read, so it must not count
  pair.ship();
  const auto fourth = pair.source.cut();
  ASSERT_TRUE(pair.replica->check(Epoch{4}, fourth));
  pair.replica->commit(Epoch{4});
  pair.replica->on_op_done();
  pair.work();
  for (int i = 0; i < 10 && !pair.source.audit()->finished(); ++i) {
    pair.read_steps();
    pair.ship();
    pair.work();
  }
  ASSERT_TRUE(pair.source.audit()->finished());
  EXPECT_EQ(pair.source.audit()->result().compared, kDisk / kGranule);
  EXPECT_EQ(pair.source.audit()->result().differing, 0u);
  EXPECT_EQ(pair.mine, pair.theirs);
}

TEST(DiskSession, AnAuditNamesWhatDiffersAndTheNextSessionComparesEverything) {
  Pair pair;
  pair.standby(record_of(1, ImageState::kConsistent, kGeneration), DirtyMap(shape_of(1)));
  ASSERT_TRUE(pair.attach(Epoch{1}));
  pair.resynchronise();
  pair.commit(Epoch{1}, pair.cut());
  pair.theirs[5 * kGranule + 17] ^= 1;
  pair.theirs[9 * kGranule] ^= 1;
  ASSERT_TRUE(pair.source.begin_audit());
  for (int i = 0; i < 10 && !pair.source.audit()->finished(); ++i) {
    pair.read_steps();
    pair.ship();
    pair.work();
  }
  ASSERT_TRUE(pair.source.audit()->finished());
  EXPECT_EQ(pair.source.audit()->result().offsets, (std::vector<uint64_t>{5 * kGranule, 9 * kGranule}));
  EXPECT_EQ(pair.source.audit()->result().compared, kDisk / kGranule);
  pair.theirs[12 * kGranule] ^= 1;  // another one that nobody has looked at
  pair.source.end_session();
  pair.replica->end_session();
  pair.copied = 0;
  ASSERT_TRUE(pair.attach(Epoch{2}));
  pair.resynchronise();
  EXPECT_EQ(pair.copied, 3u);
  pair.commit(Epoch{2}, pair.cut());
  EXPECT_EQ(pair.mine, pair.theirs);
}

TEST(DiskSession, AnAuditLeavesOutWhereAWriteHasFailedAndRefusesAnswersNobodyAskedFor) {
  Pair pair;
  pair.standby(record_of(1, ImageState::kConsistent, kGeneration), DirtyMap(shape_of(1)));
  ASSERT_TRUE(pair.attach(Epoch{1}));
  pair.resynchronise();
  EXPECT_FALSE(pair.source.on_sum_answers(Bytes(9)));
  pair.commit(Epoch{1}, pair.cut());
  pair.source.on_write_failed({2 * kGranule, 2 * kGranule + 1});
  pair.mine[2 * kGranule] ^= 1;
  ASSERT_TRUE(pair.source.begin_audit());
  EXPECT_FALSE(pair.source.on_sum_answers(Bytes(9)));
  const auto step = pair.source.poll_step();
  ASSERT_TRUE(step);
  pair.source.on_read_failed(*step);
  const auto late = pair.source.poll_step();
  ASSERT_TRUE(late);
  pair.source.on_write_failed(late->what.range);  // it was done before this step got the range
  pair.mine[late->what.range.start] ^= 1;
  pair.source.on_compared(*late, granule_sum(ByteSpan(pair.mine).subspan(late->what.range.start, kGranule)));
  for (int i = 0; i < 10 && !pair.source.audit()->finished(); ++i) {
    pair.read_steps();
    pair.ship();
    pair.work();
  }
  EXPECT_TRUE(pair.source.audit()->finished());
  EXPECT_EQ(pair.source.audit()->result().left_out, 3u);
  EXPECT_EQ(pair.source.audit()->result().differing, 0u);
  // And a standby does not keep more of them than was agreed.
  Status taken;
  for (int i = 0; i < 1000 && taken; ++i) taken = pair.replica->on_sum(0, 0);
  EXPECT_FALSE(taken);
}

TEST(DiskSession, ANewerForeignOrDifferentImageIsRefusedWithAReason) {
  const auto reason = [](ImageRecord record, DirtyMap map) {
    Pair pair;
    pair.standby(record, std::move(map));
    const Status attached = pair.attach(Epoch{1});
    return attached ? std::string("accepted") : attached.error().message;
  };
  EXPECT_PRED2(contains, reason(record_of(2, ImageState::kConsistent, kGeneration), DirtyMap(shape_of(2))),
               "belongs to another disk");
  EXPECT_PRED2(contains, reason(record_of(1, ImageState::kLive, kGeneration.next()), DirtyMap(shape_of(1))),
               "older generation");
  EXPECT_PRED2(contains, reason(record_of(1, ImageState::kLive, kGeneration), DirtyMap(shape_of(1))),
               "older generation");
  ImageRecord shorter = record_of(1, ImageState::kConsistent, kGeneration);
  shorter.disk_bytes = kDisk / 2;
  EXPECT_PRED2(contains, reason(shorter, DirtyMap({ImageId{1}, kDisk / 2, kGranule})), "32768 bytes");
}

TEST(DiskSession, TheGuestWaitsWhenTheStandbysImageIsBehindByTheWindow) {
  Pair pair;
  pair.standby(record_of(1, ImageState::kConsistent, kGeneration), DirtyMap(shape_of(1)));
  ASSERT_TRUE(pair.attach(Epoch{1}));
  pair.resynchronise();
  pair.commit(Epoch{1}, pair.cut());
  for (int i = 0; i < 5; ++i) pair.write(filled(0, kDisk, static_cast<uint8_t>(i)));
  EXPECT_FALSE(pair.source.wants_writes());
  EXPECT_TRUE(pair.source.wants_cut());
}

TEST(DiskSession, HostileAnswersEndTheSession) {
  Pair pair;
  pair.standby(record_of(9, ImageState::kNew, {}), all_marked(9));
  EXPECT_FALSE(pair.source.on_progress(0, Epoch{}));
  EXPECT_FALSE(pair.source.on_answer_marks(0));
  pair.source.begin_session(Epoch{1});
  EXPECT_FALSE(pair.source.on_answer_marks(17));
  EXPECT_FALSE(pair.source.on_marks(0, Bytes{1}));
  ASSERT_TRUE(pair.source.on_answer_marks(2));
  EXPECT_FALSE(pair.source.on_marks(4, Bytes{1}));
  EXPECT_FALSE(pair.source.on_marks(0, Bytes{7}));
  EXPECT_FALSE(pair.source.on_marks(0, Bytes{0, 0, 1}));
  pair.source.end_session();
  ASSERT_TRUE(pair.attach(Epoch{2}));
  EXPECT_FALSE(pair.source.on_progress(1, Epoch{}));
  EXPECT_FALSE(pair.source.on_progress(0, Epoch{2}));
  EXPECT_FALSE(pair.source.on_sum_answers(Bytes(9)));
}

TEST(DiskSession, HostileRecordsAreRefused) {
  Pair pair;
  pair.standby(record_of(1, ImageState::kConsistent, kGeneration), DirtyMap(shape_of(1)));
  EXPECT_FALSE(pair.replica->on_record(Epoch{5}, filled(0, 1, 1)));
  ASSERT_TRUE(pair.attach(Epoch{5}));
  EXPECT_FALSE(pair.replica->on_record(Epoch{4}, filled(0, 1, 1)));
  EXPECT_FALSE(pair.replica->on_record(Epoch{5}, filled(kDisk, 1, 1)));
  EXPECT_FALSE(pair.replica->on_sum(kDisk / kGranule, 0));
  EXPECT_FALSE(pair.replica->check(Epoch{6}, {}));
  EXPECT_FALSE(pair.replica->check(Epoch{5}, {DiskIndex{0}, 1, 1}));
  ASSERT_TRUE(pair.replica->on_record(Epoch{6}, filled(0, 1, 1)));
  EXPECT_FALSE(pair.replica->on_record(Epoch{5}, filled(0, 1, 1)));
  // Not more than the limit is kept.
  Status taken;
  for (int i = 0; i < 100 && taken; ++i) taken = pair.replica->on_record(Epoch{6}, filled(0, kDisk, 1));
  EXPECT_FALSE(taken);
  EXPECT_LE(pair.replica->waiting_bytes(), kWindow);
}

// In a session whose epoch 2, with 512 bytes, has committed.
void commit_a_little(Pair& pair) {
  pair.standby(record_of(1, ImageState::kConsistent, kGeneration), DirtyMap(shape_of(1)));
  ASSERT_TRUE(pair.attach(Epoch{1}));
  pair.resynchronise();
  pair.commit(Epoch{1}, pair.cut());
  pair.write(filled(0, 512, 1));
  ASSERT_TRUE(pair.replica->check(Epoch{2}, pair.cut()));
  pair.replica->commit(Epoch{2});
}

TEST(DiskSession, ASmallBatchMayWaitForMoreButNotIfMuchWaits) {
  Pair pair;
  commit_a_little(pair);
  EXPECT_FALSE(pair.replica->next_op(false));
  EXPECT_FALSE(pair.replica->settled());
  pair.write(filled(512, kWindow / 32, 2));  // of the running epoch: it fills the primary's window all the same
  pair.ship();
  const auto op = pair.replica->next_op(false);
  ASSERT_TRUE(op && std::holds_alternative<DiskReplica::WriteJournal>(*op));
  pair.replica->on_op_done();
  EXPECT_TRUE(pair.replica->next_op(false)) << "what has begun goes on";
}

TEST(DiskSession, ASmallBatchDoesNotWaitForMoreOnceTheSessionHasEnded) {
  Pair pair;
  commit_a_little(pair);
  EXPECT_FALSE(pair.replica->next_op(false));
  pair.replica->end_session();
  EXPECT_TRUE(pair.replica->next_op(false));
}

TEST(DiskSession, RecordsOfTheRunningEpochAreSentWhenTheyAreManyOrTheEpochIsOver) {
  Pair pair;
  commit_a_little(pair);
  pair.write(filled(0, 4096, 1));
  EXPECT_TRUE(pair.source.has_stream());
  EXPECT_FALSE(pair.source.wants_sender());
  for (uint64_t sent = 4096; sent < kStreamBytesAtOnce; sent += 4096) pair.write(filled(0, 4096, 1));
  EXPECT_TRUE(pair.source.wants_sender());
  pair.ship();
  EXPECT_FALSE(pair.source.has_stream());
}

TEST(DiskSession, AFailedWriteIsRepeatedAndAFailedFinalSyncEndsTheSession) {
  Pair pair;
  pair.standby(record_of(1, ImageState::kConsistent, kGeneration), DirtyMap(shape_of(1)));
  ASSERT_TRUE(pair.attach(Epoch{1}));
  ASSERT_TRUE(pair.replica->next_op());
  pair.replica->on_op_failed();
  EXPECT_FALSE(pair.replica->next_op());
  pair.replica->retry();
  pair.work();
  pair.resynchronise();
  const auto count = pair.cut();
  ASSERT_TRUE(pair.replica->check(Epoch{1}, count));
  EXPECT_FALSE(pair.replica->ready(Epoch{1}));
  const auto op = pair.replica->next_op();
  ASSERT_TRUE(op && std::holds_alternative<DiskReplica::SyncImage>(*op));
  pair.replica->on_op_failed();
  EXPECT_TRUE(pair.replica->broken());
}

TEST(DiskSession, AfterAFailedSyncEverythingIsCopiedAgainThoughItReadsEqual) {
  Pair pair;
  lay_over(pair.mine, filled(0, kDisk, 0x55));
  pair.standby(record_of(9, ImageState::kNew, {}), all_marked(9));
  ASSERT_TRUE(pair.attach(Epoch{1}));
  pair.resynchronise();
  EXPECT_EQ(pair.mine, pair.theirs);
  EXPECT_EQ(pair.copied, kDisk / kGranule);
  ASSERT_TRUE(pair.replica->check(Epoch{1}, pair.cut()));
  EXPECT_FALSE(pair.replica->ready(Epoch{1}));
  ASSERT_TRUE(pair.replica->next_op());  // the last sync
  pair.replica->on_op_failed();
  pair.source.end_session();
  EXPECT_FALSE(pair.attach(Epoch{2})) << "its session has not ended";
  pair.source.end_session();
  pair.replica->end_session();
  EXPECT_FALSE(pair.attach(Epoch{2})) << "it has not recovered";
  pair.source.end_session();
  pair.replica->recover();
  pair.copied = 0;
  ASSERT_TRUE(pair.attach(Epoch{2}));
  pair.resynchronise();
  EXPECT_EQ(pair.copied, kDisk / kGranule);
  pair.commit(Epoch{2}, pair.cut());
  EXPECT_EQ(pair.replica->record().state, ImageState::kConsistent);
  EXPECT_EQ(pair.mine, pair.theirs);
}

}  // namespace
}  // namespace us
