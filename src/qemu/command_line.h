// The QEMU command line of a VM: a pure function of its configuration and of what the node prepared for this start.
//
// Primary and standby get the same line but for `-incoming defer` and the descriptors' numbers, because device state
// only loads into the same machine.  The comments in command_line.cc say why each option is there.
//
// Descriptors here are numbers *in QEMU*.  It inherits four kinds: the guest's RAM (a memfd as large as
// `memory`), QEMU's end of the QMP socket, QEMU's end of each vhost-user socket and its end of each disk's.  Nothing is
// left in the file system and nobody else can connect.
//
// QEMU starts stopped (-S).  The caller checks the RAM blocks (ram_blocks.h), registers dirty tracking, and continues.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/vm_config.h"

namespace us {

enum class Accelerator { kKvm, kTcg };

// One end of a stream socket that QEMU uses: a connected, inherited descriptor, or, when that is negative, the path of
// a socket on which the node already listens.
struct QemuSocket {
  int fd = -1;
  std::string path;
};

// What a writable disk is served from.
struct DiskEndpoint {
  std::string socket_path;  // of an NBD server whose export is called kDiskExport
  uint64_t bytes = 0;       // of the export
  int fd = -1;              // an inherited descriptor that is connected to it; negative: QEMU connects by itself
};
inline constexpr std::string_view kDiskExport = "disk";

struct LaunchInfo {
  Accelerator accelerator = Accelerator::kTcg;
  int ram_fd = -1;
  QemuSocket qmp;
  std::vector<QemuSocket> vhost_user;  // one for each NIC of the configuration, in order
  std::vector<DiskEndpoint> disks;     // one for each writable disk of the configuration, in order
  std::string firmware;                // find_firmware() (firmware.h); may be empty only for microvm
  std::string serial_log;              // appended to; empty: the guest's serial port leads nowhere
  bool incoming = false;               // wait for device state (the standby, and after a takeover)
};

// argv, the program first.  The program is `qemu_binary` as configured: to be searched in PATH when it has no slash.
std::vector<std::string> qemu_command_line(const VmConfig& config, const LaunchInfo& launch);

// The `-cpu` value: the configured one, or the default of the accelerator.
std::string cpu_model(const VmConfig& config, Accelerator accelerator);

// "kvm" or "tcg"
std::string_view to_text(Accelerator accelerator);

// A value inside a comma-separated option: QEMU wants commas doubled.
std::string option_value(std::string_view text);

}  // namespace us
