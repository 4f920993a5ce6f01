#include "qemu/firmware.h"

#include <fmt/format.h>
#include <unistd.h>

#include <sstream>

#include "qemu/brief_run.h"

namespace us {
namespace {

constexpr std::string_view kBiosName = "bios-256k.bin";

}  // namespace

Result<std::string> find_firmware(const VmConfig& config) {
  if (config.firmware) return config.firmware->path;
  if (config.machine == Machine::kMicrovm) return "";
  BriefRunOptions options;
  options.argv = {config.qemu_binary, "-L", "help"};
  US_ASSIGN(const BriefRun run, brief_run(options));
  std::istringstream directories(run.output);
  for (std::string directory; std::getline(directories, directory);) {
    std::string path = fmt::format("{}/{}", directory, kBiosName);
    if (::access(path.c_str(), R_OK) == 0) return path;
  }
  return fail(ErrorKind::kSystem,
              fmt::format("{} has no {} in its data directories; install the Debian package seabios",
                          config.qemu_binary, kBiosName));
}

}  // namespace us
