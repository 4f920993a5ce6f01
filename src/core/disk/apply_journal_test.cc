#include "core/disk/apply_journal.h"

#include <gtest/gtest.h>

#include "core/disk/disk_samples.h"
#include "core/disk/epoch_applier.h"

namespace us {
namespace {

using namespace disk_samples;

constexpr ImageId kImage{1, 2, 3};
constexpr uint64_t kBytes = 1 << 20;

JournalRecord sample(uint64_t sequence = 5) {
  return {JournalSequence(sequence),
          {{Generation(2), 99, Epoch(7)},
           {filled(0, 700, 1),
            {WriteKind::kZeroes, {4096, 8192}, {}},
            {WriteKind::kDiscard, {8192, 9000}, {}},
            filled(kBytes - 10, 10, 2)}}};
}

Bytes encoded(const JournalRecord& record) {
  Bytes out = encode_journal_start(record, kImage);
  for (const DiskWrite& w : record.batch.writes) ByteWriter(out).bytes(w.data.span());
  EXPECT_EQ(out.size(), journal_bytes(record.batch));
  return out;
}

TEST(ApplyJournal, ARecordComesBackWithWhateverFollowsIt) {
  const Bytes bytes = encoded(sample());
  Bytes slot = bytes;
  slot.insert(slot.end(), 5000, 0x77);
  const auto back = decode_journal_record(slot, kImage, kBytes);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->sequence, JournalSequence(5));
  EXPECT_EQ(back->batch.target, sample().batch.target);
  EXPECT_EQ(encoded(*back), bytes);
}

TEST(ApplyJournal, ARecordCutShortAnywhereIsVoid) {
  const Bytes bytes = encoded(sample());
  for (size_t n = 0; n < bytes.size(); n += n < kJournalHeadBytes - 100 && n > 200 ? 61 : 1)
    EXPECT_FALSE(decode_journal_record(ByteSpan(bytes).first(n), kImage, kBytes)) << n;
}

TEST(ApplyJournal, AFlippedBitAnywhereInItMakesItVoid) {
  Bytes bytes = encoded(sample());
  for (size_t at = 0; at < bytes.size(); ++at) {
    if (at >= 96 && at < kJournalHeadBytes) continue;  // padding
    bytes[at] ^= static_cast<uint8_t>(1u << (at % 8));
    EXPECT_FALSE(decode_journal_record(bytes, kImage, kBytes)) << at;
    bytes[at] ^= static_cast<uint8_t>(1u << (at % 8));
  }
}

TEST(ApplyJournal, ARecordOfAnotherImageOrPastTheEndOfTheDiskIsVoid) {
  const Bytes bytes = encoded(sample());
  EXPECT_FALSE(decode_journal_record(bytes, ImageId{9}, kBytes));
  EXPECT_FALSE(decode_journal_record(bytes, kImage, kBytes - 1));
  JournalRecord overlapping = sample();
  std::swap(overlapping.batch.writes[1], overlapping.batch.writes[2]);
  EXPECT_FALSE(decode_journal_record(encoded(overlapping), kImage, kBytes));
}

TEST(ApplyJournal, TheNewestCompleteRecordCountsUnlessItIsVoidByItsBase) {
  const Bytes even = encoded(sample(4)), odd = encoded(sample(5));
  Bytes broken = odd;
  broken[4500] ^= 1;
  const auto recovered = [&](const Bytes& a, const Bytes& b, uint64_t base) {
    const auto record = recover_journal(a, b, kImage, kBytes, JournalSequence(base));
    return record ? record->sequence.value() : 0;
  };
  EXPECT_EQ(recovered(even, odd, 0), 5u);
  EXPECT_EQ(recovered(even, broken, 0), 4u);
  EXPECT_EQ(recovered(even, odd, 4), 5u);
  EXPECT_EQ(recovered(even, odd, 5), 0u);
  EXPECT_EQ(recovered(Bytes(kJournalHeadBytes), {}, 0), 0u);
}

TEST(ApplyJournal, ASlotHoldsTheWorstBatchThatMayBeStaged) {
  constexpr uint64_t kStagedMax = 300'000;
  StagedWrites staged(kBytes, kStagedMax);
  staged.begin_session(Generation(1), 1, Epoch(0));
  // Each small write splits what is below it: the most extents for their charge.
  ASSERT_TRUE(staged.stage(Epoch(1), filled(0, 100'000, 1)));
  for (uint64_t at = 50; staged.stage(Epoch(1), filled(at, 1, 2)); at += 100) {
  }
  staged.commit(Epoch(1));
  EXPECT_LE(journal_bytes(*staged.take_batch()), JournalLayout::for_staged(kStagedMax).slot_bytes);
}

TEST(EpochApplier, GoesThroughItsStepsAndAFailedSyncRepeatsTheWritesBeforeIt) {
  EpochApplier applier(kImage, {1 << 20}, JournalSequence(8));
  EXPECT_EQ(applier.step(), ApplyStep::kIdle);
  applier.begin(sample().batch);
  EXPECT_EQ(applier.sequence(), JournalSequence(9));
  EXPECT_EQ(applier.journal_offset(), uint64_t{1 << 20});
  const auto expect = [&](ApplyStep step, bool ok) {
    ASSERT_EQ(applier.step(), step);
    if (ok) return applier.on_done();
    applier.on_error();
    EXPECT_TRUE(applier.failed());
    EXPECT_FALSE(applier.applied());
    applier.retry();
  };
  expect(ApplyStep::kWriteRecord, false);
  expect(ApplyStep::kWriteRecord, true);
  expect(ApplyStep::kSyncJournal, false);
  expect(ApplyStep::kWriteRecord, true);
  expect(ApplyStep::kSyncJournal, true);
  expect(ApplyStep::kApply, false);
  expect(ApplyStep::kApply, true);
  expect(ApplyStep::kSyncImage, false);
  expect(ApplyStep::kApply, true);
  expect(ApplyStep::kSyncImage, true);
  EXPECT_EQ(applier.step(), ApplyStep::kIdle);
  EXPECT_EQ(applier.applied(), sample().batch.target);
}

}  // namespace
}  // namespace us
