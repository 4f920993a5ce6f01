#include "core/disk/epoch_applier.h"

namespace us {

void EpochApplier::begin(ApplyBatch batch) {
  US_CHECK(step_ == ApplyStep::kIdle && journal_bytes(batch) <= layout_.slot_bytes);
  record_ = {record_.sequence.next(), std::move(batch)};
  start_ = encode_journal_start(record_, image_);
  step_ = ApplyStep::kWriteRecord;
}

void EpochApplier::begin_replay(JournalRecord record) {
  US_CHECK(step_ == ApplyStep::kIdle);
  record_ = std::move(record);
  start_ = encode_journal_start(record_, image_);
  step_ = ApplyStep::kSyncJournal;
}

void EpochApplier::on_done() {
  US_CHECK(!failed_);
  switch (step_) {
    case ApplyStep::kIdle:
      US_CHECK(false);
      return;
    case ApplyStep::kWriteRecord:
      step_ = ApplyStep::kSyncJournal;
      return;
    case ApplyStep::kSyncJournal:
      step_ = ApplyStep::kApply;
      return;
    case ApplyStep::kApply:
      step_ = ApplyStep::kSyncImage;
      return;
    case ApplyStep::kSyncImage:
      step_ = ApplyStep::kIdle;
      applied_ = record_.batch.target;
      record_.batch.writes.clear();
      start_.clear();
      return;
  }
}

void EpochApplier::on_error() {
  US_CHECK(step_ != ApplyStep::kIdle);
  failed_ = true;
  if (step_ == ApplyStep::kSyncJournal) step_ = ApplyStep::kWriteRecord;
  if (step_ == ApplyStep::kSyncImage) step_ = ApplyStep::kApply;
}

}  // namespace us
