#include "qemu/accelerator.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "os/unique_fd.h"
#include "qemu/brief_run.h"

namespace us {
namespace {

constexpr int kImageFd = 3;  // in QEMU
constexpr std::string_view kKvmStopped = "KVM internal error";

Result<UniqueFd> image_file() {
  UniqueFd fd(::memfd_create("understudy-probe-guest", MFD_CLOEXEC));
  if (!fd) return fail_errno("create a memory file", errno);
  const std::string image = probe_guest_image();
  if (::write(fd.get(), image.data(), image.size()) != static_cast<ssize_t>(image.size()))
    return fail_errno("write the probe guest", errno);
  return fd;
}

std::vector<std::string> probe_command_line(Accelerator accelerator, const std::string& qemu, const std::string& cpu) {
  return {qemu,          "-no-user-config",
          "-nodefaults", "-display",
          "none",        "-no-reboot",
          "-machine",    "pc,hpet=off,smm=off",
          "-m",          "16M",
          "-accel",      std::string(to_text(accelerator)),
          "-cpu",        cpu,
          "-bios",       fmt::format("/proc/self/fd/{}", kImageFd),
          "-device",     fmt::format("isa-debug-exit,iobase={:#x},iosize=1", kProbeGuestExitPort)};
}

// What the first line that QEMU printed tells: without its name, and without "warning" in front.
std::string first_words(std::string_view output) {
  std::string_view line = output.substr(0, output.find('\n'));
  for (const std::string_view prefix : {"qemu-system-x86_64: ", "warning: "}) {
    const size_t at = line.find(prefix);
    if (at != std::string_view::npos) line.remove_prefix(at + prefix.size());
  }
  return std::string(line);
}

}  // namespace

Result<std::optional<std::string>> try_accelerator(Accelerator accelerator, const std::string& qemu_binary,
                                                   const std::string& cpu, Duration limit) {
  US_ASSIGN(const UniqueFd image, image_file());
  BriefRunOptions options;
  options.argv = probe_command_line(accelerator, qemu_binary, cpu);
  options.inherited = {{image.get(), kImageFd}};
  options.limit = limit;
  options.stop_at = kKvmStopped;
  US_ASSIGN(const BriefRun run, brief_run(options));
  if (run.exit == fmt::format("exited with status {}", kProbeGuestExit)) return std::nullopt;
  if (run.output.find(kKvmStopped) != std::string::npos) return "the probe guest was stopped by a KVM internal error";
  if (!run.exit) return fmt::format("the probe guest did not finish within {} s", limit.to_seconds());
  const std::string said = first_words(run.output);
  return said.empty() ? fmt::format("QEMU {}", *run.exit) : fmt::format("QEMU says: {}", said);
}

Result<ChosenAccelerator> choose_accelerator(const VmConfig& config) {
  if (config.accelerator == AcceleratorChoice::kTcg)
    return ChosenAccelerator{Accelerator::kTcg, "TCG, as the VM file says."};
  US_ASSIGN(
      const std::optional<std::string> failure,
      try_accelerator(Accelerator::kKvm, config.qemu_binary, cpu_model(config, Accelerator::kKvm), kKvmProbeLimit));
  if (!failure) return ChosenAccelerator{Accelerator::kKvm, "KVM: the probe guest ran under it."};
  if (config.accelerator == AcceleratorChoice::kKvm)
    return fail(ErrorKind::kSystem,
                fmt::format("{}: accelerator = \"kvm\", but KVM does not work here: {}", config.file_name, *failure));
  return ChosenAccelerator{Accelerator::kTcg, fmt::format("TCG, because KVM does not work here: {}.", *failure)};
}

}  // namespace us
