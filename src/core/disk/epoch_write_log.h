// EpochWriteLog: the primary's side of a `replicated` disk: which writes the standby gets, of which epoch, and when the
// guest has to wait for it.
//
//     guest ──► local image ──done──► append() ──► poll() ──► the standby, in this order
//                                     cut() ──► barrier of the epoch
//                       on_applied(e) ◄── the standby's image holds epoch e, durably
//
// A write is appended when it is done locally (and has failed nowhere), before the guest is told; RangeLock has seen to
// it that overlapping writes are done in order.  A write that failed locally is not appended: what the guest reads
// there is undefined, and the dirty map keeps the place marked until the next resynchronisation.
//
// Epochs: QEMU drains all requests when the guest stops for a cut (do_vm_stop(): bdrv_drain_all), so no write is in
// flight across a cut, and "appended before the cut" is the same set of writes on the disk and in the guest's memory.
//
// FLUSH and FUA are not logged.  What they promise is kept here: the local image has been synced.  The standby's image
// matters only after a takeover, and then the guest is the one of the committed epoch: it remembers no write later than
// that epoch, and the standby holds every write of it.  (A guest whose both hosts lose power starts again from the
// primary's image, which holds all that was flushed, as on any machine.)
//
// Bounded: what the standby's image does not hold yet is charged at most `window_bytes` (and one write more).  At that,
// wants_writes() is false: the guest waits for the standby's disk instead of filling memory.  wants_cut() asks for an
// early cut, without which a full window would never empty.  Pure.
#pragma once

#include <deque>
#include <optional>

#include "base/strong.h"
#include "core/disk/write_record.h"

namespace us {

class EpochWriteLog {
 public:
  EpochWriteLog(DiskIndex disk, uint64_t window_bytes) : disk_(disk), window_bytes_(window_bytes) {}

  // Starts a session with `running` as the first epoch; forgets everything before.
  void begin_session(Epoch running);

  // An epoch is over, and not applied yet.
  bool has_cut() const { return !over_.empty(); }
  bool wants_writes() const { return unapplied_bytes_ < window_bytes_; }
  // Only if it is the running epoch that fills the window: what has been cut empties by itself, and a guest whose
  // standby has the slower disk would otherwise be stopped again and again.
  bool wants_cut() const { return running_.charged >= window_bytes_ / 4 && unapplied_bytes_ >= window_bytes_ / 2; }
  void append(const DiskWrite& write);
  // Ends the running epoch; what is appended from now on belongs to the next.
  DiskBarrier::Count cut();

  // The next record for the standby.  Its data is shared with the log until it is sent.
  std::optional<WriteRecord> poll();
  bool has_records() const { return !records_.empty(); }
  // How many records there have been, and how many of them have been polled: a place between two.
  uint64_t appended() const { return polled_ + records_.size(); }
  uint64_t polled() const { return polled_; }
  uint64_t unpolled_bytes() const { return unpolled_bytes_; }  // of the data of those that wait

  // Epochs that are over, only.
  void on_applied(Epoch epoch);

  Epoch running() const { return running_.epoch; }
  Epoch applied() const { return applied_; }
  uint64_t unapplied_bytes() const { return unapplied_bytes_; }

 private:
  struct Sum {
    Epoch epoch;
    uint64_t records = 0;
    uint64_t bytes = 0;  // of data
    uint64_t charged = 0;
  };

  DiskIndex disk_;
  uint64_t window_bytes_;
  Sum running_;
  Epoch applied_;
  std::deque<Sum> over_;  // cut and not applied yet
  uint64_t unapplied_bytes_ = 0;
  std::deque<WriteRecord> records_;  // not polled yet
  uint64_t polled_ = 0;
  uint64_t unpolled_bytes_ = 0;
};

}  // namespace us
