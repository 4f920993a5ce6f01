// DataPath: all network traffic of one VM.  Owns one thread, and in it a NicPort for each NIC.
//
// Life of a primary:      start() (kHeld) → set_mode(kSolo) → … → set_epoch(1), set_mode(kProtected) → { stop the VM;
// quiescent(); set_epoch(k+1); continue the VM; …; commit(k) } for each epoch, extend_lease() all the while.
// Life of a standby:      start() (kHeld); restore_addresses() with each epoch; at takeover set_mode(kSolo),
// announce().
//
// A standby whose VM does not run transmits nothing and reads nothing: the rings are stopped, the gate is held.
// QEMU connects to each DataPathNic::vhost_socket_path, and may go and come again.
//
// Every member may be called from any thread; none blocks (short locks only).  What was handed to the kernel before
// set_mode(kHeld) or the end of the lease is on its way: at most one frame per NIC may still be in such a call.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "base/strong.h"
#include "base/time.h"
#include "core/memory/dirty_set.h"
#include "host/nic_port.h"
#include "host/relay_hub.h"
#include "os/epoll.h"
#include "os/event_fd.h"

namespace us {

// What a takeover waits for here; zero: not yet.
struct AnnouncementTimes {
  Instant announced;    // the first burst is in the network
  Instant first_frame;  // of the guest, or of a relay for it
};

struct DataPathCounters {
  NicCounters nic;    // of all NICs together
  GateCounters gate;  // of all gates together
  std::vector<NicStatus> nics;
};

class DataPath {
 public:
  // Makes the taps and the sockets, then starts the thread.  The gates start in kHeld.  The RAM and `own_writes`
  // outlive this; each page of guest RAM that is written here is marked in `own_writes`, after the write.
  // Errors: no tap support, no permission, a missing bridge, a tap name in use, a socket path that cannot be made.
  static Result<std::unique_ptr<DataPath>> start(std::vector<DataPathNic> nics, const DataPathRam& ram,
                                                 DirtySet& own_writes);
  // Stops the thread; taps and sockets disappear, frames in the gates are lost.
  ~DataPath();
  DataPath(const DataPath&) = delete;
  DataPath& operator=(const DataPath&) = delete;

  // While the VM is stopped: what the guest sends from now on belongs to `epoch`.
  void set_epoch(Epoch epoch);
  void commit(Epoch epoch);
  void set_mode(GateMode mode);
  // In kProtected nothing leaves at or after the latest instant given here (os/clock.h); at first there is no lease.
  void extend_lease(Instant until);
  // Throws away everything in the gates, committed or not.
  void drop_gated();

  // Tells the network where the guest is: on each NIC now and several times within two seconds.  Only while the gate
  // is open.  Before the first frame, what had waited in the tap since before the takeover is discarded.
  void announce();
  AnnouncementTimes announcement_times() const;

  // The loop has something to do that it cannot see (the relays were told something).
  void wake() { wake_.signal(); }

  // All rings are stopped: no byte of guest memory is read or written from here until QEMU starts them again.
  bool quiescent() const { return running_rings_.load(std::memory_order_seq_cst) == 0; }

  // The guest's IP addresses, for announce(); replicated with each epoch.
  Bytes snapshot_addresses() const;
  // kProtocol if it is no snapshot of as many NICs.
  Status restore_addresses(ByteSpan snapshot);

  // The TCP relays: set_mode() and commit() reach them, too; the rest is theirs.
  RelayHub& relays() { return *relays_; }

  DataPathCounters counters() const;

 private:
  DataPath(Epoll epoll, EventFd wake, std::unique_ptr<RelayHub> relays)
      : epoll_(std::move(epoll)), wake_(std::move(wake)), relays_(std::move(relays)) {}
  void run();
  void dispatch(const epoll_event& event);
  Duration serve_announcements(Instant now);

  std::atomic<uint32_t> running_rings_{0};
  Epoll epoll_;
  EventFd wake_;
  std::unique_ptr<RelayHub> relays_;
  std::vector<std::unique_ptr<NicPort>> ports_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> announce_wanted_{false};
  Instant announce_start_{};
  size_t announce_next_;  // into the schedule; its size: nothing to do
  std::atomic<int64_t> announced_ns_{0};
  std::thread thread_;
};

}  // namespace us
