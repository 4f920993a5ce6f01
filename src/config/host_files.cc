#include "config/host_files.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>

namespace us {
namespace {

namespace fs = std::filesystem;

class Checks {
 public:
  explicit Checks(const VmConfig& config) : file_name_(config.file_name) {}

  void add(std::string_view key, std::string_view what) {
    if (!text_.empty()) text_ += '\n';
    text_ += fmt::format("{}: {}: {}", file_name_, key, what);
  }

  void readable(std::string_view key, const HostPath& file) {
    if (::access(file.path.c_str(), R_OK) != 0) {
      add(key, fmt::format("{} cannot be read: {}", file.path, std::strerror(errno)));
    } else if (fs::is_directory(file.path)) {
      add(key, fmt::format("{} is a directory, not a file", file.path));
    }
  }

  Status result() const {
    if (text_.empty()) return {};
    return fail(ErrorKind::kInput, text_);
  }

 private:
  std::string file_name_;
  std::string text_;
};

bool is_program(const std::string& path) { return ::access(path.c_str(), X_OK) == 0 && !fs::is_directory(path); }

void check_boot_files(const VmConfig& config, Checks& checks) {
  if (config.kernel) checks.readable("kernel", *config.kernel);
  if (config.initrd) checks.readable("initrd", *config.initrd);
  if (config.firmware) checks.readable("firmware", *config.firmware);
  for (size_t i = 0; i < config.disks.size(); ++i)
    if (!config.disks[i].writable())  // the others are judged when they are opened (host/disk_image.h)
      checks.readable(fmt::format("disk[{}].file", i), config.disks[i].file);
}

void check_bridges(const VmConfig& config, std::string_view sysfs, Checks& checks) {
  for (size_t i = 0; i < config.nics.size(); ++i) {
    const std::string& bridge = config.nics[i].bridge;
    if (bridge.empty()) continue;
    const fs::path link = fs::path(sysfs) / "class/net" / bridge;
    const std::string key = fmt::format("nic[{}].bridge", i);
    std::error_code ignored;
    if (!fs::exists(link, ignored)) {
      checks.add(key, fmt::format("there is no bridge {0} on this host; make it with: ip link add {0} type bridge && "
                                  "ip link set {0} up",
                                  bridge));
    } else if (!fs::exists(link / "bridge", ignored)) {
      checks.add(key, fmt::format("{} is a network interface but not a bridge", bridge));
    }
  }
}

void check_arbiter(const VmConfig& config, Checks& checks) {
  const std::string& directory = config.arbiter.directory.path;
  std::error_code ignored;
  if (!fs::is_directory(directory, ignored)) {
    checks.add("arbiter.path", fmt::format("{} is not a directory; mount the one that the hosts share", directory));
  } else if (::access(directory.c_str(), W_OK | X_OK) != 0) {
    checks.add("arbiter.path", fmt::format("{} cannot be written: {}", directory, std::strerror(errno)));
  }
}

void check_serial_log(const VmConfig& config, Checks& checks) {
  if (!config.serial_log) return;
  const std::string directory = fs::path(config.serial_log->path).parent_path().string();
  std::error_code ignored;
  if (!fs::is_directory(directory, ignored)) checks.add("serial_log", fmt::format("{} is not a directory", directory));
}

}  // namespace

std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return is_program(name) ? name : "";
  const char* path = std::getenv("PATH");
  std::istringstream directories(path == nullptr ? "/usr/bin:/bin" : path);
  for (std::string directory; std::getline(directories, directory, ':');) {
    const std::string candidate = (directory.empty() ? "." : directory) + "/" + name;
    if (is_program(candidate)) return candidate;
  }
  return "";
}

Status check_host_files(const VmConfig& config, std::string_view sysfs) {
  Checks checks(config);
  check_boot_files(config, checks);
  if (find_program(config.qemu_binary).empty())
    checks.add("qemu_binary",
               fmt::format("there is no program {}; install the Debian package qemu-system-x86", config.qemu_binary));
  check_bridges(config, sysfs, checks);
  check_arbiter(config, checks);
  check_serial_log(config, checks);
  return checks.result();
}

}  // namespace us
