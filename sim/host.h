// Host: one machine, with its clock, and the one process on it that plays a role (host/node.cc).
#pragma once

#include <deque>
#include <memory>

#include "sim/disk_files.h"
#include "sim/guest.h"
#include "sim/host_clock.h"
#include "sim/lab.h"
#include "sim/primary_node.h"
#include "sim/standby_node.h"

namespace us::sim {

class Host {
 public:
  Host(Lab& lab, HostId id, HostClock clock);

  Lab& lab() { return lab_; }
  HostId id() const { return id_; }
  Instant now() const { return clock_.at(lab_.world.now()); }
  const HostClock& clock() const { return clock_; }

  // ---- what its process does ----
  void post(Duration delay, const char* what, World::Action action) {
    lab_.world.host_after(id_, delay, what, std::move(action));
  }
  Duration wake_delay();
  void note(const char* what, uint64_t a = 0, uint64_t b = 0) { lab_.world.note(id_, what, a, b); }
  DiskFiles& files() { return lab_.shared_disk ? *lab_.shared_files : *files_; }
  // How long one access to its disk takes.
  Duration disk_delay();
  Duration disk_slow;                                    // as a fault: so much more
  std::deque<Bytes>& datagrams() { return datagrams_; }  // received, not read

  void boot(Generation generation);  // `understudy run`
  void stand_by();                   // `understudy standby`
  // The role has ended; the process goes on with another one, or ends.
  void rejoin();
  // `stream` is closed once the guest runs here, after a word to the previous primary if it handed over.
  void take_over(std::unique_ptr<Guest> guest, Generation generation, DiskReplica& disk,
                 std::shared_ptr<Connection> stream, bool planned);
  void exit();

  // ---- what happens to it ----
  void crash(bool power);
  bool up() const { return up_; }
  bool powered() const { return powered_; }
  bool accept(std::shared_ptr<Connection> connection);
  void on_datagram(Bytes bytes);
  void on_request(uint32_t client, uint64_t request);

  PrimaryNode* primary() { return primary_.get(); }
  StandbyNode* standby() { return standby_.get(); }
  // Between the end of a standby and the begin of the primary that it becomes.
  bool changing() const { return changing_; }

 private:
  void end_process();

  Lab& lab_;
  HostId id_;
  HostClock clock_;
  bool up_ = false;
  bool powered_ = true;
  bool changing_ = false;
  std::unique_ptr<DiskFiles> files_;  // outlives processes
  std::deque<Bytes> datagrams_;
  std::unique_ptr<PrimaryNode> primary_;
  std::unique_ptr<StandbyNode> standby_;
};

}  // namespace us::sim
