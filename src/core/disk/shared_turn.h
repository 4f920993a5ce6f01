// SharedTurn: whose turn it is to write to the one image of a `shared` disk, on the primary: what it does to the image
// when a standby has come, and when it has gone.
//
//     kDirect ──give()──► kGiving ──────────────► kGiven ──take_back()──► kReturning ───────────────────────► kDirect
//     the guest's         sync; record: kConsistent   the standby writes,     take; its journal; record: taken back;
//     writes go to        at the first epoch; let go  committed epochs only   what is held, through the journal;
//     the image                                                               record: kLive
//     └─ this host holds the lock ────────────────┘                           └─ and holds it again ───────────┘
//
// In all but kDirect the guest's writes are held (held_writes.h).  The standby's side: disk_replica.h.
//
// Why nobody writes who should not.  The lock on the image (TakeImage, LetGo) is held by whoever writes, for as long as
// he does; the storage takes it away only from a host that is gone.  The record beside the image says what the one who
// let go of it promised: kConsistent at the first epoch, to this session's standby; and every taking back changes it,
// so that a standby which has let go and comes again finds out (DiskReplica::lost()).  And the primary, whose host is
// the one that is expected to die, writes nothing while there is a standby: however late its threads wake up after
// another has taken over, no write of theirs is on its way.
//
// Why nothing is lost.  What is held is all that the standby has not said to be on the image for good.  So whatever
// part of a batch it has written, the batch of everything that is held covers it.  That one goes through the journal as
// well: if both hosts lose power, the image is at a whole epoch, or holds all that was held.
//
// take_back() is for a host that runs the guest alone: because the arbiter has granted it a generation, or because the
// standby has no copy.  The host must not speak of it before.  Until the image is free (the standby's process has
// ended, or found out) everything waits in memory: the guest goes on until the window is full.
//
// closing(): no more may be held; asked once the first batch is on the image, so that kReturning comes to an end.
//
// The owner does one Op after the other and says how it went.  A failed one is offered again after retry().  Pure.
#pragma once

#include <optional>

#include "core/disk/disk_replica.h"
#include "core/disk/held_writes.h"

namespace us {

class SharedTurn {
 public:
  enum class State : uint8_t { kDirect, kGiving, kGiven, kReturning };
  using Op = DiskReplica::Op;

  // `live`: the record as it is in the file; this host holds the image.
  SharedTurn(ImageRecord live, uint64_t staged_bytes_max);

  // In kDirect, with no write on its way to the image: everything the guest has written belongs to `first` or before.
  void give(const ImageEpoch& first);
  // There is no session any more, and this host runs the guest as `own`.
  void take_back(Generation own);

  std::optional<Op> next_op(HeldWrites& held);
  void on_op_done(HeldWrites& held);
  // Of TakeImage: the record and the journal as they are in their files.
  void on_taken(const ImageRecord& in_file, std::optional<JournalRecord> replay, JournalSequence last);
  void on_op_failed();
  bool failed() const { return failed_; }
  void retry();
  // What this host has written may not be on the image, and nobody has it any more: it is of no use.
  void lose() { lost_ = true; }

  State state() const { return state_; }
  bool direct() const { return state_ == State::kDirect; }
  bool closing() const { return state_ == State::kReturning && (batches_ > 0 || finishing_); }
  // Another host has it, or had it, or lose(): the guest cannot go on here.
  bool lost() const { return lost_; }
  const ImageRecord& record() const { return record_; }  // as this host knows it

 private:
  enum class Doing : uint8_t { kNothing, kSync, kRecord, kLetGo, kTake, kApplier };
  std::optional<Op> give_op();
  std::optional<Op> return_op(HeldWrites& held);
  Op write_record(Result<ImageRecord> next);
  std::optional<Op> applier_op();

  ImageRecord record_;
  const JournalLayout layout_;
  State state_ = State::kDirect;
  Doing doing_ = Doing::kNothing;
  bool failed_ = false;
  bool lost_ = false;

  bool holds_ = true;
  bool synced_ = false;  // in kGiving
  bool given_ = false;   // ... and the record says so
  ImageEpoch first_;
  Generation own_;

  // In kReturning.
  bool taken_ = false;      // the record says so
  bool finishing_ = false;  // nothing is held, and the last record is on its way
  bool is_held_ = false;    // the batch under way is of what is held, not of the standby's journal
  uint64_t batches_ = 0;
  ImageRecord next_;
  std::optional<EpochApplier> applier_;
};

}  // namespace us
