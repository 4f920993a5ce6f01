// DiskReplica: one `replicated` disk on the standby: what its image is, what is done to it in which order, and what the
// primary is told.  Decides; the owner does one Op after the other on the files and says how it went.
//
//     begin_session() ─► kSyncing: records go straight to the image, in order
//                     ─► the first epoch is whole: sync, kConsistent, ready() for its Ack
//                     ─► later epochs: StagedWrites ─commit()─► EpochApplier (journal) ─► the image
//     audits: on_sum() after the first epoch ─► its granule, and what is staged over it, compared; no batch of a later
//             epoch is begun before that
//     the guest's end:  end() ─► all of it applied, kEnded: ended()
//     takeover:  end_session(), Ops until settled(), may_take_over(), go_live(), Ops until settled(), then serve
//
// What is written for good before what:
//   * marks of everything, before an image of which nothing is known becomes kSyncing: an interrupted synchronisation
//     must not look finished to the next one;
//   * kSyncing, before the first byte of the image changes;
//   * the image, before it is kConsistent; kConsistent, before the first journal record and before the marks go;
//   * kLive, with the journal void, before anything is served.
//
// Errors: a failed Op is offered again after retry(); meanwhile nothing moves, the primary's window fills and the guest
// waits.  After a failed sync the writes before it are repeated (fsync(2), EIO).  While an image is being synchronised
// those are not kept, so there a failed sync ends the session (broken()).  After recover() another one may begin; what
// was written before may be lost although it can still be read, so that one takes nothing for equal.
//
// A `shared` disk: nothing is copied; the primary itself brings the image to the first epoch and gives it to this host,
// which writes to it while the session lasts and what it has committed is not there yet (shared_turn.h has the whole):
//     begin_session() ─► the first epoch is whole: TakeImage, on_taken(), ready() ─► batches as above
//     end_session() ─► what has committed is applied ─► LetGo      give_up(): LetGo at once, it is the primary's again
//     takeover:  as above; go_live() takes the image again, and finds out whether anybody had it meanwhile (lost())
//
// Bounded: `staged_bytes_max` for what is staged, and the same for what is to be written directly.  What comes from the
// primary is untrusted: errors are ErrorKind::kProtocol or kRefused, and the session must end.  Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/disk/dirty_map.h"
#include "core/disk/epoch_applier.h"
#include "core/disk/image_record.h"
#include "core/disk/staged_writes.h"

namespace us {

class DiskReplica {
 public:
  struct Image {
    ImageRecord record;
    DirtyMap map;  // all marked, if there is none that fits
    // recover_journal(), and the newest sequence number there (0: none).
    std::optional<JournalRecord> replay;
    JournalSequence last;
  };
  // `shared`: of the image only its size counts; what it is is read when it is taken.
  DiskReplica(Image image, uint64_t staged_bytes_max, bool shared = false);

  // ---- a session ----
  struct Offer {
    ImageId image{};
    uint64_t disk_bytes = 0;
    uint32_t granule_bytes = 0;
    Generation generation;
    uint64_t session = 0;
    Epoch first;
  };
  struct Answer {
    bool refused = false;
    bool compare_all = false;
    std::string reason;
    std::optional<GranuleSet> marks;  // unless compare_all
  };
  Answer begin_session(const Offer& offer);
  // Nothing more comes.  What has not committed never was.
  void end_session();
  Status on_record(Epoch epoch, const DiskWrite& write);
  Status on_sum(uint64_t granule, uint64_t sum);
  // Whether the epoch is whole; before its Ack.
  Status check(Epoch epoch, const DiskBarrier::Count& expected) const;
  // After check(), before the Ack.  The first epoch is not ready before the image is consistent: until then it cannot
  // be taken over with.  Ask again after each Op.
  bool ready(Epoch epoch);
  void commit(Epoch epoch);
  // The guest has ended: `last` is its last epoch, of which everything has come, and nothing comes after it.  It
  // commits with this; once it is on the image for good, the record says that the image is what the guest left:
  // ended().
  Status end(Epoch last, const DiskBarrier::Count& expected);
  bool ended() const { return record_.state == ImageState::kEnded; }

  // ---- for the primary ----
  struct SumAnswer {
    uint64_t granule = 0;
    bool equal = false;
  };
  std::vector<SumAnswer> take_sum_answers() { return std::exchange(answers_, {}); }
  bool has_sum_answers() const { return !answers_.empty(); }
  struct Progress {
    uint64_t copied = 0;
    Epoch durable;
    bool operator==(const Progress&) const = default;
  };
  // nullopt: as last time.
  std::optional<Progress> poll_progress();

  // ---- what to do to the files ----
  struct WriteRecordFile {  // write `bytes` at `offset` of the record file, and sync it
    uint64_t offset = 0;
    Bytes bytes;
  };
  struct WriteMap {  // write the blocks to the map file; sync it if `must_sync`
    DirtyMap::Update update;
  };
  struct WriteImage {  // in any order, they are disjoint
    std::vector<DiskWrite> writes;
  };
  struct ReadGranule {  // and give granule_sum() of it, with `over` applied (apply_over()), to on_read()
    DiskRange range;
    std::vector<DiskWrite> over = {};
  };
  struct SyncImage {};
  struct WriteJournal {  // `start`, then the data of the writes in order, at `offset`
    uint64_t offset = 0;
    const Bytes* start = nullptr;
    const std::vector<DiskWrite>* writes = nullptr;
  };
  struct SyncJournal {};
  // Of a shared image: get the right to write (failed: another host has it), and give its record to on_taken().
  struct TakeImage {};
  struct LetGo {};  // give up that right
  using Op = std::variant<WriteRecordFile, WriteMap, WriteImage, ReadGranule, SyncImage, WriteJournal, SyncJournal,
                          TakeImage, LetGo>;
  // One at a time; nullopt: nothing to do now, or the last one failed and waits for retry().  Ask again after any
  // input.  Not `eager`: committed epochs may go on waiting for later ones, to be applied as one batch, which costs two
  // syncs whatever is in it; but not when much waits, and not when the session has ended.
  std::optional<Op> next_op(bool eager = true);
  void on_op_done();
  void on_read(uint64_t sum);
  void on_taken(const ImageRecord& in_file);
  void on_op_failed();
  bool failed() const { return failed_; }
  void retry() {
    failed_ = false;
    if (applier_) applier_->retry();
  }
  bool broken() const { return broken_; }  // the session cannot go on
  // The session has ended: another try.
  void recover();
  // Of a shared image: it was not what this host was promised; nothing was written.
  bool lost() const { return lost_; }
  // Of a shared disk, after end_session(): this host does not take over.
  void give_up();

  // ---- a takeover ----
  // No Op is wanted, and all that has committed is on the image.
  bool settled() const;
  Status may_take_over(const ImageEpoch& memory) const;
  // The next Op makes the record kLive.
  Status go_live(Generation generation);

  const ImageRecord& record() const { return record_; }  // as it is in the file
  const std::optional<ImageEpoch>& at() const { return at_; }
  const DirtyMap& map() const { return map_; }
  DirtyMap take_map() { return std::move(map_); }
  JournalSequence last_sequence() const { return applier_ ? applier_->sequence() : last_; }
  uint64_t waiting_bytes() const { return direct_bytes_ + staged_.bytes(); }
  Epoch committed() const { return committed_; }
  Epoch durable() const { return durable_; }

 private:
  enum class Doing : uint8_t {
    kNothing,
    kNewMap,
    kMap,
    kRecord,
    kDirect,
    kRead,
    kEarlySync,
    kFinalSync,
    kApplier,
    kAudit,
    kTake,
    kLetGo
  };
  struct Direct {
    std::optional<DiskWrite> write;
    uint64_t granule = 0, sum = 0;  // without a write: compare
  };
  void begin(const Offer& offer);
  // Of a shared image.
  std::optional<Op> drop_and_let_go();
  void lose();
  void want_record(ImageRecord next) { wanted_records_.push_back(std::move(next)); }
  std::optional<Op> choose(bool eager);
  DiskRange range_of(uint64_t granule) const;
  Status queue_audit(uint64_t granule, uint64_t sum);
  bool wants_batch() const;
  void end_when_applied();
  std::optional<Op> applier_op();
  Op direct_op();
  Op map_op(Doing what, DirtyMap::Update update);
  void on_applier_done();
  void on_audited(bool equal);
  void on_record_done();
  void take_direct(uint64_t count);
  Status judge_direct(DiskRange range) const;

  const uint64_t bytes_max_;
  ImageRecord record_;
  DirtyMap map_;
  const bool shared_;
  std::optional<ImageEpoch> at_;  // the committed epoch that the image is exactly at
  JournalSequence last_;
  std::optional<EpochApplier> applier_;
  StagedWrites staged_;

  // Of a shared image.
  ImageId offered_{};
  bool holds_ = false;  // this host may write
  bool live_ = false;   // ... for good: it has taken over
  bool given_up_ = false;
  bool lost_ = false;

  bool open_ = false;  // more may come
  uint64_t session_ = 0;
  Generation generation_;
  Epoch first_;
  Epoch committed_;
  Epoch durable_;
  std::deque<Direct> direct_;
  uint64_t direct_bytes_ = 0;
  uint64_t direct_records_ = 0, direct_data_ = 0;  // received
  uint64_t copied_ = 0;                            // done
  bool later_came_ = false;                        // something of an epoch after the first
  std::vector<SumAnswer> answers_;
  std::optional<Progress> told_;

  std::deque<ImageRecord> wanted_records_;  // changes of the record, in order
  bool new_map_ = false;                    // the map's file must be written anew, before the record
  uint64_t unsynced_ = 0;                   // bytes written directly since the last sync
  bool finishing_ = false;                  // the first epoch is whole: sync, then kConsistent
  bool final_synced_ = false;
  bool ending_ = false;  // what has committed is all that the guest has written

  Doing doing_ = Doing::kNothing;
  uint64_t doing_count_ = 0;  // of direct_ in the Op
  bool failed_ = false;
  bool broken_ = false;
  struct Audited {
    uint64_t granule = 0, sum = 0;
    std::vector<DiskWrite> over;  // what was staged when it came
  };
  std::deque<Audited> audits_;
  // Not told yet: the primary sends no more than it has answers for, so a batch that waits for audits is not kept
  // waiting by ever new ones.
  std::vector<SumAnswer> audit_answers_;
  bool differs_ = false;  // an audit has said so

  bool doubtful_ = false;  // what can be read of the image may not be on the medium
};

}  // namespace us
