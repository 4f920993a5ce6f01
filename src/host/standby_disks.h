// StandbyDisks: all writable disks of a VM on the host that waits for it.
//
//     open() ─► endpoints() into QEMU's command line ─► begin_session() ─► on_message() …
//         { on_message(records …); check(e, barrier); Ack; commit(e) } for each epoch ─► end_session()
//     takeover: end_session(); take_over() ─► PrimaryDisks with the same images and the same connection to QEMU
//
// A VM without writable disks has empty() ones, and every call does nothing.
//
// Threads: the calls of a session come from one thread, the receiver's, and do not wait for a disk.  open() and
// take_over() do.  `send` and `failed` are called on the disks' threads.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "host/local_disk.h"
#include "host/primary_disks.h"
#include "host/standby_disk.h"

namespace us {

class StandbyDisks {
 public:
  using Hooks = StandbyDisk::Hooks;
  static Result<std::unique_ptr<StandbyDisks>> open(const VmConfig& config, const LocalDiskOptions& options);
  ~StandbyDisks();

  bool empty() const { return disks_.empty(); }
  std::vector<DiskEndpoint> endpoints() const;

  // Why no session should begin now: an image cannot be written.  nullopt: it may.
  std::optional<std::string> obstacle() const;
  void begin_session(Generation generation, SessionId session, uint16_t version, const Hooks& hooks);
  // DiskOffer, DiskRecords, DiskSums.  Errors: the primary has failed, and the session must end.
  Status on_message(const Message& message);
  // Whether the disks have all of the epoch; before its Ack.  `barrier`: the side state of kind kDiskBarrier.
  Status check(Epoch epoch, ByteSpan barrier) const;
  // After check(), before the Ack: false while an image is not consistent yet (DiskReplica::ready()); `send` is called
  // when that may have changed.
  bool ready(Epoch epoch);
  void commit(Epoch epoch);
  // There is a last epoch to come when the guest has ended.
  bool await_end() const;
  // The guest has ended; `barrier` is that of its last epoch, which commits with this.  Errors: as check().
  Status end(Epoch last, ByteSpan barrier);
  // Every image is at that epoch for good, and says that the guest has ended there.
  bool ended() const;
  // What has not committed never was.
  void end_session();
  // This host does not take over: shared images are the primary's again.
  void give_up();

  // Waits until everything committed is on the images, judges them against the memory's epoch, and makes them `own`'s,
  // durably.  This object is empty afterwards.  Errors: the guest must not go on here.
  Result<std::unique_ptr<PrimaryDisks>> take_over(Generation own, const ImageEpoch& memory, Instant deadline);

  nlohmann::json status() const;

 private:
  StandbyDisks() = default;
  // The counts of these disks, in order.
  Result<std::vector<DiskBarrier::Count>> counts_of(Epoch epoch, ByteSpan barrier) const;

  std::vector<std::unique_ptr<LocalDisk>> local_;
  std::vector<std::unique_ptr<StandbyDisk>> disks_;
};

}  // namespace us
