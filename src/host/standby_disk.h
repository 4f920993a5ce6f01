// StandbyDisk: one writable disk on the host that waits: carries out what DiskReplica wants done to the files, one
// Op after the other, and tells the primary how far it is.
//
//     primary's messages ─► DiskReplica ─► Op ─► the pool's threads ─► DiskReplica ─► frames for the primary
//
// A file that cannot be written (full, failing) stops it there: the primary is told, the Op is repeated every second,
// and the primary's window makes the guest wait.  Nothing is lost meanwhile, and memory stays bounded.  Where it cannot
// be repeated (a failed sync while the image is being synchronised) the session ends, and after a pause of some seconds
// another one may begin.  As long as there is an obstacle(), no primary is accepted.
//
// QEMU is connected all the time, with a guest that does not run: what it reads is answered from the image as it is.
//
// Threads: start() and on_wake() are the loop's; all else is for any thread and does not wait for a disk, except
// settle().  `send` and `failed` are called on the loop's thread, with no lock held.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/disk/disk_replica.h"
#include "core/replica/disk_frames.h"
#include "host/disk_loop.h"
#include "host/local_disk.h"

namespace us {

class StandbyDisk final : public DiskRole {
 public:
  struct Hooks {
    std::function<void(Bytes frame)> send;           // a whole frame for the primary
    std::function<void(std::string reason)> failed;  // the session cannot go on
  };
  // Reads map and journal; makes them where there are none.
  static Result<std::unique_ptr<StandbyDisk>> open(LocalDisk& disk);

  // ---- the loop's thread ----
  void start(NbdRequest request, DiskReply reply) override;
  void on_wake() override;

  // Why a session that began now could not be served; nullopt: it could.
  std::optional<std::string> obstacle() const;

  // ---- a session ----
  void begin_session(Generation generation, SessionId session, uint16_t version, const Hooks& hooks);
  void end_session();
  // DiskOffer, DiskRecords, DiskSums.
  Status on_message(const Message& message);
  Status check(Epoch epoch, const DiskBarrier::Count& expected) const;
  bool ready(Epoch epoch);
  void commit(Epoch epoch);
  // The guest's last epoch (DiskReplica::end()), and whether the image is at it and says so.
  Status end(Epoch last, const DiskBarrier::Count& expected);
  bool ended() const;
  // After end_session(): this host does not take over.  A shared image is let go of, whatever is not on it.
  void give_up();

  // ---- a takeover: after end_session() ----
  // Blocks until all that has committed is on the image for good.  Errors: that did not happen until `deadline`.
  Status settle(Instant deadline);
  Status may_take_over(const ImageEpoch& memory) const;
  // Blocks until the record says so.
  Status go_live(Generation own, Instant deadline);
  // Only after go_live(), and with the role taken away from the loop.
  DirtyMap take_map();

  nlohmann::json status() const;

 private:
  StandbyDisk(LocalDisk& disk, DiskReplica::Image image);
  struct ImageWrites {
    std::vector<DiskWrite> writes;
    size_t next = 0;
    size_t open = 0;
    int error = 0;
  };

  void pump();
  // granule_sum() of the range, if that needs no waiting for the disk.
  std::optional<uint64_t> sum_at_once(const DiskReplica::ReadGranule& op) const;
  void perform(const DiskReplica::WriteRecordFile& op);
  void perform(DiskReplica::WriteMap& op);
  void perform(DiskReplica::WriteImage& op);
  void perform(const DiskReplica::ReadGranule& op);
  void perform(const DiskReplica::SyncImage& op);
  void perform(const DiskReplica::WriteJournal& op);
  void perform(const DiskReplica::SyncJournal& op);
  void perform(const DiskReplica::TakeImage& op);
  void perform(const DiskReplica::LetGo& op);
  void on_taken(const ImageRecord& record);
  void on_taken_by_another();
  void write_more(const std::shared_ptr<ImageWrites>& work);
  void op_done(const char* what, int error);
  void try_again();
  void note_failure(const char* what, int error, std::vector<Bytes>& out);
  // Answers the offer once what came before it is done.
  void take_offer();
  void tell_primary();
  void send_all(std::vector<Bytes> frames);

  LocalDisk& disk_;

  // ---- the loop's ----
  bool busy_ = false;
  Instant retry_at_;
  Instant next_batch_;  // a small one is not begun earlier

  // ---- under the mutex ----
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  DiskReplica replica_;
  Generation generation_;
  SessionId session_{};
  uint16_t version_ = 0;
  Hooks hooks_;
  std::optional<DiskReplica::Offer> offer_;  // not answered yet
  std::vector<Bytes> answers_;               // to be sent by the loop
  std::string trouble_;
  uint64_t written_bytes_ = 0;
};

}  // namespace us
