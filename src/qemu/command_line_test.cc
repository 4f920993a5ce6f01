#include "qemu/command_line.h"

#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace us {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr std::string_view kCommonEnd = R"([replication]
hosts = ["10.0.0.1:7400", "10.0.0.2:7400"]
[arbiter]
path = "/shared"
)";

VmConfig config(std::string_view head) {
  auto parsed = parse_vm_config(std::string(head) + std::string(kCommonEnd), "/vm/web.toml");
  EXPECT_TRUE(parsed) << parsed.error().message;
  return parsed ? *parsed : VmConfig{};
}

VmConfig full_config() {
  return config(R"(name = "web"
memory = "512M"
cpus = 2
kernel = "vmlinuz"
initrd = "initrd,1"
append = "console=ttyS0 quiet"
qemu_args = ["-smbios", "type=1,serial=7"]
[[nic]]
bridge = "br0"
mac = "52:54:00:12:34:56"
[[disk]]
file = "a,b.qcow2"
format = "qcow2"
read_only = true
)");
}

LaunchInfo full_launch() {
  LaunchInfo launch;
  launch.accelerator = Accelerator::kTcg;
  launch.ram_fd = 3;
  launch.qmp.fd = 4;
  launch.vhost_user = {QemuSocket{5, ""}};
  launch.firmware = "/usr/share/seabios/bios-256k.bin";
  launch.serial_log = "/run/web,serial.log";
  launch.incoming = true;
  return launch;
}

// Several options to a line, as one would type them.
TEST(CommandLine, HasExactlyTheseOptionsForAQ35StandbyUnderTcg) {
  EXPECT_EQ(
      fmt::format("{}", fmt::join(qemu_command_line(full_config(), full_launch()), " ")),
      "qemu-system-x86_64 -no-user-config -nodefaults"
      " -machine q35,hpet=off,smm=off,vmport=off,pflash0=firmware,memory-backend=mem,suppress-vmdesc=on,mem-merge=off,"
      "dump-guest-core=off"
      " -accel tcg -cpu qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+aes,+pclmulqdq,-svm,-cx16"
      " -smp cpus=2,sockets=1,cores=2,threads=1 -m 512M"
      " -object memory-backend-file,id=mem,size=536870912,mem-path=/proc/self/fd/3,share=on,prealloc=off"
      " -global migration.send-configuration=off -global migration.send-section-footer=off"
      " -global migration.store-global-state=off"
      " -name guest=web,debug-threads=on -S -incoming defer"
      " -chardev socket,id=qmp,fd=4 -mon chardev=qmp,mode=control"
      " -action reboot=reset,shutdown=pause,panic=shutdown,watchdog=reset -rtc base=utc,clock=host"
      " -msg timestamp=on -display none -vga none -monitor none -parallel none"
      " -chardev file,id=serial0,path=/run/web,,serial.log,append=on -serial chardev:serial0 -device pvpanic"
      " -blockdev driver=file,node-name=firmware,filename=/usr/share/seabios/bios-256k.bin,read-only=on,"
      "auto-read-only=off"
      " -kernel /vm/vmlinuz -initrd /vm/initrd,1 -append console=ttyS0 quiet"
      " -chardev socket,id=vhost0,fd=5 -netdev vhost-user,id=net0,chardev=vhost0,queues=1"
      " -device virtio-net-pci,bus=pcie.0,addr=10,disable-legacy=on,romfile=,vectors=0,netdev=net0,"
      "mac=52:54:00:12:34:56,id=nic0"
      " -blockdev driver=file,node-name=file0,filename=/vm/a,,b.qcow2,read-only=on,auto-read-only=off"
      " -blockdev driver=qcow2,node-name=disk0,file=file0,read-only=on,auto-read-only=off"
      " -device virtio-blk-pci,bus=pcie.0,addr=18,disable-legacy=on,drive=disk0,id=virtio-disk0"
      " -smbios type=1,serial=7");
}

TEST(CommandLine, DiffersBetweenPrimaryAndStandbyOnlyByIncoming) {
  LaunchInfo primary = full_launch();
  primary.incoming = false;
  auto standby_line = qemu_command_line(full_config(), full_launch());
  const auto incoming = std::find(standby_line.begin(), standby_line.end(), "-incoming");
  ASSERT_NE(incoming, standby_line.end());
  standby_line.erase(incoming, incoming + 2);
  EXPECT_EQ(qemu_command_line(full_config(), primary), standby_line);
}

TEST(CommandLine, ServesWritableDisksOverNbdOnEveryBus) {
  const VmConfig three = config(
      "name=\"m\"\nmemory=\"64M\"\nkernel=\"k\"\n"
      "[[disk]]\nfile=\"a\"\n"
      "[[disk]]\nfile=\"r\"\nread_only=true\nbus=\"ahci\"\n"
      "[[disk]]\nfile=\"b\"\nbus=\"virtio-scsi\"\nformat=\"qcow2\"\nsize=\"1G\"\n");
  LaunchInfo launch;
  launch.ram_fd = 3;
  launch.qmp.fd = 4;
  launch.firmware = "/bios";
  launch.disks = {{"/run/m,1.disk0", 64 << 20}, {"/run/m.disk2", 1 << 30, 15}};
  EXPECT_THAT(
      fmt::format("{}", fmt::join(qemu_command_line(three, launch), " ")),
      HasSubstr(
          " -blockdev driver=nbd,node-name=nbd0,server.type=unix,server.path=/run/m,,1.disk0,export=disk,discard=unmap"
          " -blockdev driver=raw,node-name=disk0,file=nbd0,discard=unmap"
          " -device virtio-blk-pci,bus=pcie.0,addr=18,disable-legacy=on,drive=disk0,id=virtio-disk0,cyls=130,heads=16,"
          "secs=63,werror=report,rerror=report"
          " -blockdev driver=file,node-name=file1,filename=/vm/r,read-only=on,auto-read-only=off"
          " -blockdev driver=raw,node-name=disk1,file=file1,read-only=on,auto-read-only=off"
          " -device ahci,bus=pcie.0,addr=19,id=ahci1 -device ide-hd,bus=ahci1.0,drive=disk1,id=ahci-disk1"
          " -blockdev driver=nbd,node-name=nbd2,server.type=fd,server.str=15,export=disk,discard=unmap"
          " -blockdev driver=qcow2,node-name=disk2,file=nbd2,discard=unmap"
          " -device virtio-scsi-pci,bus=pcie.0,addr=1a,disable-legacy=on,id=scsi2"
          " -device scsi-hd,bus=scsi2.0,drive=disk2,id=scsi-disk2,cyls=2080,heads=16,secs=63,werror=report,"
          "rerror=report"));
}

TEST(CommandLine, KeepsMsixVectorsUnderKvm) {
  LaunchInfo launch = full_launch();
  launch.accelerator = Accelerator::kKvm;
  EXPECT_THAT(qemu_command_line(full_config(), launch), Not(Contains(HasSubstr("vectors="))));
}

TEST(CommandLine, PutsMicrovmDevicesOnTheMmioTransport) {
  const VmConfig microvm = config("name=\"m\"\nmemory=\"64M\"\nmachine=\"microvm\"\nkernel=\"k\"\n[[nic]]\n");
  LaunchInfo launch;
  launch.ram_fd = 3;
  launch.qmp.path = "/run/qmp,1";
  launch.vhost_user = {QemuSocket{-1, "/run/v0"}};
  const auto line = qemu_command_line(microvm, launch);
  EXPECT_THAT(line, Contains("microvm,memory-backend=mem,suppress-vmdesc=on,mem-merge=off,dump-guest-core=off"));
  EXPECT_THAT(line, Contains("reboot=shutdown,shutdown=pause,panic=shutdown,watchdog=reset"));
  EXPECT_THAT(line, Contains("virtio-mmio.force-legacy=off"));
  EXPECT_THAT(line, Contains(testing::StartsWith("virtio-net-device,netdev=net0,mac=52:54:00:")));
  EXPECT_THAT(line, Contains("socket,id=qmp,path=/run/qmp,,1"));
  EXPECT_THAT(line, Contains("socket,id=vhost0,path=/run/v0"));
}

TEST(CommandLine, UsesTheConfiguredCpuModelOnEveryAccelerator) {
  VmConfig vm = full_config();
  vm.cpu = "host";
  EXPECT_EQ(cpu_model(vm, Accelerator::kKvm), "host");
  EXPECT_EQ(cpu_model(vm, Accelerator::kTcg), "host");
  vm.cpu.reset();
  EXPECT_THAT(cpu_model(vm, Accelerator::kKvm), HasSubstr("enforce"));
}

}  // namespace
}  // namespace us
