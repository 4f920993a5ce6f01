// What a VM file refers to on this host: asked before anything is started, so that a missing kernel or bridge
// is one clear message and not a QEMU error later.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "config/vm_config.h"

namespace us {

// Kernel, initrd, firmware and disks can be read; QEMU can be run; each bridge exists; the arbiter's directory can
// be written; the serial log's directory exists.  The error lists every fault, one per line, with what to do.
// `sysfs` is another directory in tests only.
Status check_host_files(const VmConfig& config, std::string_view sysfs = "/sys");

// The full path of a program as execvp(3) would find it; empty when there is none.
std::string find_program(const std::string& name);

}  // namespace us
