// HeldWrites: a `shared` disk on the primary: one image that both hosts reach, so a write is output, and is held until
// its epoch is on the image.
//
//     guest's write ──► write() ──► held, and logged for the standby (EpochWriteLog), which writes it to the image
//     guest's read  ──► read():     held writes, newest first, over the image
//     the standby says that epoch e is on the image for good ──► let_go(e)
//     the standby is gone ──► take_all() ──► EpochApplier ──► the image; then batch_applied()
//
// Why it is right.  The image is written only with whole committed epochs (the standby's journal makes a batch all or
// nothing, epoch_applier.h), so it never holds anything of an epoch that the standby may have to forget.  What the
// image does not hold for good is held here, so this host can go on alone whatever part of a batch the standby has
// written. Whose turn it is to write: shared_turn.h.
//
// FLUSH and FUA complete as soon as everything before them is held.  They cannot wait for the commit: QEMU flushes all
// disks when it stops the guest (do_vm_stop(): bdrv_flush_all), and the commit comes after that stop, so both would
// wait for ever. They need not wait: whoever could tell that a flush completed can do so only through output of the
// same or a later epoch, which is gated until that epoch commits; and if this host dies before, the guest that goes on
// has never seen the flush complete.  What this does not cover is the loss of both hosts at once before the batch is on
// the image: then the image is at an earlier epoch, whole, and what was flushed since is lost.
//
// Bounded like EpochWriteLog: at `bytes_max` the guest waits; wants_cut() asks for an early cut.  Pure.
#pragma once

#include <optional>
#include <vector>

#include "core/disk/staged_writes.h"

namespace us {

// A part of the answer to a read.
struct ReadPart {
  DiskRange range;
  std::optional<DiskWrite> held;  // nullopt: to be read from the image
};

class HeldWrites {
 public:
  HeldWrites(uint64_t disk_bytes, uint64_t bytes_max);

  // The image is at the epoch before `running`.
  void begin_session(Generation generation, uint64_t session, Epoch running);

  bool wants_writes() const { return staged_.bytes() < bytes_max_; }
  bool wants_cut() const { return staged_.bytes() >= bytes_max_ / 2; }
  // Within the disk; the NBD session has judged it.
  void write(const DiskWrite& write);
  // In order; they cover `range`.
  std::vector<ReadPart> read(DiskRange range) const;

  void cut() { ++running_; }
  void commit(Epoch epoch);
  std::optional<ApplyBatch> take_batch() { return staged_.take_batch(); }
  void batch_applied();
  // Every epoch up to `durable` is on the image for good.
  void let_go(Epoch durable);
  // Everything, committed or not, in the order of offsets: this host goes on alone.  Held and read as before until
  // batch_applied().  Not while a batch is out.
  std::vector<DiskWrite> take_all();

  Epoch running() const { return running_; }
  Epoch durable() const { return durable_; }  // every write up to this epoch is on the image
  uint64_t bytes() const { return staged_.bytes(); }
  bool unapplied() const { return staged_.unapplied(); }

 private:
  uint64_t bytes_max_;
  StagedWrites staged_;
  Epoch running_;
  Epoch durable_;
};

}  // namespace us
