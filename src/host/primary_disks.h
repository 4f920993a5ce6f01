// PrimaryDisks: all writable disks of a VM on the host that runs its guest.
//
//     open() ─► endpoints() into QEMU's command line ─► go_live() ─► the guest runs
//     begin_session() ─► take_frames(), on_message() … until ready_to_cut() ─►
//         { begin_cut(); QMP stop; cut(e); QMP cont; end_cut(); … on_message(progress) } for each epoch ─►
//         end_session()
//
// A VM without writable disks has empty() ones, and every call does nothing.
//
// Threads: every member may be called from any thread unless it says otherwise; none waits for a disk except open(),
// go_live(), mark_stale() and sync_images().  Callbacks come from the disks' own threads, with no lock held.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "core/replica/wire.h"
#include "host/guest_disk.h"
#include "host/local_disk.h"
#include "qemu/block_stats.h"

namespace us {

class PrimaryDisks {
 public:
  // Begins to serve; what QEMU asks for waits until go_live().  Errors: local_disk.h.
  static Result<std::unique_ptr<PrimaryDisks>> open(const VmConfig& config, const LocalDiskOptions& options);
  // After a takeover: the images are live already.
  static Result<std::unique_ptr<PrimaryDisks>> from_standby(std::vector<std::unique_ptr<LocalDisk>> disks,
                                                            std::vector<DirtyMap> maps);
  // QEMU has gone, or is told nothing any more.
  ~PrimaryDisks();

  bool empty() const { return disks_.empty(); }
  bool are_replicated() const;  // one of them, at least
  std::vector<DiskEndpoint> endpoints() const;

  // The guest starts here, from the disks alone, as generation `own`, which the caller has claimed.  `newest`: the
  // newest one before it (0: none), which ran on this host or not.  Errors (ErrorKind::kRefused): an image that must
  // not be served, and why; nothing is served then.  `force`: the operator says that this host's images are the ones to
  // go on with, whatever the other host has.
  // may_go_live() judges the same and changes nothing: to be asked before the generation is claimed.
  Status may_go_live(Generation newest, bool newest_was_here, bool force) const;
  Status go_live(Generation own, Generation newest, bool newest_was_here, bool force);

  // The same guest goes on here as a newer generation (it was isolated, and was given the VM again).  Blocks.
  Status advance(Generation own);
  // There is no session, and the guest runs here as `own`: shared images are taken back from the standby, while the
  // guest goes on.  May be called again and again.
  void go_on_alone(Generation own);

  // ---- a session with a standby ----
  void begin_session(Epoch first, SessionId session, uint16_t version, const std::function<void()>& frames_ready);
  void end_session();
  // Complete frames, in order, about `bytes_max` of them; empty: none now.  For the stream's sender.
  std::vector<Bytes> take_frames(size_t bytes_max = size_t{1} << 20);
  // A message about a disk (disk_of()).  Errors: the standby has failed, and the session must end.
  Status on_message(const Message& message);
  // An image of the standby has been failing for `patience`: what it says.  The guest must not wait for it for ever,
  // and the standby could not take over.  Once for each time.
  std::optional<std::string> take_standby_failure(Instant now, Duration patience);
  // Begins to compare all images of the two hosts while the guest runs.  False: not now.
  bool begin_audit();
  // One object for each disk; nullopt: not known yet.
  std::optional<nlohmann::json> audit_result() const;
  uint64_t bytes() const;
  // Every disk has been synchronised: the first epoch may be cut.
  bool ready_to_cut() const;
  // Of all disks: what is to be copied or compared, and what is known to be equal.
  GuestDisk::Progress progress() const;

  // ---- the cut: the engine's thread ----
  // Just before QEMU is told to stop.  From here on a flush does not wait for the disk, and no write for the window.
  void begin_cut();
  // The guest stands: the side state of kind kDiskBarrier.  Only in a session that is ready_to_cut().
  Result<Bytes> cut(Epoch epoch);
  // After cut(): end_cut() would save a sync if it were given the flushes that QEMU counts from now on.
  bool wants_flush_counts() const;
  // The guest runs again, or is told to; also when the cut came to nothing.
  void end_cut(const FlushCounts& counts = {});
  // An early cut would let the guest get on.
  bool wants_cut() const;
  void set_cut_wake(const std::function<void()>& wake);
  // False: the standby's disk is so far behind that a cut must wait for it; set_cut_wake()'s callback comes when not.
  bool may_cut() const;
  // A sync that an earlier cut put off is under way: a cut now might have to wait for it.
  bool owes_sync() const;

  // ---- the end ----
  // This host must not go on: at once, nothing more is begun and nothing is answered.
  void fence();
  // Generation `other` runs elsewhere: the images say so from now on, durably.  After fence().
  Status mark_stale(Generation other);
  // The guest has ended: everything written is on the medium.  `vm_is_ours`: the arbiter or the standby has been told,
  // so nobody takes it over any more.  Shared images are taken back then.
  Status sync_images(bool vm_is_ours);
  // The standby follows with every disk: a last cut, with the guest standing for good, makes its images what the guest
  // left.  Never with a shared disk.
  bool may_end() const;
  // It has said that they are, at `last`; so are these, after sync_images(), and they say so from now on, durably.
  Status mark_ended(const ImageEpoch& last);

  nlohmann::json status() const;

 private:
  explicit PrimaryDisks(std::vector<std::unique_ptr<LocalDisk>> disks) : local_(std::move(disks)) {}
  void serve(std::vector<DirtyMap> maps);

  std::vector<std::unique_ptr<LocalDisk>> local_;
  std::vector<std::unique_ptr<GuestDisk>> disks_;
  std::vector<DiskEndpoint> endpoints_;
};

}  // namespace us
