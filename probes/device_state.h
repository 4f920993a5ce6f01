// The facts about QEMU on which capture and takeover rest, tried with the VM's own machine:
// its QMP commands; its RAM blocks; device state that is saved from a machine that has run, and loaded by another,
// which then has its firmware and runs.
#pragma once

#include <vector>

#include "config/vm_config.h"
#include "probes/finding.h"
#include "qemu/command_line.h"

namespace us::probes {

// Findings "QMP", "RAM blocks" and "device state", in this order; the first that fails is the last.
// Takes under two seconds.
std::vector<Finding> probe_device_state(const VmConfig& config, Accelerator accelerator);

}  // namespace us::probes
