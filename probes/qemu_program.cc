#include "probes/qemu_program.h"

#include <fmt/format.h>

#include <cstdio>
#include <string>

#include "config/host_files.h"
#include "qemu/brief_run.h"
#include "qemu/firmware.h"

namespace us::probes {
namespace {

constexpr int kOldestMajor = 7;
constexpr int kOldestMinor = 2;

struct Version {
  int major = 0;
  int minor = 0;
};

// Those on which every test of this project was run.
bool is_tried(Version version) {
  return (version.major == 7 && version.minor == 2) || (version.major == 10 && version.minor == 0);
}

}  // namespace

Finding probe_qemu(const VmConfig& config) {
  Finding out{"QEMU", "running the guest", Verdict::kMissing, "", "install the Debian package qemu-system-x86"};
  if (find_program(config.qemu_binary).empty()) {
    out.evidence = fmt::format("there is no program {}", config.qemu_binary);
    return out;
  }
  BriefRunOptions options;
  options.argv = {config.qemu_binary, "--version"};
  const auto run = brief_run(options);
  if (run) return judge_qemu(run->output);
  out.verdict = Verdict::kForbidden;
  out.evidence = run.error().message;
  return out;
}

Finding judge_qemu(std::string_view version_output) {
  const std::string line(version_output.substr(0, version_output.find('\n')));
  Finding out{"QEMU", "running the guest", Verdict::kOk, line, ""};
  Version version;
  if (std::sscanf(line.c_str(), "QEMU emulator version %d.%d", &version.major, &version.minor) != 2) {
    out.verdict = Verdict::kUnexpected;
    out.advice = "set qemu_binary to QEMU's x86-64 system emulator";
  } else if (version.major < kOldestMajor || (version.major == kOldestMajor && version.minor < kOldestMinor)) {
    out.verdict = Verdict::kMissing;
    out.advice = "QEMU 7.2 or later is needed; install qemu-system-x86 of Debian 12 or later";
  } else if (!is_tried(version)) {
    out.verdict = Verdict::kDegraded;
    out.advice =
        "Understudy was tried with QEMU 7.2 and 10.0; with another version trust the probes below, and try a "
        "takeover first";
  }
  return out;
}

Finding probe_firmware(const VmConfig& config) {
  Finding out{"firmware", "a guest that can reboot after a takeover", Verdict::kOk, "", ""};
  const auto path = find_firmware(config);
  if (!path) {
    out.verdict = Verdict::kMissing;
    out.evidence = path.error().message;
    out.advice = "install the Debian package seabios";
  } else {
    out.evidence = path->empty() ? "QEMU's own; a microvm never reboots" : *path;
  }
  return out;
}

Finding judge_accelerator(const Result<ChosenAccelerator>& chosen, AcceleratorChoice wanted) {
  Finding out{"accelerator", "running the guest at full speed", Verdict::kOk, "", ""};
  if (!chosen) {
    out.verdict = Verdict::kMissing;
    out.evidence = chosen.error().message;
    out.advice =
        "write accelerator = \"auto\" to do without KVM; it needs the modules kvm_intel or kvm_amd, and "
        "virtualisation switched on in the BIOS or by the cloud";
    return out;
  }
  out.evidence = chosen->reason;
  if (chosen->accelerator == Accelerator::kTcg && wanted != AcceleratorChoice::kTcg) {
    out.verdict = Verdict::kDegraded;
    out.advice =
        "guests run, several times slower; KVM needs the modules kvm_intel or kvm_amd, and virtualisation "
        "switched on in the BIOS or by the cloud";
  }
  return out;
}

}  // namespace us::probes
