// SourceDisk: the disk of a primary (host/primary_disks.h) around the real DiskSource: writes of the guest, the marks
// that go ahead of them, reads for the standby, syncs; each I/O is a step.  Of a `shared` disk (host/shared_disk.h)
// also the real SharedTurn.
#pragma once

#include <deque>
#include <functional>
#include <optional>

#include "core/disk/disk_source.h"
#include "core/disk/image_record.h"
#include "core/disk/range_lock.h"
#include "core/disk/shared_turn.h"
#include "core/replica/disk_frames.h"
#include "sim/disk_files.h"
#include "sim/guest_disk.h"

namespace us::sim {

class Host;

class SourceDisk {
 public:
  struct Hooks {
    std::function<void()> frames_ready;
    std::function<void(const GuestWrite&, bool)> done;  // the guest is told
    std::function<void()> direct;                       // a shared image has been taken back
  };
  SourceDisk(Host& host, DiskFiles& files, ImageRecord record, DirtyMap map, Hooks hooks);

  void submit(const GuestWrite& write);
  bool idle() const { return writes_.empty(); }
  // A cut is near: what waits for room is let through, or the window and the drain wait for each other.
  void set_draining(bool draining);
  bool may_cut() const { return source_.may_cut(); }
  bool wants_cut() const { return source_.wants_cut(); }
  // The generation in which the VM runs has changed.
  void follow_generation(Generation generation);

  Bytes begin_session(Epoch first, SessionId session);
  void end_session();
  Status on_message(const Message& message);
  std::vector<Bytes> take_frames();
  bool resynchronised() const {
    return source_.resynchronised() && (source_.state() == DiskSource::State::kFollowed || !turn_ || turn_->direct());
  }
  // The guest stands, and idle().  The barrier of the epoch.
  Bytes cut(Epoch epoch);
  bool may_end() const {
    return !turn_ && source_.state() == DiskSource::State::kFollowed && source_.durable() != Epoch{};
  }
  // The standby's image is what the guest left, at `last`: this one too, and it says so.  False: that failed.
  bool mark_ended(const ImageEpoch& last);
  // The guest has ended, and nobody takes over any more.  False: the image is being taken back.
  bool finish(Generation generation);
  // The whole disk as the guest reads it.
  Bytes view() const;

 private:
  struct Write {
    LockId id;
    GuestWrite guest;
    bool held = false;
    bool under_way = false;
  };
  struct Reading {
    LockId id;
    DiskSource::Step step;
    bool held = false;
  };
  void pump();
  void start_writes();
  bool hold_writes();
  void take_turn();
  void on_turn(const SharedTurn::Op& op);
  void start_reads();
  void update_map();
  void begin(Write& write);
  void finish(LockId id, const DiskWrite& write, bool written);
  void read(LockId id);
  void release(LockId id);
  void sync_now_and_then();
  void judge_audit();

  Host& host_;
  DiskFiles& files_;
  ImageRecord record_;
  DiskSource source_;
  std::optional<SharedTurn> turn_;  // of a shared disk
  bool turn_busy_ = false;
  ImageEpoch first_;
  RangeLock locks_;
  Hooks hooks_;
  uint64_t next_id_ = 1;
  std::deque<Write> writes_;
  std::deque<Reading> reads_;
  bool draining_ = false;
  bool map_busy_ = false;
  bool record_busy_ = false;
  uint64_t syncs_ = 0;
};

}  // namespace us::sim
