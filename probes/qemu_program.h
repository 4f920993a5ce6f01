// The QEMU program: there, of a known version, with firmware, and with an accelerator that really runs guests.
#pragma once

#include <string_view>

#include "config/vm_config.h"
#include "probes/finding.h"
#include "qemu/accelerator.h"

namespace us::probes {

Finding probe_qemu(const VmConfig& config);
// The same for what `qemu-system-x86_64 --version` printed.
Finding judge_qemu(std::string_view version_output);

Finding probe_firmware(const VmConfig& config);

// `chosen`: what choose_accelerator() said.
Finding judge_accelerator(const Result<ChosenAccelerator>& chosen, AcceleratorChoice wanted);

}  // namespace us::probes
