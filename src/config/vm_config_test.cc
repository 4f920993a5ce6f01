#include "config/vm_config.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace us {
namespace {

using testing::HasSubstr;

// Lines 1 to 3, then what a test adds from line 4 on, then the tables.
constexpr std::string_view kTop = "name = \"web\"\nmemory = \"512M\"\nkernel = \"vmlinuz\"\n";
constexpr std::string_view kReplication = "[replication]\nhosts = [\"10.0.0.1:7400\", \"10.0.0.2:7400\"]\n";
constexpr std::string_view kArbiter = "[arbiter]\npath = \"/mnt/shared\"\n";

std::string with(std::string_view extra) {
  return std::string(kTop) + std::string(extra) + std::string(kReplication) + std::string(kArbiter);
}

std::string faults(const std::string& text) {
  const auto config = parse_vm_config(text, "web.toml");
  return config ? "" : config.error().message;
}

TEST(VmConfig, FillsInEveryDefault) {
  const auto config = parse_vm_config(with(""), "/etc/us/web.toml");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->name, "web");
  EXPECT_EQ(config->memory_bytes, 512u << 20);
  EXPECT_EQ(config->cpus, 1);
  EXPECT_EQ(config->accelerator, AcceleratorChoice::kAuto);
  EXPECT_EQ(config->machine, Machine::kQ35);
  EXPECT_EQ(config->cpu, std::nullopt);
  EXPECT_EQ(config->kernel->path, "/etc/us/vmlinuz");
  EXPECT_EQ(config->kernel->written, "vmlinuz");
  EXPECT_EQ(config->qemu_binary, "qemu-system-x86_64");
  EXPECT_TRUE(config->nics.empty());
  EXPECT_EQ(config->runtime.epoch_length, Duration::millis(25));
  EXPECT_EQ(config->replication.hosts.at(1).text(), "10.0.0.2:7400");
  EXPECT_EQ(config->replication.heartbeat, Duration::millis(20));
  EXPECT_EQ(config->replication.detection, Duration::millis(100));
  EXPECT_EQ(config->replication.compression, Compression::kAuto);
  EXPECT_FALSE(config->replication.rejoin);
  EXPECT_EQ(config->arbiter.directory.path, "/mnt/shared");
  EXPECT_EQ(config->arbiter.primary_delay, Duration::millis(300));
  EXPECT_EQ(config->gate_bytes_max, 64u << 20);
}

TEST(VmConfig, ReadsEveryKey) {
  const auto config = parse_vm_config(R"(
name = "db-1"
memory = "2G"
cpus = 4
accelerator = "kvm"
machine = "pc"
cpu = "Nehalem"
kernel = "/boot/k"
initrd = "/boot/i"
append = "console=ttyS0"
firmware = "bios.bin"
serial_log = "serial.log"
qemu_binary = "/opt/qemu"
qemu_args = ["-uuid", "x"]
[[disk]]
file = "root.qcow2"
format = "qcow2"
read_only = true
[[nic]]
bridge = "br0"
tap = "mytap"
mac = "52:54:00:AB:cd:01"
[[nic]]
[epoch]
length = "10ms"
[replication]
hosts = ["[fd00::1]:7400", "[fd00::2]:7400", "10.0.0.3:1"]
heartbeat = "5ms"
detection = "50ms"
compression = "none"
rejoin = true
[arbiter]
type = "directory"
path = "arbiter"
primary_delay = "0ms"
[limits]
gate = "1G"
)",
                                      "/vm/db.toml");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->cpus, 4);
  EXPECT_EQ(config->accelerator, AcceleratorChoice::kKvm);
  EXPECT_EQ(config->machine, Machine::kPc);
  EXPECT_EQ(config->cpu, "Nehalem");
  EXPECT_EQ(config->initrd->path, "/boot/i");
  EXPECT_EQ(config->append, "console=ttyS0");
  EXPECT_EQ(config->firmware->path, "/vm/bios.bin");
  EXPECT_EQ(config->serial_log->path, "/vm/serial.log");
  EXPECT_EQ(config->qemu_binary, "/opt/qemu");
  ASSERT_EQ(config->qemu_args.size(), 2u);
  EXPECT_EQ(config->qemu_args[1].text, "x");
  EXPECT_EQ(config->qemu_args[1].at, (config::Location{14, 23}));
  EXPECT_EQ(config->disks.at(0).format, "qcow2");
  EXPECT_EQ(config->nics.at(0).tap, "mytap");
  EXPECT_EQ(mac_text(config->nics.at(0).mac), "52:54:00:ab:cd:01");
  EXPECT_EQ(config->nics.at(1).bridge, "");
  EXPECT_EQ(config->nics.at(1).tap, "us-db-1-1");
  EXPECT_EQ(config->runtime.epoch_length, Duration::millis(10));
  EXPECT_EQ(config->replication.hosts.at(0).ip, "fd00::1");
  EXPECT_EQ(config->replication.compression, Compression::kNone);
  EXPECT_TRUE(config->replication.rejoin);
  EXPECT_EQ(config->arbiter.directory.path, "/vm/arbiter");
  EXPECT_EQ(config->arbiter.primary_delay, Duration::millis(0));
  EXPECT_EQ(config->gate_bytes_max, uint64_t{1} << 30);
}

struct Case {
  std::string extra;  // from line 4 on
  std::string fault;
};

TEST(VmConfig, SaysWhatIsWrongWhereAndWhatIsAccepted) {
  const std::vector<Case> cases = {
      {"cpus = 0\n", "4:8: cpus: 0 is out of range; expected an integer from 1 to 64"},
      {"cpus = \"two\"\n", "4:8: cpus: \"two\" is a string; expected an integer from 1 to 64"},
      {"cpus = 1.5\n", "4:8: cpus: 1.5 is a floating-point number; expected an integer from 1 to 64"},
      {"accelerator = \"kmv\"\n",
       "4:15: accelerator: \"kmv\" is not known; expected one of \"auto\", \"kvm\", \"tcg\""},
      {"machine = \"microvn\"\n",
       "4:11: machine: \"microvn\" is not known; expected one of \"q35\", \"pc\", \"microvm\" (did you mean "
       "\"microvm\"?)"},
      {"mashine = \"q35\"\n",
       "4:1: mashine: unknown key; did you mean machine? Known here: accelerator, append, arbiter, audit, cpu, cpus, "
       "dirty_tracker, disk, "
       "epoch, firmware, initrd, kernel, limits, machine, memory, name, nic, qemu_args, qemu_binary, replication, "
       "serial_log, tcp"},
      {"hosts = []\n",
       "4:1: hosts: unknown key; hosts belongs in [replication]. Known here: accelerator, append, arbiter, audit, cpu, "
       "cpus, "
       "dirty_tracker, disk, epoch, firmware, initrd, kernel, limits, machine, memory, name, nic, qemu_args, "
       "qemu_binary, "
       "replication, serial_log, tcp"},
      {"cpu = \"\"\n", "4:7: cpu: \"\" is empty or has control characters"},
      {"append = \"a\\nb\"\n", "4:10: append: \"a b\" is empty or has control characters"},
      {"qemu_args = \"-S\"\n",
       "4:13: qemu_args: \"-S\" is a string; expected a list of strings, such as [\"...\", \"...\"]"},
      {"qemu_args = [\"-uuid\", 7]\n", "4:23: qemu_args: 7 is an integer; expected a string"},
      {"qemu_args = [\"\"]\n", "4:14: qemu_args: \"\" is empty or has control characters"},
      {"epoch = \"25ms\"\n", "4:9: epoch: expected a table, written as [epoch] on a line of its own"},
      {"[epoch]\nlength = 25\n",
       "5:10: epoch.length: 25 is an integer; expected a string with a unit, from \"1ms\" to \"1s\""},
      {"[epoch]\nlength = \"25\"\n",
       "5:10: epoch.length: \"25\" is not a time (a whole number and us, ms or s); expected a time from \"1ms\" to "
       "\"1s\""},
      {"[epoch]\nlength = \"2s\"\n",
       "5:10: epoch.length: \"2s\" is out of range; expected a time from \"1ms\" to \"1s\""},
      {"[epoch]\nlenght = \"2s\"\n",
       "5:1: epoch.lenght: unknown key; did you mean length? Known here: latency_target, length, pause_budget, policy"},
      {"[limits]\ngate = \"1K\"\n",
       "5:8: limits.gate: \"1K\" is not an accepted size; expected a size from \"1M\" to \"16G\""},
      {"disk = \"a.img\"\n", "4:8: disk: \"a.img\" is a string; expected a list of tables, each written as [[disk]]"},
      {"[[disk]]\nfile = \"a\"\nread_only = true\nstorage = \"replicated\"\n",
       "7:11: disk[0].storage: a disk with read_only = true is not written; remove one of the two keys"},
      {"[[disk]]\nfile = \"a\"\nstorage = \"mirrored\"\n",
       "6:11: disk[0].storage: \"mirrored\" is not known; expected one of \"read-only\", \"replicated\", \"shared\""},
      {"[[disk]]\nfile = \"a\"\nread_only = true\nsize = \"1G\"\n",
       "7:8: disk[0].size: is only for a disk that the guest writes to (storage = \"replicated\" or \"shared\")"},
      {"[[disk]]\nfile = \"a\"\nsize = \"1025K\"\n",
       "6:8: disk[0].size: \"1025K\" is not an accepted size; expected a size from \"1M\" to \"64T\", a multiple of "
       "4K"},
      {"[[disk]]\nfile = \"a\"\nformat = \"qcow2\"\n",
       "4:1: disk[0].size: a qcow2 image does not tell its disk's size before it is opened; expected such as size = "
       "\"20G\""},
      {"[[disk]]\nfile = \"a\"\nbus = \"nvme\"\n",
       "6:7: disk[0].bus: \"nvme\" is not known; expected one of \"virtio-blk\", \"virtio-scsi\", \"ahci\""},
      {"[[disk]]\nfile = \"a\"\nfiles = { \"elsewhere\" = \"b\" }\n",
       "6:25: disk[0].files.elsewhere: is not an address of replication.hosts; expected such as \"10.0.0.1:7400\""},
      {"[[disk]]\nfile = \"a\"\nstorage = \"shared\"\ncache = \"none\"\n",
       "7:9: disk[0].cache: a shared disk is always used past the page cache; remove the key"},
      {"[[disk]]\nread_only = true\n", "4:1: disk[0].file is missing: the image, such as file = \"root.img\""},
      {"[[disk]]\nfile = \"a\"\nread_only = true\nformat = \"vmdk\"\n",
       "7:10: disk[0].format: \"vmdk\" is not known; expected one of \"raw\", \"qcow2\""},
      {"[[nic]]\nmac = \"01:00:5e:00:00:01\"\n",
       "5:7: nic[0].mac: \"01:00:5e:00:00:01\" is not the address of one station; expected six hexadecimal pairs such "
       "as \"52:54:00:12:34:56\", the first even"},
      {"[[nic]]\nbridge = \"a bridge\"\n",
       "5:10: nic[0].bridge: \"a bridge\" cannot be the name of a network interface; expected 1 to 15 characters "
       "without '/', ':', '%' or spaces"},
      {"[[nic]]\ntap = \"t\"\n[[nic]]\ntap = \"t\"\n", "6:1: nic[1].tap: \"t\" is used by an earlier NIC"},
      {"[[nic]]\nmac = \"52:54:00:00:00:01\"\n[[nic]]\nmac = \"52:54:00:00:00:01\"\n",
       "6:1: nic[1].mac: \"52:54:00:00:00:01\" is used by an earlier NIC"},
  };
  for (const Case& c : cases) EXPECT_EQ(faults(with(c.extra)), "web.toml:" + c.fault);
}

TEST(VmConfig, RefusesImpossibleReplication) {
  const std::vector<Case> cases = {
      {"hosts = [\"10.0.0.1:7400\"]\n",
       "5:9: replication.hosts: expected 2 to 8 addresses: the replication address of every host that may run this "
       "VM, such as hosts = [\"10.0.0.1:7400\", \"10.0.0.2:7400\"] under [replication]"},
      {"hosts = [\"10.0.0.1:7400\", \"10.0.0.1:7400\"]\n", "5:27: replication.hosts: \"10.0.0.1:7400\" is there twice"},
      {"hosts = [\"10.0.0.1:7400\", \"b.example:7400\"]\n",
       "5:27: replication.hosts: \"b.example:7400\" is not a numeric address and port; expected such as "
       "\"10.0.0.1:7400\" or \"[fd00::1]:7400\""},
      {"standby = \"10.0.0.2:7400\"\nhosts = [\"10.0.0.1:1\", \"10.0.0.2:1\"]\n",
       "5:1: replication.standby: unknown key; Known here: compression, detection, heartbeat, hosts, rejoin"},
      {"hosts = [\"10.0.0.1:1\", \"10.0.0.2:1\"]\ndetection = \"50ms\"\n",
       "6:13: replication.detection: detection (50ms) must be at least 3 heartbeats of 20ms, or one late packet would "
       "be taken for a dead host"},
      {"hosts = [\"10.0.0.1:1\", \"10.0.0.2:1\"]\nheartbeat = \"50ms\"\n",
       "6:13: replication.heartbeat: detection (100ms) must be at least 3 heartbeats of 50ms, or one late packet would "
       "be taken for a dead host"},
      {"hosts = [\"10.0.0.1:1\", \"10.0.0.2:1\"]\nrejoin = \"yes\"\n",
       "6:10: replication.rejoin: \"yes\" is a string; expected a boolean: true or false"},
  };
  for (const Case& c : cases)
    EXPECT_EQ(faults(std::string(kTop) + "[replication]\n" + c.extra + std::string(kArbiter)), "web.toml:" + c.fault);
}

TEST(VmConfig, SaysWhatIsMissing) {
  EXPECT_EQ(faults(""),
            "web.toml: name is missing: a name for the VM, such as name = \"web\"\n"
            "web.toml: memory is missing: the guest's RAM, such as memory = \"512M\"\n"
            "web.toml: kernel: nothing to boot from; expected kernel = \"...\" or a [[disk]]\n"
            "web.toml: replication.hosts is missing: the replication address of every host that may run this VM, such "
            "as hosts = [\"10.0.0.1:7400\", \"10.0.0.2:7400\"] under [replication]\n"
            "web.toml: arbiter.path is missing: a directory that all hosts of the VM share, which decides who runs it "
            "when they lose each other, such as path = \"/mnt/shared/understudy\" under [arbiter]");
}

TEST(VmConfig, ReportsAllFaultsInFileOrder) {
  EXPECT_EQ(
      faults("cpus = 0\nmemory = \"1M\"\nname = \"my vm\"\n[[disk]]\nfile=\"a\"\nread_only = true\ncpus = 2\n" +
             std::string(kReplication) + std::string(kArbiter)),
      "web.toml:1:8: cpus: 0 is out of range; expected an integer from 1 to 64\n"
      "web.toml:2:10: memory: \"1M\" is not an accepted size; expected a size from \"64M\" to \"1T\", a multiple "
      "of 2M\n"
      "web.toml:3:8: name: \"my vm\" cannot be a VM name; expected 1 to 32 of A-Z a-z 0-9 . _ - that begin with "
      "a letter or a digit\n"
      "web.toml:7:1: disk[0].cpus: unknown key; Known here: bus, cache, file, files, format, read_only, size, storage");
}

TEST(VmConfig, ChecksMemoryRangeAndStep) {
  const auto memory = [](std::string_view value) {
    return faults(fmt::format("name=\"a\"\nkernel=\"k\"\nmemory={}\n{}{}", value, kReplication, kArbiter));
  };
  EXPECT_EQ(memory("\"64M\""), "");
  EXPECT_EQ(memory("\"1T\""), "");
  const std::string accepted = "expected a size from \"64M\" to \"1T\", a multiple of 2M";
  EXPECT_EQ(memory("\"62M\""), "web.toml:3:8: memory: \"62M\" is not an accepted size; " + accepted);
  EXPECT_EQ(memory("\"2T\""), "web.toml:3:8: memory: \"2T\" is not an accepted size; " + accepted);
  EXPECT_EQ(memory("\"65M\""), "web.toml:3:8: memory: \"65M\" is not an accepted size; " + accepted);
  EXPECT_EQ(memory("\"512\""),
            "web.toml:3:8: memory: \"512\" is not a size (a whole number and K, M, G or T); " + accepted);
  EXPECT_EQ(memory("512"),
            "web.toml:3:8: memory: 512 is an integer; expected a string with a unit, from \"64M\" to "
            "\"1T\", a multiple of 2M");
}

TEST(VmConfig, ChecksThatThereIsSomethingToBoot) {
  const std::string rest = std::string(kReplication) + std::string(kArbiter);
  EXPECT_EQ(faults("name=\"a\"\nmemory=\"64M\"\n[[disk]]\nfile=\"d\"\nread_only=true\n" + rest), "");
  EXPECT_EQ(faults("name=\"a\"\nmemory=\"64M\"\ninitrd=\"i\"\n[[disk]]\nfile=\"d\"\nread_only=true\n" + rest),
            "web.toml:3:8: initrd: needs kernel as well");
  EXPECT_EQ(faults("name=\"a\"\nmemory=\"64M\"\nmachine=\"microvm\"\n[[disk]]\nfile=\"d\"\nread_only=true\n" + rest),
            "web.toml: kernel: machine = \"microvm\" boots only from a kernel file; expected kernel = \"...\"");
}

TEST(VmConfig, ReportsASyntaxErrorWithItsPlace) {
  EXPECT_THAT(faults("name = \"web\nmemory = 1\n"), testing::StartsWith("web.toml:1:"));
  EXPECT_THAT(faults("name = web\n"), testing::StartsWith("web.toml:1:8: "));
  EXPECT_THAT(faults("a = 1\na = 2\n"), testing::StartsWith("web.toml:2:"));
  EXPECT_THAT(faults(std::string("name = \"\xff\"\n")), testing::StartsWith("web.toml:1:"));
}

TEST(VmConfig, SurvivesDeepNesting) {
  std::string deep = "a = " + std::string(200, '[') + std::string(200, ']') + "\n";
  EXPECT_THAT(faults(deep), HasSubstr("web.toml:1:"));
  EXPECT_NE(faults("a = " + std::string(100'000, '[')), "");
}

TEST(VmConfig, LoadSaysWhyAFileCannotBeRead) {
  EXPECT_EQ(load_vm_config("/nonexistent/a.toml").error().message, "/nonexistent/a.toml: there is no such VM file");
  EXPECT_EQ(load_vm_config("/").error().message, "/: is a directory, not a VM file");
}

TEST(VmConfig, CanonicalTextHasWhatBothHostsMustAgreeOn) {
  const std::string text = R"(name = "web"
memory = "512M"
cpus = 2
cpu = "Nehalem"
kernel = "vmlinuz"
initrd = "initrd"
append = "quiet"
firmware = "bios"
qemu_args = ["-uuid", "x"]
[[disk]]
file = "root.img"
read_only = true
[[nic]]
mac = "52:54:00:00:00:01"
[replication]
hosts = ["10.0.0.1:7400", "10.0.0.2:7400"]
[arbiter]
path = "shared"
)";
  const auto config = parse_vm_config(text, "/vm/web.toml");
  ASSERT_TRUE(config);
  EXPECT_EQ(canonical_text(*config),
            "name = web\n"
            "memory = 536870912\n"
            "cpus = 2\n"
            "machine = q35\n"
            "cpu = Nehalem\n"
            "kernel = vmlinuz\n"
            "initrd = initrd\n"
            "append = quiet\n"
            "firmware = bios\n"
            "disk = raw root.img\n"
            "nic = 52:54:00:00:00:01\n"
            "qemu_arg = -uuid\n"
            "qemu_arg = x\n"
            "arbiter = directory shared\n");
}

TEST(VmConfig, AWritableDiskIsReplicatedUnlessItSaysOtherwise) {
  const auto config = parse_vm_config(with("[[disk]]\nfile = \"a.img\"\nsize = \"1G\"\n"
                                           "files = { \"10.0.0.1:7400\" = \"/fast/a.img\" }\n"
                                           "[[disk]]\nfile = \"b\"\nread_only = true\n"
                                           "[[disk]]\nfile = \"c\"\nbus = \"ahci\"\n"),
                                      "/vm/web.toml");
  ASSERT_TRUE(config) << config.error().message;
  const DiskConfig& disk = config->disks.at(0);
  EXPECT_EQ(disk.storage, DiskStorage::kReplicated);
  EXPECT_EQ(disk.size_bytes, uint64_t{1} << 30);
  EXPECT_EQ(disk.file_on({"10.0.0.1", 7400}).path, "/fast/a.img");
  EXPECT_EQ(disk.file_on({"10.0.0.2", 7400}).path, "/vm/a.img");
  EXPECT_EQ(config->disks.at(1).storage, DiskStorage::kReadOnly);
  // Where a replicated image lies is each host's own affair.
  EXPECT_THAT(canonical_text(*config), testing::HasSubstr("disk = raw virtio-blk replicated 1073741824\n"
                                                          "disk = raw b\n"
                                                          "disk = raw ahci replicated\n"));
}

TEST(VmConfig, CanonicalTextLeavesOutHostSideNamesAndTiming) {
  const auto one = parse_vm_config(with("qemu_binary = \"/opt/a\"\n[[nic]]\nbridge = \"br0\"\n"), "/one/web.toml");
  const auto two = parse_vm_config(with("serial_log = \"x\"\n[[nic]]\nbridge = \"br1\"\ntap = \"t\"\n[epoch]\n"
                                        "length = \"5ms\"\n"),
                                   "/two/web.toml");
  ASSERT_TRUE(one && two);
  EXPECT_EQ(canonical_text(*one), canonical_text(*two));
}

TEST(VmConfig, EveryExampleIsAValidVmFile) {
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(US_SOURCE_DIR "/examples")) {
    if (entry.path().extension() != ".toml") continue;
    const auto config = load_vm_config(entry.path().string());
    EXPECT_TRUE(config) << config.error().message;
    ++count;
  }
  EXPECT_GE(count, 3u);
}

}  // namespace
}  // namespace us
