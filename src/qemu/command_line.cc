#include "qemu/command_line.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace us {
namespace {

// PCI slots are given, not left to QEMU, so that a device added through qemu_args does not rename the guest's NICs.
constexpr size_t kFirstNicSlot = 0x10;
constexpr size_t kFirstDiskSlot = 0x18;

// Both are QEMU's plain 64-bit model with the x86-64-v2 instructions and AES, which every server since about 2011 has.
//
// KVM: a fixed model, because after a takeover the guest runs on another host's CPU; `enforce` turns a missing feature
// into an error at start instead of an illegal instruction later.  cpu = "host" is right where the CPUs are identical.
constexpr std::string_view kKvmCpu = "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+aes,+pclmulqdq,-svm,enforce";
// TCG: without cmpxchg16b, with which kernels crash under QEMU 7.2's TCG now and then (double fault; 13 of 28 boots of
// a Linux 6.12, none of 25 without it).
constexpr std::string_view kTcgCpu = "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+aes,+pclmulqdq,-svm,-cx16";

class ArgumentList {
 public:
  void add(std::string option) { list_.push_back(std::move(option)); }
  void add(std::string option, std::string value) {
    list_.push_back(std::move(option));
    list_.push_back(std::move(value));
  }
  std::vector<std::string> take() { return std::move(list_); }

 private:
  std::vector<std::string> list_;
};

std::string socket_chardev(std::string_view id, const QemuSocket& socket) {
  if (socket.fd >= 0) return fmt::format("socket,id={},fd={}", id, socket.fd);
  return fmt::format("socket,id={},path={}", id, option_value(socket.path));
}

std::string read_only_file(std::string_view node, std::string_view path) {
  return fmt::format("driver=file,node-name={},filename={},read-only=on,auto-read-only=off", node, option_value(path));
}

// suppress-vmdesc and the three migration settings make QEMU read the bare device state that xen-save-devices-state
// writes: it has no configuration section, no section footers, no run state and no description.
// hpet=off: a guest under TCG boots unreliably with it, and it is one device less to save.
// smm=off: no second view of RAM below the guest's back.  dump-guest-core=off: no guest memory in QEMU's core files.
// pflash0: see firmware.h.
std::string machine_option(Machine machine) {
  std::string out(to_text(machine));
  if (machine != Machine::kMicrovm) out += ",hpet=off,smm=off,vmport=off,pflash0=firmware";
  return out + ",memory-backend=mem,suppress-vmdesc=on,mem-merge=off,dump-guest-core=off";
}

void add_machine(ArgumentList& out, const VmConfig& config, const LaunchInfo& launch) {
  out.add("-no-user-config");
  out.add("-nodefaults");
  out.add("-machine", machine_option(config.machine));
  out.add("-accel", std::string(to_text(launch.accelerator)));
  out.add("-cpu", cpu_model(config, launch.accelerator));
  out.add("-smp", fmt::format("cpus={0},sockets=1,cores={0},threads=1", config.cpus));
  out.add("-m", fmt::format("{}M", config.memory_bytes / config::kMiB));
  out.add("-object", fmt::format("memory-backend-file,id=mem,size={},mem-path=/proc/self/fd/{},share=on,prealloc=off",
                                 config.memory_bytes, launch.ram_fd));
  for (const char* setting : {"send-configuration", "send-section-footer", "store-global-state"})
    out.add("-global", fmt::format("migration.{}=off", setting));
  // Virtio 1.x registers on the mmio transport; the default there is the legacy interface.
  if (config.machine == Machine::kMicrovm) out.add("-global", "virtio-mmio.force-legacy=off");
}

void add_run_control(ArgumentList& out, const VmConfig& config, const LaunchInfo& launch) {
  out.add("-name", fmt::format("guest={},debug-threads=on", config.name));
  out.add("-S");
  if (launch.incoming) out.add("-incoming", "defer");
  out.add("-chardev", socket_chardev("qmp", launch.qmp));
  out.add("-mon", "chardev=qmp,mode=control");
  // Power-off and panic end the VM, and QEMU says which of them it was, then waits to be killed: one that ended by
  // itself could take its last words with it.  A reboot is the guest's own affair.  A microvm cannot reboot after a
  // takeover, for want of firmware (firmware.h), so it never does.
  const std::string_view reboot = config.machine == Machine::kMicrovm ? "shutdown" : "reset";
  out.add("-action", fmt::format("reboot={},shutdown=pause,panic=shutdown,watchdog=reset", reboot));
  // clock=host: the emulated RTC shows the host's time even though the guest's own clock loses the pauses, so a guest
  // can mend its clock from it.  The hosts' clocks should agree (NTP).
  out.add("-rtc", "base=utc,clock=host");
  out.add("-msg", "timestamp=on");
}

void add_console(ArgumentList& out, const LaunchInfo& launch) {
  out.add("-display", "none");
  out.add("-vga", "none");
  out.add("-monitor", "none");
  out.add("-parallel", "none");
  if (launch.serial_log.empty()) {
    out.add("-serial", "none");
  } else {
    out.add("-chardev", fmt::format("file,id=serial0,path={},append=on", option_value(launch.serial_log)));
    out.add("-serial", "chardev:serial0");
  }
  out.add("-device", "pvpanic");
}

void add_boot(ArgumentList& out, const VmConfig& config, const LaunchInfo& launch) {
  if (config.machine != Machine::kMicrovm)
    out.add("-blockdev", read_only_file("firmware", launch.firmware));
  else if (!launch.firmware.empty())
    out.add("-bios", launch.firmware);
  if (config.kernel) out.add("-kernel", config.kernel->path);
  if (config.initrd) out.add("-initrd", config.initrd->path);
  if (!config.append.empty()) out.add("-append", config.append);
}

std::string_view pci_bus(Machine machine) { return machine == Machine::kQ35 ? "pcie.0" : "pci.0"; }

std::string virtio_device(Machine machine, std::string_view kind, size_t slot, std::string_view pci_only) {
  if (machine == Machine::kMicrovm) return fmt::format("virtio-{}-device", kind);
  return fmt::format("virtio-{}-pci,bus={},addr={:x},disable-legacy=on{}", kind, pci_bus(machine), slot, pci_only);
}

// romfile= : no network boot ROM, hence no RAM block for it.
// vectors=0 under TCG: QEMU 7.2 crashes in msix_set_vector_notifiers with vhost-user and MSI-X there.
void add_nic(ArgumentList& out, const VmConfig& config, const LaunchInfo& launch, size_t i) {
  out.add("-chardev", socket_chardev(fmt::format("vhost{}", i), launch.vhost_user[i]));
  out.add("-netdev", fmt::format("vhost-user,id=net{0},chardev=vhost{0},queues=1", i));
  const std::string_view pci_only = launch.accelerator == Accelerator::kTcg ? ",romfile=,vectors=0" : ",romfile=";
  out.add("-device", fmt::format("{},netdev=net{},mac={},id=nic{}",
                                 virtio_device(config.machine, "net", kFirstNicSlot + i, pci_only), i,
                                 mac_text(config.nics[i].mac), i));
}

// The guest's device i.  Its names and places depend on nothing but its position among the disks.
// cyls, heads, secs: a fixed geometry, so that QEMU does not read the image for it: a standby's holds anything yet.
// werror, rerror: an error is the guest's to deal with; QEMU's usual answer to a full disk is to stop the guest, which
// nobody would let go on.
std::string disk_device(const VmConfig& config, size_t i, uint64_t bytes) {
  const DiskConfig& disk = config.disks[i];
  constexpr uint64_t kSectorsPerCylinder = 16 * 63;
  const uint64_t cylinders = std::clamp<uint64_t>(bytes / 512 / kSectorsPerCylinder, 2, 16383);
  const std::string geometry =
      disk.writable() ? fmt::format(",cyls={},heads=16,secs=63,werror=report,rerror=report", cylinders) : "";
  switch (disk.bus) {
    case DiskBus::kVirtioBlk:
      return fmt::format("{},drive=disk{},id=virtio-disk{}{}",
                         virtio_device(config.machine, "blk", kFirstDiskSlot + i, ""), i, i, geometry);
    case DiskBus::kVirtioScsi:
      return fmt::format("scsi-hd,bus=scsi{0}.0,drive=disk{0},id=scsi-disk{0}{1}", i, geometry);
    case DiskBus::kAhci:
      return fmt::format("ide-hd,bus=ahci{0}.0,drive=disk{0},id=ahci-disk{0}{1}", i, geometry);
  }
  US_CHECK(false);
}

void add_disk_controller(ArgumentList& out, const VmConfig& config, size_t i) {
  const DiskBus bus = config.disks[i].bus;
  if (bus == DiskBus::kVirtioScsi)
    out.add("-device", fmt::format("{},id=scsi{}", virtio_device(config.machine, "scsi", kFirstDiskSlot + i, ""), i));
  if (bus == DiskBus::kAhci)
    out.add("-device", fmt::format("ahci,bus={},addr={:x},id=ahci{}", pci_bus(config.machine), kFirstDiskSlot + i, i));
}

// No reconnect-delay: the server goes only with this process, and QEMU with it.
// discard=unmap, detect-zeroes=off: what the guest asks for reaches the image, and nothing else.
std::string nbd_node(size_t i, const DiskEndpoint& disk) {
  const std::string server = disk.fd >= 0 ? fmt::format("server.type=fd,server.str={}", disk.fd)
                                          : "server.type=unix,server.path=" + option_value(disk.socket_path);
  return fmt::format("driver=nbd,node-name=nbd{},{},export={},discard=unmap", i, server, kDiskExport);
}

void add_disk(ArgumentList& out, const VmConfig& config, size_t i, const DiskEndpoint* endpoint) {
  const DiskConfig& disk = config.disks[i];
  if (endpoint == nullptr) {
    out.add("-blockdev", read_only_file(fmt::format("file{}", i), disk.file.path));
    out.add("-blockdev",
            fmt::format("driver={0},node-name=disk{1},file=file{1},read-only=on,auto-read-only=off", disk.format, i));
  } else {
    out.add("-blockdev", nbd_node(i, *endpoint));
    out.add("-blockdev", fmt::format("driver={0},node-name=disk{1},file=nbd{1},discard=unmap", disk.format, i));
  }
  add_disk_controller(out, config, i);
  out.add("-device", disk_device(config, i, endpoint == nullptr ? 0 : endpoint->bytes));
}

void add_disks(ArgumentList& out, const VmConfig& config, const LaunchInfo& launch) {
  size_t writable = 0;
  for (size_t i = 0; i < config.disks.size(); ++i)
    add_disk(out, config, i, config.disks[i].writable() ? &launch.disks.at(writable++) : nullptr);
}

}  // namespace

std::vector<std::string> qemu_command_line(const VmConfig& config, const LaunchInfo& launch) {
  US_CHECK(launch.ram_fd >= 0);
  US_CHECK(config.machine == Machine::kMicrovm || !launch.firmware.empty());
  US_CHECK(launch.vhost_user.size() == config.nics.size());
  US_CHECK(launch.disks.size() == static_cast<size_t>(std::ranges::count_if(config.disks, &DiskConfig::writable)));
  ArgumentList out;
  out.add(config.qemu_binary);
  add_machine(out, config, launch);
  add_run_control(out, config, launch);
  add_console(out, launch);
  add_boot(out, config, launch);
  for (size_t i = 0; i < config.nics.size(); ++i) add_nic(out, config, launch, i);
  add_disks(out, config, launch);
  for (const QemuArgument& argument : config.qemu_args) out.add(argument.text);
  return out.take();
}

std::string cpu_model(const VmConfig& config, Accelerator accelerator) {
  if (config.cpu) return *config.cpu;
  return std::string(accelerator == Accelerator::kKvm ? kKvmCpu : kTcgCpu);
}

std::string_view to_text(Accelerator accelerator) { return accelerator == Accelerator::kKvm ? "kvm" : "tcg"; }

std::string option_value(std::string_view text) {
  std::string out;
  for (const char c : text) out += c == ',' ? std::string(",,") : std::string(1, c);
  return out;
}

}  // namespace us
