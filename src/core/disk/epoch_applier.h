// EpochApplier: takes one batch after the other to an image through the apply journal, in the order that
// apply_journal.h relies on.  It says what to do next; the owner does it and says how it went.
//
//     kIdle ─begin()─► kWriteRecord ──► kSyncJournal ──► kApply ──► kSyncImage ──► kIdle, the batch is on the image for
//     good
//
// Errors.  A failed step is repeated by retry(), as often as the owner likes; until then the applier stands still and
// the standby's memory bound makes the primary wait.  After a failed sync it is the writes before it that are repeated:
// the kernel may have dropped the pages it could not write (fsync(2), EIO), so syncing again proves nothing.  A journal
// that cannot be written (full disk) has not touched the image.  An image that cannot be written is partial, and the
// journal's record completes it after a restart; it is not to be served before that.  Pure.
#pragma once

#include "core/disk/apply_journal.h"

namespace us {

enum class ApplyStep : uint8_t {
  kIdle,
  kWriteRecord,  // write start() at journal_offset(), and after it the data of batch().writes in order
  kSyncJournal,  // fdatasync the journal
  kApply,        // write batch().writes to the image, in any order
  kSyncImage,    // fdatasync the image
};

class EpochApplier {
 public:
  // `last` is the newest sequence number ever used with this image.
  EpochApplier(const ImageId& image, JournalLayout layout, JournalSequence last)
      : image_(image), layout_(layout), record_{last, {}} {}

  // Only in kIdle.
  void begin(ApplyBatch batch);
  // For recovery: the record is in the journal already.  It is synced first: a process that was killed may have left it
  // unsynced, and if a power loss took it after it had been applied, the one before would be replayed over its epoch.
  void begin_replay(JournalRecord record);

  ApplyStep step() const { return step_; }
  void on_done();
  void on_error();
  bool failed() const { return failed_; }
  void retry() { failed_ = false; }

  // Valid outside kIdle.
  const Bytes& start() const { return start_; }
  uint64_t journal_offset() const { return layout_.slot_offset(record_.sequence); }
  const ApplyBatch& batch() const { return record_.batch; }

  JournalSequence sequence() const { return record_.sequence; }
  // The newest epoch that is on the image for good since this object was made.
  const std::optional<ImageEpoch>& applied() const { return applied_; }

 private:
  ImageId image_;
  JournalLayout layout_;
  ApplyStep step_ = ApplyStep::kIdle;
  bool failed_ = false;
  JournalRecord record_;
  Bytes start_;
  std::optional<ImageEpoch> applied_;
};

}  // namespace us
