// SharedDisk: one `shared` disk on the host that runs the guest: one image that both hosts reach, written by this host
// while it is alone, and by its standby while there is one (core/disk/shared_turn.h).
//
//     alone:            write ─► RangeLock ─► image ─► answered        flush ─► image synced ─► answered
//     with a standby:   write ─► room in the window? ─► held in memory, and in the stream ─► answered
//                       flush ─► answered          read ─► the image, with what is held over it
//     alone again:      as with a standby, until everything held is on the image; flushes wait for that
//
// Errors of the image go to the guest as they are while this host writes; the standby's are DiskTrouble, and make the
// guest wait when the window is full.  An image that another host has written to meanwhile answers EIO for good.
// After fence() nothing more is begun and nothing is answered.
//
// Threads: guest_disk.h.  One mutex, never held across I/O.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/disk/disk_source.h"
#include "core/disk/range_lock.h"
#include "core/disk/shared_turn.h"
#include "core/replica/disk_frames.h"
#include "host/guest_disk.h"
#include "host/local_disk.h"
#include "host/standby_trouble.h"

namespace us {

class SharedDisk final : public GuestDisk {
 public:
  // `disk` outlives this, and its loop is stopped before this goes.  Its image is live, and locked for this host.
  explicit SharedDisk(LocalDisk& disk);

  void start(NbdRequest request, DiskReply reply) override;
  void on_wake() override;

  void begin_session(Epoch first, SessionId session, uint16_t version, std::function<void()> frames_ready) override;
  void end_session() override;
  void take_frames(size_t bytes_max, std::vector<Bytes>& out) override;
  Status on_message(const Message& message) override;
  bool resynchronised() const override;
  std::optional<std::string> take_standby_failure(Instant now, Duration patience) override;
  // There are no two images to compare: it is finished at once, with nothing compared.
  bool begin_audit() override { return true; }
  std::optional<nlohmann::json> audit_result() const override;
  void go_on_alone(Generation own) override;

  void begin_cut() override;
  Result<DiskBarrier::Count> cut() override;
  void end_cut(std::optional<uint64_t> flushes) override;
  bool wants_cut() const override;
  void set_cut_wake(std::function<void()> wake) override;
  bool may_cut() const override;
  bool owes_sync() const override { return false; }

  void fence() override;
  Status sync(bool vm_is_ours) override;
  nlohmann::json status() const override;

 private:
  struct Change {
    DiskReply reply;
    NbdRequest request;
    DiskRange range;
  };
  enum class Way : uint8_t { kWait, kHold, kImage, kRefuse };

  // Requests: shared_disk.cc.
  void read(const NbdRequest& request, DiskReply reply);
  void block_status(const NbdRequest& request, DiskReply reply);
  void change(NbdRequest request, DiskReply reply);
  void flush(DiskReply reply);
  Way way() const;
  void let_in();
  void hold(std::unique_ptr<Change> change);
  void begin_change(LockId id);
  void on_changed(LockId id, int error);
  void sync_image();
  void on_synced(int error);
  void note_error(const char* what, int error);

  // Whose turn it is, and the session: shared_disk_session.cc.
  void pump();
  void on_op_done(const DiskReplica::Op& op, DiskImage::Taken& taken, int error);
  void note_op(const DiskReplica::Op& op, int error);
  void tell_sender();

  LocalDisk& disk_;

  // ---- the loop's ----
  RangeLock locks_;
  uint64_t next_id_ = 1;
  std::unordered_map<LockId, std::unique_ptr<Change>> changes_;  // on their way to the image
  std::deque<std::unique_ptr<Change>> waiting_;                  // to be let in
  std::vector<DiskReply> flushes_;                               // to be answered after the sync that begins next
  std::vector<DiskReply> flushing_;                              // after the one under way
  bool syncing_ = false;
  bool busy_ = false;  // with an Op of turn_
  Instant retry_at_;

  // ---- under the mutex ----
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  DiskSource source_;
  SharedTurn turn_;
  Generation generation_;  // of the guest here
  SessionId session_{};
  Epoch first_;
  bool cutting_ = false;
  bool fenced_ = false;
  bool sync_failed_ = false;  // what this host wrote may not be on the image
  size_t open_changes_ = 0;
  uint16_t version_ = 0;
  std::vector<Bytes> first_frames_;
  std::function<void()> frames_ready_;
  std::function<void()> cut_wake_;
  std::string error_;    // the first one
  std::string trouble_;  // why the image cannot be given or taken back
  StandbyTrouble standby_trouble_;
  struct Counters {
    uint64_t reads = 0, read_bytes = 0;
    uint64_t writes = 0, written_bytes = 0;
    uint64_t flushes = 0, syncs = 0, held = 0;
    uint64_t waits = 0;
    uint64_t errors = 0;
  } counters_;
};

}  // namespace us
