// Which QEMU arguments a protected VM may have.
//
// Protection rests on knowing everything: all guest RAM is the one shared block, all device state is in QEMU's own
// device-state stream, all output goes through the gate, and only the node controls the run state.  An unknown
// option may break any of these, so this is a list of what is allowed; everything else is refused, with the reason
// where it is known.  docs/vm-file.md shows both lists.
//
// This judges words, before QEMU starts.  ram_blocks.h judges the result once QEMU is up.
#pragma once

#include <string>

#include "base/result.h"
#include "config/vm_config.h"

namespace us {

// Checks qemu_args and cpu.  The error (kInput) lists every fault, one per line, with file, line and column.
Status check_qemu_arguments(const VmConfig& config);

}  // namespace us
