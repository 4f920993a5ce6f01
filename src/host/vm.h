// Vm: one QEMU with everything around it: the guest's memory, the data path, the QMP socket and the dirty tracker.
//
// A node has one Vm at a time: started to boot a guest (primary), or waiting for device state (standby) and later
// restored.  QEMU is killed when the object goes, and when the process or its main thread dies.
// Start it from the main thread.  Not thread-safe, except where DataPath says so.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/vm_config.h"
#include "core/memory/dirty_set.h"
#include "host/data_path.h"
#include "os/child_process.h"
#include "os/dirty_tracker.h"
#include "os/guest_ram.h"
#include "qemu/command_line.h"
#include "qemu/memory_map.h"
#include "qemu/qmp_client.h"

namespace us {

// What must be equal on both hosts beyond the VM file.
struct VmIdentity {
  std::string qemu_version;  // "7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)"
  std::string machine;       // "pc-q35-7.2 tcg"
};

class Vm {
 public:
  enum class Start { kBoot, kIncoming };

  // `runtime_directory` gets the vhost-user sockets.  QEMU's own messages go to `log_fd` (-1: our stderr).  `disks`:
  // where the writable disks of the configuration are served; QEMU connects to them and reads their sizes now.
  static Result<std::unique_ptr<Vm>> launch(const VmConfig& config, Accelerator accelerator, Start start,
                                            const std::string& runtime_directory, int log_fd,
                                            std::vector<DiskEndpoint> disks = {});
  ~Vm();

  // Lets the guest run.
  Status resume();
  // For a Vm started with kIncoming: the RAM holds an epoch, `device_state` belongs to it.  Leaves the guest stopped.
  Status restore(ByteSpan device_state);

  GuestRam& ram() { return ram_; }
  DirtySet& own_writes() { return own_writes_; }
  DataPath& net() { return *net_; }
  QmpClient& qmp() { return *qmp_; }
  DirtyTracker& tracker() { return *tracker_; }
  // Why this tracker.
  const std::string& tracker_reason() const { return tracker_reason_; }
  ChildProcess& process() { return *process_; }
  const VmIdentity& identity() const { return identity_; }
  // RAM blocks beside the guest's own RAM: ROMs that QEMU makes from its files on each host (qemu/ram_blocks.h).
  const std::vector<std::string>& other_blocks() const { return other_blocks_; }
  // Where the guest sees its RAM now; empty if QEMU does not say.  Main thread.
  std::vector<MappedRam> memory_map();
  Accelerator accelerator() const { return accelerator_; }
  // Where QEMU writes device state, and we read it.
  int state_fd() const { return state_fd_.get(); }
  static const char* state_path();  // as QEMU names that file

 private:
  explicit Vm(GuestRam ram);
  Status start_process(const VmConfig& config, Start start, const std::string& runtime_directory, int log_fd,
                       std::vector<DiskEndpoint> disks);
  // Refuses a machine with memory that is not tracked.
  Status judge_memory(const VmConfig& config);
  Status learn_identity();
  Status wait_until_loaded();
  Status feed_incoming(ByteSpan device_state);

  GuestRam ram_;
  DirtySet own_writes_;
  std::unique_ptr<DataPath> net_;
  UniqueFd state_fd_;
  UniqueFd incoming_;  // our end of the pipe that a restored QEMU reads
  Accelerator accelerator_ = Accelerator::kTcg;
  std::unique_ptr<QmpClient> qmp_;
  std::unique_ptr<ChildProcess> process_;
  std::unique_ptr<DirtyTracker> tracker_;
  std::string tracker_reason_;
  VmIdentity identity_;
  std::vector<std::string> other_blocks_;
};

}  // namespace us
