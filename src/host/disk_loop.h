// DiskLoop: the thread of one disk: its NBD socket, its I/O, and whoever the disk is to (DiskRole).
//
//     QEMU ──► socket ──► NbdSession ──► role.start(request, reply) ──► … ──► complete(reply, …) ──► QEMU
//                                        role.on_wake()  ◄── wake(), from any thread; and every tick
//
// One client at a time, QEMU: a second connection is closed at once, so that nobody else writes to a disk that is in
// use.  The role is exchanged at a takeover while QEMU stays connected; a request that is open then is completed by the
// new one never (a standby's QEMU makes none that it could not answer at once).
//
// Threads: everything is the loop's own, except where it says "any thread".
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "core/nbd/session.h"
#include "host/disk_io.h"

namespace us {

// Whose answer: of which client, of which request.
struct DiskReply {
  uint64_t client = 0;
  NbdTicket ticket;
};

// One request of the guest on its way.  Every one is completed exactly once, or never, if the guest must not go on.
class DiskRole {
 public:
  virtual ~DiskRole() = default;
  virtual void start(NbdRequest request, DiskReply reply) = 0;
  // After wake(), and at least every kDiskTick.
  virtual void on_wake() = 0;
};
inline constexpr Duration kDiskTick = Duration::millis(250);

struct DiskLoopOptions {
  std::string socket_path;  // of the current user alone (0600)
  NbdExport disk;
  NbdLimits limits;
  std::string name;  // for logs
};

class DiskLoop {
 public:
  // Listens when it returns; the first role comes with set_role(), and until then requests wait.
  static Result<std::unique_ptr<DiskLoop>> start(DiskLoopOptions options, std::unique_ptr<DiskIo> io);
  // As stop().
  virtual ~DiskLoop() = default;
  // Stops the thread; the role is not called any more.  Requests that are open stay unanswered, and their connection is
  // closed.
  virtual void stop() = 0;

  // Any thread but the loop's.  Returns when the old role is not called any more; nullptr: requests wait.
  virtual void set_role(DiskRole* role) = 0;
  // Any thread but the loop's: runs it there and waits.
  virtual void run(const std::function<void()>& work) = 0;
  // Any thread.
  virtual void wake() = 0;

  // ---- for the role, on the loop's thread ----
  virtual DiskIo& io() = 0;
  virtual void complete(DiskReply reply, int error) = 0;  // 0 or an errno
  virtual void complete_read(DiskReply reply, AlignedBuffer data) = 0;
  virtual void complete_status(DiskReply reply, std::span<const NbdExtent> extents) = 0;
};

}  // namespace us
