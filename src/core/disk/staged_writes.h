// StagedWrites: the standby's side of a `replicated` disk, and the memory of `shared` ones: writes wait here until
// their epoch commits, and only then become something to apply.
//
//     stage(epoch 7) stage(7) stage(8) …      commit(7)            take_batch()
//     └──── epochs that may yet be forgotten ────┘ └── merged, last wins ──┘ └── to EpochApplier, all or nothing
//
// A batch holds the writes of every epoch committed since the last one, merged: applying it takes the image from one
// committed epoch to a later one, and it never was at any in between.  While a batch is being applied the next
// collects.
//
// Bounded: `bytes_max` counts whole writes (kWriteChargeBytes), batches included until batch_applied().  The primary's
// window (EpochWriteLog) is not larger, so an honest primary never meets the limit.  What comes is untrusted: errors
// are ErrorKind::kProtocol or ErrorKind::kRefused, and the session must end.  Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "base/result.h"
#include "base/strong.h"
#include "core/disk/extent_map.h"
#include "core/disk/write_record.h"

namespace us {

// Names a committed epoch for good.  Epochs count from 1 in each session, so an epoch alone does not.
struct ImageEpoch {
  Generation generation;
  uint64_t session = 0;  // SessionId of the replication session; 0: none
  Epoch epoch;
  bool operator==(const ImageEpoch&) const = default;
};

// Takes an image from one committed epoch to `target`.
struct ApplyBatch {
  ImageEpoch target;
  std::vector<DiskWrite> writes;  // disjoint, in the order of offsets
};

class StagedWrites {
 public:
  StagedWrites(uint64_t disk_bytes, uint64_t bytes_max) : disk_bytes_(disk_bytes), bytes_max_(bytes_max) {}

  // The image is exactly at `committed` of `generation`; what was staged is forgotten.  Nothing may be waiting to be
  // applied.
  void begin_session(Generation generation, uint64_t session, Epoch committed);

  // Epochs do not go backwards, and none that has committed comes again.
  Status stage(Epoch epoch, const DiskWrite& write);
  // Whether every write of the epoch has come.
  Status check(Epoch epoch, const DiskBarrier::Count& expected) const;
  // The caller has checked it.  Epochs before it commit with it.
  void commit(Epoch epoch);
  // What has not committed never was: the connection is gone.
  void drop_uncommitted();
  // Nothing of this is to be applied, committed or not, and no batch is being applied any more.
  void drop_all();

  // Everything committed and not taken yet; nullopt: nothing, or a batch is being applied.  An epoch without writes
  // makes a batch as well, for its number.
  std::optional<ApplyBatch> take_batch();
  bool has_batch() const { return !batch_bytes_ && taken_ != committed_; }
  void batch_applied();

  // What would be read in `range` once everything here has been applied; gaps are the image's.
  std::vector<DiskWrite> newest(DiskRange range) const;

  Epoch committed() const { return committed_; }
  Epoch taken() const { return taken_; }  // newest epoch handed out in a batch
  // A takeover must wait until this is false.
  bool unapplied() const { return batch_bytes_.has_value() || taken_ != committed_; }
  uint64_t bytes() const { return bytes_; }

 private:
  struct Staged {
    Epoch epoch;
    ExtentMap writes;
    uint64_t records = 0, data_bytes = 0, charged = 0;
  };

  const uint64_t disk_bytes_;
  const uint64_t bytes_max_;
  Generation generation_;
  uint64_t session_ = 0;
  Epoch committed_;
  Epoch taken_;
  std::deque<Staged> open_;  // not committed, in order
  ExtentMap merged_;         // committed and not taken
  uint64_t merged_bytes_ = 0;
  ExtentMap batch_;                      // the batch being applied
  std::optional<uint64_t> batch_bytes_;  // what it is charged; nullopt: there is none
  uint64_t bytes_ = 0;
};

}  // namespace us
