// VmConfig: what a VM file says, checked and with every default filled in.
//
// The same file is used on every host that may run the VM.  docs/vm-file.md is the manual of the keys; the
// ranges below are the ones it states.  Parsing reads nothing but the file: whether the kernel, the bridge or
// QEMU exist on this host is asked by check_host_files() (host_files.h) and by `understudy doctor`, and whether
// the QEMU arguments are safe by qemu/argument_policy.h.
//
// Errors: one Error of kind kInput whose message lists *every* fault of the file, one per line, each as
// "FILE:LINE:COLUMN: key: what is wrong and what would be accepted".
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "config/document.h"
#include "config/replica_address.h"
#include "config/runtime_settings.h"
#include "config/units.h"

namespace us {

enum class AcceleratorChoice { kAuto, kKvm, kTcg };
enum class Machine { kQ35, kPc, kMicrovm };
enum class Compression { kAuto, kLz4, kNone };
enum class DirtyTrackerChoice { kAuto, kUserfaultfd, kSoftDirty };

inline constexpr uint64_t kMemoryMin = 64 * config::kMiB;
inline constexpr uint64_t kMemoryMax = config::kTiB;
inline constexpr uint64_t kMemoryStep = 2 * config::kMiB;
inline constexpr int64_t kCpusMax = 64;
inline constexpr size_t kNicsMax = 8;
inline constexpr size_t kDisksMax = 8;
inline constexpr uint64_t kDiskBytesMin = config::kMiB;
inline constexpr uint64_t kDiskBytesMax = 64 * config::kTiB;
inline constexpr uint64_t kDiskBytesStep = 4096;
inline constexpr size_t kHostsMax = 8;
inline constexpr Duration kEpochMin = Duration::millis(1);
inline constexpr Duration kEpochMax = Duration::seconds(1);
inline constexpr Duration kHeartbeatMin = Duration::millis(1);
inline constexpr Duration kHeartbeatMax = Duration::seconds(10);
inline constexpr Duration kDetectionMin = Duration::millis(10);
inline constexpr Duration kDetectionMax = Duration::seconds(60);
inline constexpr int64_t kHeartbeatsPerDetection = 3;  // fewer, and one late packet would be a dead host
inline constexpr Duration kPrimaryDelayMax = Duration::seconds(600);
inline constexpr uint64_t kGateMin = config::kMiB;
inline constexpr uint64_t kGateMax = 16 * config::kGiB;

// A path in the VM file: as written, and made absolute (relative paths start at the VM file's directory).
struct HostPath {
  std::string written;
  std::string path;
  bool operator==(const HostPath&) const = default;
};

// Who holds a disk's bytes (docs/disk.md).  kReadOnly: a file that is equal on all hosts and that nobody writes.
enum class DiskStorage { kReadOnly, kReplicated, kShared };
enum class DiskBus { kVirtioBlk, kVirtioScsi, kAhci };
// kWriteback: through the host's page cache.  kNone: past it (O_DIRECT), where the file system can.
enum class DiskCache { kWriteback, kNone };

struct DiskConfig {
  HostPath file;               // on every host that `files` does not name
  std::string format = "raw";  // "raw" or "qcow2"
  DiskStorage storage = DiskStorage::kReadOnly;
  DiskBus bus = DiskBus::kVirtioBlk;
  DiskCache cache = DiskCache::kWriteback;
  std::optional<uint64_t> size_bytes = {};  // of the disk as the guest sees it; absent: what the image has
  std::map<ReplicaAddress, HostPath> files = {};

  bool writable() const { return storage != DiskStorage::kReadOnly; }
  const HostPath& file_on(const ReplicaAddress& host) const {
    const auto it = files.find(host);
    return it == files.end() ? file : it->second;
  }
};

struct NicConfig {
  std::string bridge;            // empty: the tap is created and left for the administrator to connect
  std::string tap;               // at most 15 characters; derived from VM name and position when not given
  std::array<uint8_t, 6> mac{};  // derived from VM name and position when not given
};

// One word of qemu_args and where it stands, so that a refusal can point at it.
struct QemuArgument {
  std::string text;
  config::Location at;
};

struct ReplicationConfig {
  std::vector<ReplicaAddress> hosts;  // two or more, all different
  Duration heartbeat = Duration::millis(20);
  Duration detection = Duration::millis(100);
  Compression compression = Compression::kAuto;
  bool rejoin = false;  // a host that lost the VM comes back as its standby by itself
};

struct ArbiterConfig {
  HostPath directory;      // type = "directory": shared by all hosts of the VM
  Duration primary_delay;  // how long a primary waits before it claims; default 3 × detection
};

struct VmConfig {
  std::string file_name;  // as given by the user, for messages

  std::string name;  // 1–32 of A-Z a-z 0-9 . _ -, first a letter or digit
  uint64_t memory_bytes = 0;
  int cpus = 1;
  AcceleratorChoice accelerator = AcceleratorChoice::kAuto;
  Machine machine = Machine::kQ35;
  DirtyTrackerChoice dirty_tracker = DirtyTrackerChoice::kAuto;
  std::optional<std::string> cpu;  // QEMU CPU model and flags; default: see default_cpu_model() in qemu/command_line.h
  std::optional<HostPath> kernel;
  std::optional<HostPath> initrd;
  std::string append;
  std::optional<HostPath> firmware;  // replaces the machine's own BIOS; read-only
  std::optional<HostPath> serial_log;
  std::string qemu_binary = "qemu-system-x86_64";  // searched in PATH when it has no slash
  std::vector<QemuArgument> qemu_args;
  std::vector<DiskConfig> disks;
  std::vector<NicConfig> nics;

  RuntimeSettings runtime;  // [epoch] and [tcp]
  ReplicationConfig replication;
  ArbiterConfig arbiter;
  uint64_t gate_bytes_max = 64 * config::kMiB;  // held output per VM; beyond it they wait in the guest's ring
};

Result<VmConfig> parse_vm_config(std::string_view text, std::string_view file_name);
Result<VmConfig> load_vm_config(const std::string& path);

std::string_view to_text(AcceleratorChoice choice);
std::string_view to_text(Machine machine);
std::string_view to_text(Compression compression);
std::string_view to_text(DiskStorage storage);
std::string_view to_text(DiskBus bus);
std::string mac_text(const std::array<uint8_t, 6>& mac);  // "52:54:00:12:34:56"

// The part of the definition on which the guest's state and its safety depend, one line per key
// ("memory = 536870912"), same order always.  Both hosts compare it before they replicate.  It does not
// contain what may differ or what is only known at run time: host-side names (bridge, tap, qemu_binary,
// logs), timing, and the accelerator and QEMU version actually in use, which the handshake compares apart.
// Files count by their path as written, not by content: after a takeover the guest needs none of them
// until it reboots.
std::string canonical_text(const VmConfig& config);

}  // namespace us
