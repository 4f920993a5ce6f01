// GuestDisk: one writable disk on the host that runs the guest, of either kind of storage: PrimaryDisk (`replicated`)
// or SharedDisk (`shared`).  What each call means: primary_disks.h.
//
// Threads: start() and on_wake() are the loop's; all else may be called from any thread, and none of it blocks except
// sync().
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "core/disk/write_record.h"
#include "core/replica/wire.h"
#include "host/disk_loop.h"

namespace us {

class GuestDisk : public DiskRole {
 public:
  virtual void begin_session(Epoch first, SessionId session, uint16_t version, std::function<void()> frames_ready) = 0;
  virtual void end_session() = 0;
  virtual void take_frames(size_t bytes_max, std::vector<Bytes>& out) = 0;
  virtual Status on_message(const Message& message) = 0;
  virtual bool resynchronised() const = 0;
  struct Progress {
    uint64_t total_bytes = 0;  // to be copied or compared
    uint64_t done_bytes = 0;   // known to be equal
  };
  virtual Progress progress() const { return {}; }
  // A tidy end brings both images to the guest's last epoch; there is none of a shared one.
  virtual bool may_end() const { return false; }
  virtual std::optional<std::string> take_standby_failure(Instant now, Duration patience) = 0;
  virtual bool begin_audit() = 0;
  virtual std::optional<nlohmann::json> audit_result() const = 0;
  // There is no session, and this host runs the guest as `own`.  Nothing to do: nothing happens.
  virtual void go_on_alone(Generation) {}

  virtual void begin_cut() = 0;
  virtual Result<DiskBarrier::Count> cut() = 0;
  // What wants_flush_count() is for: primary_disk.h.
  virtual bool wants_flush_count() const { return false; }
  virtual void end_cut(std::optional<uint64_t> flushes) = 0;
  virtual bool wants_cut() const = 0;
  virtual void set_cut_wake(std::function<void()> wake) = 0;
  virtual bool may_cut() const = 0;
  virtual bool owes_sync() const = 0;

  virtual void fence() = 0;
  // The guest has ended: everything it wrote is on the medium.  `vm_is_ours`: nobody can take it over any more.
  virtual Status sync(bool vm_is_ours) = 0;
  virtual nlohmann::json status() const = 0;
};

}  // namespace us
