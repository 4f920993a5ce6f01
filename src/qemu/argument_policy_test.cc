#include "qemu/argument_policy.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace us {
namespace {

using testing::HasSubstr;

VmConfig with_arguments(const std::vector<std::string>& words) {
  VmConfig config;
  config.file_name = "web.toml";
  int line = 10;
  for (const std::string& word : words) config.qemu_args.push_back({word, {line++, 3}});
  return config;
}

std::string refusal(const std::vector<std::string>& words) {
  const Status status = check_qemu_arguments(with_arguments(words));
  return status ? "" : status.error().message;
}

TEST(ArgumentPolicy, AllowsWhatIsKnownToBeSafe) {
  const std::vector<std::vector<std::string>> safe = {
      {},
      {"-smbios", "type=1,serial=42"},
      {"-uuid", "6a1f0d2e-0000-4000-8000-000000000001"},
      {"-boot", "strict=on"},
      {"-rtc", "base=localtime"},
      {"--rtc", "base=utc,clock=vm"},
      {"-device", "i6300esb"},
      {"-device", "driver=virtio-rng-pci,rng=r0", "-object", "rng-random,id=r0,filename=/dev/urandom"},
      {"-global", "ICH9-LPC.disable_s3=1"},
      {"-fw_cfg", "name=opt/org.example/role,string=web"},
      {"-d", "guest_errors", "-D", "/tmp/qemu.log", "-trace", "virtio_*"},
  };
  for (const auto& words : safe) EXPECT_EQ(refusal(words), "") << testing::PrintToString(words);
}

struct Case {
  std::vector<std::string> words;
  std::string message;
};

TEST(ArgumentPolicy, RefusesWithTheReason) {
  const std::vector<Case> cases = {
      {{"-device", "vfio-pci,host=01:00.0"},
       "web.toml:11:3: qemu_args: -device vfio-pci,host=01:00.0: refused: it gives the guest a real device of this "
       "host, whose state cannot be captured and which the other host does not have"},
      {{"-device", "qxl"},
       "web.toml:11:3: qemu_args: -device qxl: refused: it has video memory that the guest writes and that is not "
       "captured; use the serial port"},
      {{"-object", "memory-backend-ram,id=x,size=1G"},
       "web.toml:11:3: qemu_args: -object memory-backend-ram,id=x,size=1G: refused: it adds RAM outside the one "
       "shared block, which the standby would not have after a takeover"},
      {{"-netdev", "user,id=n"},
       "web.toml:10:3: qemu_args: -netdev user,id=n: refused: it would let output out before it is committed; NICs "
       "are declared with [[nic]], which leads them through the gate"},
      {{"-drive", "file=a.img"},
       "web.toml:10:3: qemu_args: -drive file=a.img: refused: disks are declared with [[disk]], so that their being "
       "read-only is checked"},
      {{"-S"}, "web.toml:10:3: qemu_args: -S: refused: the node alone starts, stops, saves and loads the VM"},
      {{"-device", "edu"},
       "web.toml:11:3: qemu_args: -device edu: refused: it was not tried under protection; devices known to be safe: "
       "i6300esb, ib700, pvpanic-pci, virtio-rng-pci, virtio-rng-device"},
      {{"-frobnicate", "x"},
       "web.toml:10:3: qemu_args: -frobnicate x: refused: it was not tried under protection; options known to be "
       "safe: -device, -object, -global, -rtc, -fw_cfg, -smbios, -uuid, -boot, -d, -D, -trace"},
      {{"disk.img"}, "web.toml:10:3: qemu_args: disk.img: refused: an option must come first, such as -smbios"},
      {{"-smbios"},
       "web.toml:10:3: qemu_args: -smbios: refused: its value is missing; it is the next string of the list"},
      {{"-smbios", "-S"},
       "web.toml:10:3: qemu_args: -smbios: refused: its value is missing; it is the next string of the list\n"
       "web.toml:11:3: qemu_args: -S: refused: the node alone starts, stops, saves and loads the VM"},
      {{"-global", "migration.send-configuration=on"},
       "web.toml:11:3: qemu_args: -global migration.send-configuration=on: refused: the capture of device state "
       "depends on QEMU's migration settings"},
      {{"-rtc", "clock=rt"},
       "web.toml:11:3: qemu_args: -rtc clock=rt: refused: the clock \"rt\" counts from this host's start; clocks "
       "known to be safe: host, vm"},
      {{"-fw_cfg", "name=opt/x,file=/etc/x"},
       "web.toml:11:3: qemu_args: -fw_cfg name=opt/x,file=/etc/x: refused: the file may differ between the hosts; "
       "write the value as string=..."},
      {{"-device", "{\"driver\":\"qxl\"}"},
       "web.toml:11:3: qemu_args: -device {\"driver\":\"qxl\"}: refused: write it as DRIVER,KEY=VALUE instead of JSON"},
      {{"-device", "i6300esb,driver=vfio-pci"},
       "web.toml:11:3: qemu_args: -device i6300esb,driver=vfio-pci: refused: the driver comes first and once"},
  };
  for (const Case& c : cases) EXPECT_EQ(refusal(c.words), c.message);
}

// Each of these would break protection in the way the words after it say.
TEST(ArgumentPolicy, RefusesEveryKnownWayAroundProtection) {
  const std::vector<std::pair<std::vector<std::string>, std::string_view>> cases = {
      {{"-device", "usb-host,vendorid=1"}, "real device"},
      {{"-device", "scsi-generic,drive=x"}, "real device"},
      {{"-usbdevice", "tablet"}, "real device"},
      {{"-device", "vhost-vsock-pci"}, "another process or in the host kernel"},
      {{"-device", "vhost-user-fs-pci"}, "another process or in the host kernel"},
      {{"-tpmdev", "passthrough,id=t"}, "another process or in the host kernel"},
      {{"-virtfs", "local,path=/"}, "disagree with its memory"},
      {{"-fsdev", "local,id=f"}, "disagree with its memory"},
      {{"-device", "virtio-9p-pci"}, "disagree with its memory"},
      {{"-device", "ivshmem-plain,memdev=m"}, "no consistent copy"},
      {{"-device", "nvdimm,memdev=m"}, "outside the one shared block"},
      {{"-device", "pc-dimm,memdev=m"}, "outside the one shared block"},
      {{"-device", "virtio-mem-pci"}, "outside the one shared block"},
      {{"-numa", "node,memdev=m"}, "outside the one shared block"},
      {{"-mem-path", "/dev/shm"}, "outside the one shared block"},
      {{"-m", "1G"}, "key memory"},
      {{"-device", "VGA"}, "video memory"},
      {{"-device", "cirrus-vga"}, "video memory"},
      {{"-device", "vmware-svga"}, "video memory"},
      {{"-device", "virtio-gpu-pci"}, "video memory"},
      {{"-vga", "std"}, "video memory"},
      {{"-device", "virtio-balloon-pci"}, "dirty tracking"},
      {{"-device", "e1000"}, "through the gate"},
      {{"-nic", "tap"}, "through the gate"},
      {{"-net", "user"}, "through the gate"},
      {{"-device", "virtio-blk-pci,drive=x"}, "[[disk]]"},
      {{"-blockdev", "file"}, "[[disk]]"},
      {{"-hda", "x"}, "[[disk]]"},
      {{"-cdrom", "x"}, "[[disk]]"},
      {{"-pflash", "vars.fd"}, "firmware"},
      {{"-chardev", "socket,id=x"}, "before it is committed"},
      {{"-serial", "tcp::4444"}, "before it is committed"},
      {{"-mon", "x"}, "steer QEMU"},
      {{"-monitor", "stdio"}, "steer QEMU"},
      {{"-qmp", "tcp::1"}, "steer QEMU"},
      {{"-vnc", ":1"}, "steer QEMU"},
      {{"-gdb", "tcp::1"}, "steer QEMU"},
      {{"-incoming", "tcp::1"}, "node alone"},
      {{"-loadvm", "x"}, "node alone"},
      {{"-snapshot"}, "node alone"},
      {{"-daemonize"}, "node alone"},
      {{"-accel", "kvm"}, "key accelerator"},
      {{"-enable-kvm"}, "key accelerator"},
      {{"-M", "pc"}, "key machine"},
      {{"-cpu", "max"}, "key cpu"},
      {{"-readconfig", "x"}, "cannot be checked"},
      {{"-object", "secret,id=s"}, "was not tried"},
  };
  for (const auto& [words, reason] : cases) EXPECT_THAT(refusal(words), HasSubstr(reason)) << words.back();
}

TEST(ArgumentPolicy, ReportsEveryFaultOfTheList) {
  EXPECT_EQ(refusal({"-m", "1G", "-smbios", "type=1", "-snapshot"}),
            "web.toml:10:3: qemu_args: -m 1G: refused: use the VM file's key memory\n"
            "web.toml:14:3: qemu_args: -snapshot: refused: the node alone starts, stops, saves and loads the VM");
}

TEST(ArgumentPolicy, RefusesCpuModelsThatATakeoverCannotKeep) {
  VmConfig config = with_arguments({});
  config.cpu = "host,+invtsc";
  EXPECT_EQ(check_qemu_arguments(config).error().message,
            "web.toml: cpu: \"host,+invtsc\": refused: +invtsc promises the guest a clock that a takeover cannot keep");
  config.cpu = "host";
  EXPECT_TRUE(check_qemu_arguments(config));
  config.accelerator = AcceleratorChoice::kTcg;
  EXPECT_EQ(check_qemu_arguments(config).error().message,
            "web.toml: cpu: \"host\" needs KVM, but accelerator = \"tcg\"; name a model such as \"qemu64\"");
}

}  // namespace
}  // namespace us
