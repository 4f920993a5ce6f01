// Firmware: which BIOS file the machine starts from.
//
// QEMU fills its ROM blocks only when it starts a machine from scratch.  One that waits for device state
// (`-incoming`) expects their contents from a migration of RAM, which Understudy does not use: after a takeover the
// BIOS would read as zeros and the first reboot of the guest would hang.  On q35 and pc the firmware is therefore
// given as a read-only flash chip, whose contents QEMU reads from the file in every case.
#pragma once

#include <string>

#include "base/result.h"
#include "config/vm_config.h"

namespace us {

// The path for LaunchInfo::firmware: the configured file, or QEMU's own BIOS, searched in the directories that
// this QEMU names.  Empty for microvm without a configured file: it uses QEMU's built-in choice.
Result<std::string> find_firmware(const VmConfig& config);

}  // namespace us
