// Accelerator: KVM or TCG, chosen by trying.
//
// The existence of /dev/kvm proves little: there are hosts, paravirtual ones above all, whose KVM runs a boot sector
// and stops at the first interrupt in long mode.  So the probe runs a small guest (accelerator_guest.cc) under the very
// CPU model the VM would get: it enters 64-bit mode with paging, takes an exception and four interrupts of
// the local APIC's timer, and reports through an emulated exit port.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "config/vm_config.h"
#include "qemu/command_line.h"

namespace us {

struct ChosenAccelerator {
  Accelerator accelerator = Accelerator::kTcg;
  std::string reason;  // one sentence for a person
};

inline constexpr Duration kKvmProbeLimit =
    Duration::seconds(20);  // takes 0.1 s; up to 10 s where KVM is nested in emulation

// "auto": KVM if the probe guest runs under it, else TCG and why.  "kvm": an error when it does not run.
// "tcg": TCG, untried.  Takes up to kKvmProbeLimit.  A QEMU that cannot be started is an error with each but "tcg".
Result<ChosenAccelerator> choose_accelerator(const VmConfig& config);

// Runs the probe guest.  Nothing: it ran to its end.  Otherwise what stopped it, as the end of a sentence.
// An error: QEMU could not be started at all.
Result<std::optional<std::string>> try_accelerator(Accelerator accelerator, const std::string& qemu_binary,
                                                   const std::string& cpu, Duration limit);

// The probe guest: a 64 KiB firmware image that ends QEMU with kProbeGuestExit.
std::string probe_guest_image();
inline constexpr int kProbeGuestExitPort = 0xf4;
inline constexpr int kProbeGuestExit = 43;  // isa-debug-exit turns the written value v into 2v + 1

}  // namespace us
