#include <fmt/format.h>

#include "config/vm_config.h"

namespace us {
namespace {

void add_path(std::string& out, std::string_view key, const std::optional<HostPath>& path) {
  if (path) out += fmt::format("{} = {}\n", key, path->written);
}

// Where a writable image is, and how it is read, is each host's own affair; its size is compared with the image as well
// when two hosts meet.
void add_disk(std::string& out, const DiskConfig& disk) {
  if (!disk.writable() && disk.bus == DiskBus::kVirtioBlk) {
    out += fmt::format("disk = {} {}\n", disk.format, disk.file.written);
    return;
  }
  out += fmt::format("disk = {} {} {}", disk.format, to_text(disk.bus), to_text(disk.storage));
  if (disk.storage != DiskStorage::kReplicated) out += " " + disk.file.written;
  if (disk.size_bytes) out += fmt::format(" {}", *disk.size_bytes);
  out += "\n";
}

}  // namespace

// No value holds a newline (the parser refuses control characters), so one key cannot pass for another.
std::string canonical_text(const VmConfig& config) {
  std::string out;
  out += fmt::format("name = {}\n", config.name);
  out += fmt::format("memory = {}\n", config.memory_bytes);
  out += fmt::format("cpus = {}\n", config.cpus);
  out += fmt::format("machine = {}\n", to_text(config.machine));
  if (config.cpu) out += fmt::format("cpu = {}\n", *config.cpu);
  add_path(out, "kernel", config.kernel);
  add_path(out, "initrd", config.initrd);
  if (!config.append.empty()) out += fmt::format("append = {}\n", config.append);
  add_path(out, "firmware", config.firmware);
  for (const DiskConfig& disk : config.disks) add_disk(out, disk);
  for (const NicConfig& nic : config.nics) out += fmt::format("nic = {}\n", mac_text(nic.mac));
  for (const QemuArgument& argument : config.qemu_args) out += fmt::format("qemu_arg = {}\n", argument.text);
  out += fmt::format("arbiter = directory {}\n", config.arbiter.directory.written);
  return out;
}

}  // namespace us
