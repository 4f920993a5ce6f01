// DiskSource: one `replicated` disk on the primary: what of its image the standby gets, in which order, and when the
// guest waits.  Puts DirtyMap, ResyncPlan and EpochWriteLog together; the owner does the I/O and keeps the RangeLock.
//
//     kSolo ──begin_session()──► kOffered ──on_answer(), on_marks()──► kResyncing ──first cut()──► kFollowed
//       ▲                            │                                     │                          │
//       └────────────────────────────┴────────── end_session() ────────────┴──────────────────────────┘
//
// A write of the guest, with its range held from before the first line to after the last:
//     prepare() until kReady ─► write the image ─► on_written() or on_write_failed() ─► answer the guest
// begun only while wants_writes().
//
// kResyncing: the standby writes what it gets straight to its image, in the order of the stream (copied granules,
// checksums to compare, writes of the guest), and says how far it is.  resynchronised(): everything has been read and
// every answer is in; then, and not before, the first epoch may be cut.  From that cut on, records wait there for their
// epoch (EpochWriteLog).
//
// Audits: once the standby follows, begin_audit() has every granule read and compared (disk_audit.h), by the same steps
// and answers as a resynchronisation.  A place that differs is marked, so the next resynchronisation mends it.
//
// The marks of both hosts go once the standby has said that its image is consistent *and* this image has been synced
// since that cut (dirty_map.h).
//
// Bounded: what the standby has not confirmed is charged at most `window_bytes` and one write for each that was begun.
//
// A `shared` disk: there is nothing to mark and nothing to copy.  While the standby has the image, from the first cut()
// until this host has taken it back (shared_turn.h), a write is hold() instead of the above.
//
// What comes from the standby is untrusted: errors are ErrorKind::kProtocol, and the session must end.  Pure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <optional>

#include "core/disk/dirty_map.h"
#include "core/disk/disk_audit.h"
#include "core/disk/epoch_write_log.h"
#include "core/disk/held_writes.h"
#include "core/disk/resync_plan.h"

namespace us {

// Records that are sent before the end of their epoch.
inline constexpr uint64_t kStreamBytesAtOnce = 128 * 1024;

// Of a granule's bytes, to compare it (XXH3-64).
uint64_t granule_sum(ByteSpan bytes);

class DiskSource {
 public:
  enum class State : uint8_t { kSolo, kOffered, kResyncing, kFollowed };
  DiskSource(DiskIndex disk, uint64_t window_bytes, DirtyMap map, bool shared = false);

  // ---- the guest's writes ----
  bool wants_writes() const { return unconfirmed_bytes() < window_bytes_; }
  // The window cannot empty without a cut.
  bool wants_cut() const { return state_ == State::kFollowed && log_.wants_cut(); }
  // False: over the window, and the standby has yet to apply what has been cut.  Another cut lets through the writes
  // that wait for room (QEMU drains), so it would add to that without end.
  bool may_cut() const {
    return state_ == State::kSolo || state_ == State::kOffered || wants_writes() ||
           (direct_bytes_open_ == 0 && !log_.has_cut());
  }
  DirtyMap::Ready prepare(DiskRange range) {
    return shared_ ? DirtyMap::Ready::kReady : map_.prepare(range, write_epoch());
  }
  void on_written(const DiskWrite& write);
  void on_write_failed(DiskRange range) {
    if (!shared_) map_.on_write_failed(range);
  }
  // Of a shared disk.
  void hold(const DiskWrite& write);
  HeldWrites& held() { return held_; }
  const HeldWrites& held() const { return held_; }
  // For a sync of the local image: call over() before it begins, and on_local_sync() with that once it has succeeded.
  Epoch over() const { return over_; }
  void on_local_sync(Epoch over);
  // Nothing but a sync of the local image keeps marks from going; those of the first synchronisation, or later ones.
  bool awaits_local_sync() const {
    return state_ == State::kFollowed && durable_ >= first_ && synced_ < durable_ &&
           (!marks_confirmed_ || map_.awaits_confirmation());
  }
  bool marks_confirmed() const { return marks_confirmed_; }
  // poll_update() and its answers are the owner's business.
  DirtyMap& map() { return map_; }
  const DirtyMap& map() const { return map_; }

  // ---- a session ----
  // The offer goes out.  `first` is the first epoch that can be cut.
  void begin_session(Epoch first);
  // The standby's answer.  kMarks: `marked` granules are marked there, and on_marks() follows until all have come.
  Status on_answer_marks(uint64_t marked);
  Status on_answer_compare_all();
  Status on_marks(uint64_t first_granule, ByteSpan bits);
  Status on_sum_answers(ByteSpan answers);  // DiskSumAnswers
  Status on_progress(uint64_t copied, Epoch durable);
  // Ends the running epoch, with no write in flight.  In kResyncing: only when resynchronised().
  DiskBarrier::Count cut();
  void end_session();

  // What to read for the standby, with the range held: then on_copied(), on_compared() or on_read_failed(), and only
  // then let go of the range.  nullopt: nothing now (ask again after any input).  A step that outlives its session is
  // ignored.
  struct Step {
    uint64_t session = 0;
    ResyncPlan::Step what;
  };
  std::optional<Step> poll_step();
  void on_copied(const Step& step, DataSlice bytes);
  void on_compared(const Step& step, uint64_t sum);
  void on_read_failed(const Step& step);

  // ---- audits ----
  // False: the standby does not follow yet, or an audit is under way.
  bool begin_audit();
  // The latest of this session; nullopt: none.
  const std::optional<DiskAudit>& audit() const { return audit_; }

  // ---- the stream, in this order ----
  struct Sum {
    uint64_t granule = 0;
    uint64_t sum = 0;
  };
  struct StreamItem {
    bool is_sum = false;
    WriteRecord record;
    Sum sum;
  };
  std::optional<StreamItem> poll_stream();
  bool has_stream() const { return !direct_.empty() || log_.has_records() || !audit_sums_.empty(); }
  // It is worth sending now.  The records of an epoch are not needed there before its end, and to send each when it
  // comes would wake a thread here and two there for every small write.
  bool wants_sender() const {
    return !direct_.empty() || !audit_sums_.empty() || log_.unpolled_bytes() >= kStreamBytesAtOnce ||
           (state_ != State::kFollowed && log_.has_records());
  }

  // ---- what an operator asks ----
  DiskIndex disk() const { return disk_; }
  State state() const { return state_; }
  bool resynchronised() const {
    return state_ == State::kFollowed || (state_ == State::kResyncing && plan_->finished());
  }
  Epoch durable() const { return durable_; }  // on the standby
  uint64_t unconfirmed_bytes() const { return std::max(direct_bytes_open_ + log_.unapplied_bytes(), held_.bytes()); }
  ResyncPlan::Progress progress() const { return plan_ ? plan_->progress() : ResyncPlan::Progress{}; }

 private:
  Epoch write_epoch() const;
  bool current(const Step& step) const {
    return step.session == sessions_ && (state_ == State::kResyncing || (state_ == State::kFollowed && audit_));
  }
  std::optional<Step> poll_audit();
  void start_resync(ResyncPlan::Mode mode);
  void append_direct(const DiskWrite& write);
  void confirm();

  DiskIndex disk_;
  uint64_t window_bytes_;
  DirtyMap map_;
  bool shared_;
  HeldWrites held_;  // of a shared disk
  State state_ = State::kSolo;
  uint64_t sessions_ = 0;  // begun so far
  Epoch first_;
  Epoch over_;     // newest epoch that has been cut in this session
  Epoch synced_;   // this image holds every write up to it for good
  Epoch durable_;  // the standby's does
  bool marks_confirmed_ = false;

  std::optional<GranuleSet> marks_;  // of the standby, while they come
  uint64_t marks_left_ = 0;
  uint64_t marks_next_ = 0;
  std::optional<ResyncPlan> plan_;

  // Before the first cut.
  std::deque<StreamItem> direct_;
  std::deque<uint64_t> direct_charges_;  // of records that the standby's image does not hold yet
  uint64_t direct_bytes_open_ = 0;
  uint64_t direct_records_ = 0, direct_data_ = 0, direct_sent_ = 0, direct_done_ = 0;
  EpochWriteLog log_;  // from the first cut on
  std::optional<DiskAudit> audit_;
  struct AuditSum {
    uint64_t after = 0;  // so many records of the log
    Sum sum;
  };
  std::deque<AuditSum> audit_sums_;  // not polled yet
};

}  // namespace us
