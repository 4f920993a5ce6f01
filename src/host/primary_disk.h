// PrimaryDisk: one `replicated` disk on the host that runs the guest: every request of QEMU on its way to the image and
// into the stream for the standby.
//
//     write ─► room in the window? ─► RangeLock ─► marked? ─► image ─► DiskSource::on_written ─► answered
//     read, block status ─► image ─► answered            flush ─► image synced ─► answered
//
// The cut.  QEMU drains its requests and flushes inside `stop`, so from begin_cut() to cut()
//   * a FLUSH, or the flush that FUA asks for, is answered at once, and owed: no later write is begun before the image
//     has been synced.  So whatever the medium shows after a power loss, a write that followed a flush is there only if
//     everything before that flush is.
//   * writes that wait for room in the window are let through: it is the cut that makes room.
// Between stop and cut() nothing is in flight; cut() takes no lock that anybody holds across I/O.
//
// Whose flush.  Nothing is owed for the flush that is QEMU's own.  One that comes between begin_cut() and cut() may be
// either's, and what tells is how many the guest has asked for by QEMU's count (block_stats.h): if that is as many as
// came at other times, none of these was the guest's.  Until end_cut() says so, writes and flushes wait.
//
// Errors of the image go to the guest as they are, with a line in the log; the place stays marked.  A failed sync is
// final (block_file.h).  After fence() nothing more is begun and nothing is answered.
//
// Threads: start() and on_wake() are the loop's; all else may be called from any thread, and none of it blocks except
// where it says so.  One mutex, never held across I/O.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/disk/disk_source.h"
#include "core/disk/mark_ahead.h"
#include "core/disk/range_lock.h"
#include "core/replica/disk_frames.h"
#include "host/guest_disk.h"
#include "host/local_disk.h"
#include "host/standby_trouble.h"

namespace us {

class PrimaryDisk final : public GuestDisk {
 public:
  // `disk` outlives this, and its loop is stopped before this goes.  `map` is in the file.
  PrimaryDisk(LocalDisk& disk, DirtyMap map);

  // ---- the loop's thread ----
  void start(NbdRequest request, DiskReply reply) override;
  void on_wake() override;

  // ---- a session with a standby ----
  // `frames_ready` is called, with no lock held, when take_frames() has something.
  void begin_session(Epoch first, SessionId session, uint16_t version, std::function<void()> frames_ready) override;
  void end_session() override;
  void take_frames(size_t bytes_max, std::vector<Bytes>& out) override;
  // DiskAnswer, DiskMarks, DiskSumAnswers, DiskProgress, DiskTrouble.
  Status on_message(const Message& message) override;
  bool resynchronised() const override;
  // The standby's image follows, so the guest's end can be brought to it.
  bool may_end() const override;
  // The standby's image has been failing for `patience`: what it says.  Once for each time.
  std::optional<std::string> take_standby_failure(Instant now, Duration patience) override;

  // ---- audits ----
  // Begins to compare the two images (core/disk/disk_audit.h).  False: not now.
  bool begin_audit() override;
  // What came of it; nullopt: not known yet, or the session has ended.
  std::optional<nlohmann::json> audit_result() const override;
  Progress progress() const override;

  // ---- the cut ----
  void begin_cut() override;
  // The guest stands.  An error: QEMU still has a write open, so this epoch must not be.
  Result<DiskBarrier::Count> cut() override;
  // After cut(): end_cut() would like to be told how often the guest has flushed.
  bool wants_flush_count() const override;
  // `flushes`: of the guest since QEMU was started, counted after cut(); nullopt: not known.
  void end_cut(std::optional<uint64_t> flushes) override;
  // The standby waits for an early cut to get on; `wake` is called when that becomes true.
  bool wants_cut() const override;
  void set_cut_wake(std::function<void()> wake) override;
  // Whether the standby keeps up: if not, a cut would only let through what it cannot take.
  bool may_cut() const override;
  // A flush is owed and its sync is under way: a cut now might wait for it.
  bool owes_sync() const override;

  // ---- the end ----
  void fence() override;
  // Blocks: waits for what has begun, then syncs the image.
  Status sync(bool vm_is_ours) override;

  nlohmann::json status() const override;
  const DirtyMap& map() const { return source_.map(); }

 private:
  struct Change {
    DiskReply reply;
    NbdRequest request;
    DiskRange range;
  };
  struct Copy {
    DiskSource::Step step;
    std::shared_ptr<AlignedBuffer> bytes;
  };

  // Requests: primary_disk.cc.
  void read(const NbdRequest& request, DiskReply reply);
  void block_status(const NbdRequest& request, DiskReply reply);
  void change(NbdRequest request, DiskReply reply);
  void flush(DiskReply reply);
  void let_in();
  bool may_begin();
  void acquire(LockId id, DiskRange range);
  void on_held(LockId id);
  void release(LockId id);
  void begin_change(LockId id);
  void on_changed(LockId id, int error);
  void update_map();
  void on_map_updated(int error);
  void sync_image();
  void on_synced(int error, Epoch over);
  void answer_flushes_early();
  // Under the mutex.
  bool answers_at_once() const { return cutting_ && !standing_; }
  bool must_be_judged() const { return standing_ && doubtful_ > 0; }
  bool doubtful_are_qemus(std::optional<uint64_t> flushes);
  void sync_if_due(Instant now);
  void note_error(const char* what, int error);

  // Synchronisation: primary_disk_session.cc.
  void copy_some();
  void read_for_copy(LockId id);
  void on_copy_read(LockId id, int error);
  void tell_sender();

  LocalDisk& disk_;

  // ---- the loop's ----
  RangeLock locks_;
  uint64_t next_id_ = 1;
  std::unordered_map<LockId, std::unique_ptr<Change>> changes_;  // begun, or waiting for their range or mark
  std::deque<std::unique_ptr<Change>> waiting_;                  // to be let in
  std::unordered_map<LockId, Copy> copies_;
  std::vector<LockId> marking_;
  MarkAhead mark_ahead_;
  bool map_busy_ = false;
  std::vector<DiskReply> flushes_;   // to be answered after the sync that begins next
  std::vector<DiskReply> flushing_;  // after the one under way
  bool syncing_ = false;
  bool owed_in_sync_ = false;
  Instant next_copy_;
  Instant last_sync_;

  // ---- under the mutex ----
  mutable std::mutex mutex_;
  DiskSource source_;
  bool cutting_ = false;
  bool standing_ = false;            // since cut(); QEMU is through with its stop
  bool owed_ = false;                // a flush of the guest was answered early
  uint64_t doubtful_ = 0;            // flushes answered in this cut that may be QEMU's own
  std::optional<uint64_t> counted_;  // QEMU's count of the guest's when it was asked last
  uint64_t since_counted_ = 0;       // flushes since then that are certainly the guest's
  uint64_t since_cut_ = 0;           // and since cut()
  bool fenced_ = false;
  size_t open_changes_ = 0;
  uint16_t version_ = 0;
  std::vector<Bytes> first_frames_;
  std::function<void()> frames_ready_;
  std::function<void()> cut_wake_;
  std::string error_;  // the first one
  StandbyTrouble standby_trouble_;
  struct Counters {
    uint64_t reads = 0, read_bytes = 0;
    uint64_t writes = 0, written_bytes = 0;
    uint64_t flushes = 0, early_flushes = 0, qemu_flushes = 0, syncs = 0;
    uint64_t waits = 0;  // changes that had to wait for the window or an owed sync
    uint64_t errors = 0;
  } counters_;
};

}  // namespace us
