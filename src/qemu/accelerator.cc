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

// The first line that tells something, without QEMU's name in front.
std::string first_line(std::string_view output) {
  const std::string_view line = output.substr(0, output.find('\n'));
  const size_t after_name = line.find(": ");
  return std::string(after_name == std::string_view::npos ? line : line.substr(after_name + 2));
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
  const std::string said = first_line(run.output);
  return fmt::format("QEMU {}{}", *run.exit, said.empty() ? "" : ": " + said);
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
