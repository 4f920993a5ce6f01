#include "tcp/stock_vm.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "demo/command.h"
#include "demo/host_daemon.h"
#include "os/unique_fd.h"
#include "qemu/command_line.h"

namespace us::bench {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTap = "tap0";
constexpr int kTapTries = 100;

// QEMU's own driver; the device is that of qemu/command_line.cc.
std::vector<std::string> disk_arguments(const fs::path& directory, const StockDisk& disk) {
  if (disk.image.empty()) return {};
  return {"-blockdev",
          fmt::format("driver=file,node-name=file0,filename={},cache.direct={},discard=unmap",
                      option_value((directory / "disk.img").string()), disk.cache_is_direct ? "on" : "off"),
          "-blockdev",
          "driver=raw,node-name=disk0,file=file0,discard=unmap",
          "-device",
          "virtio-blk-pci,bus=pcie.0,addr=18,disable-legacy=on,drive=disk0"};
}

std::vector<std::string> command_line(const fs::path& directory, const std::string& guest_dir,
                                      const std::string& memory, const std::string& accelerator,
                                      const StockDisk& disk) {
  const Accelerator kind = accelerator == "kvm" ? Accelerator::kKvm : Accelerator::kTcg;
  const std::string guest = fs::absolute(guest_dir).string();
  // Machine, processor and card are those of qemu/command_line.cc, so that only the way of the packets differs.
  std::vector<std::string> out = {
      "qemu-system-x86_64",
      "-no-user-config",
      "-nodefaults",
      "-machine",
      "q35,hpet=off,smm=off,vmport=off",
      "-accel",
      accelerator,
      "-cpu",
      cpu_model(VmConfig{}, kind),
      "-smp",
      "1",
      "-m",
      memory,
      "-display",
      "none",
      "-vga",
      "none",
      "-monitor",
      "none",
      "-chardev",
      fmt::format("file,id=serial0,path={}", option_value((directory / "serial.log").string())),
      "-serial",
      "chardev:serial0",
      "-kernel",
      guest + "/vmlinuz",
      "-initrd",
      guest + "/initrd.cpio",
      "-append",
      fmt::format("console=ttyS0 quiet us.ip={}/24 us.ip6={}/64{}", demo::kGuestAddress, demo::kGuestAddress6,
                  disk.image.empty() ? "" : " us.root=/dev/vda"),
      "-netdev",
      fmt::format("tap,id=net0,ifname={},script=no,downscript=no,vhost=off", kTap),
      "-device",
      "virtio-net-pci,bus=pcie.0,addr=10,disable-legacy=on,romfile=,netdev=net0,mac=52:54:00:00:00:10"};
  for (std::string& word : disk_arguments(directory, disk)) out.push_back(std::move(word));
  return out;
}

// QEMU makes the tap when it starts.
Status plug_tap(const demo::NetNs& host) {
  Status plugged;
  for (int i = 0; i < kTapTries; ++i) {
    const auto done = demo::run_checked(
        {"ip", "-n", host.name(), "link", "set", kTap, "master", demo::kHostBridge, "addrgenmode", "none", "up"});
    if (done) return {};
    plugged = tl::unexpected(done.error());
    ::usleep(50'000);
  }
  return plugged;
}

}  // namespace

Result<std::unique_ptr<StockVm>> StockVm::start(const std::string& prefix, const std::string& guest_dir,
                                                const std::string& memory, const std::string& accelerator,
                                                const WireConfig& wire, const StockDisk& disk) {
  US_ASSIGN(demo::Lab lab, demo::Lab::create(prefix, wire));
  const fs::path directory = fs::temp_directory_path() / ("understudy-" + prefix);
  std::error_code error;
  fs::remove_all(directory, error);
  fs::create_directories(directory, error);
  std::unique_ptr<StockVm> vm(new StockVm(std::move(lab), directory));
  if (!disk.image.empty())
    US_TRY(demo::run_checked({"cp", "--sparse=always", "--reflink=auto", disk.image, (directory / "disk.img").string()},
                             Duration::seconds(60)));
  const std::string log = directory / "qemu.log";
  const UniqueFd output(::open(log.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  if (!output) return fail_errno("open " + log, errno);
  const demo::NetNs& host = vm->lab_.host(0);
  US_ASSIGN(ChildProcess qemu,
            ChildProcess::spawn({.argv = host.wrap(command_line(directory, guest_dir, memory, accelerator, disk)),
                                 .inherited = {},
                                 .output_fd = output.get()}));
  vm->qemu_.emplace(std::move(qemu));
  US_TRY(plug_tap(host));
  return vm;
}

StockVm::~StockVm() {
  qemu_.reset();
  std::error_code error;
  fs::remove_all(directory_, error);
}

bool StockVm::ready() const {
  std::ifstream in(directory_ / "serial.log");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("guest ready")) return true;
  return false;
}

std::optional<std::string> StockVm::poll_exit() {
  const auto exit = qemu_->poll_exit();
  if (!exit) return std::nullopt;
  return fmt::format("QEMU {}; its log ends with\n{}", *exit, demo::log_tail(directory_ / "qemu.log", 5));
}

}  // namespace us::bench
