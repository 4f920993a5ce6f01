#include "host/vm.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "host/disk_limits.h"
#include "os/choose_tracker.h"
#include "os/clock.h"
#include "os/fd_socket.h"
#include "os/socket.h"
#include "qemu/firmware.h"
#include "qemu/ram_blocks.h"

namespace us {
namespace {

// Numbers that QEMU inherits its descriptors under.
constexpr int kRamFd = 10;
constexpr int kQmpFd = 11;
constexpr int kStateFd = 12;
constexpr int kIncomingFd = 13;
constexpr int kFirstDiskFd = 14;

constexpr Duration kStartTimeout = Duration::seconds(20);
constexpr Duration kCommandTimeout = Duration::seconds(10);
constexpr Duration kLoadPoll = Duration::millis(1);

Result<std::pair<UniqueFd, UniqueFd>> socket_pair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return fail_errno("socketpair", errno);
  return std::pair{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

TrackerChoice tracker_choice(const VmConfig& config) {
  switch (config.dirty_tracker) {
    case DirtyTrackerChoice::kUserfaultfd:
      return TrackerChoice::kUserfaultfd;
    case DirtyTrackerChoice::kSoftDirty:
      return TrackerChoice::kSoftDirty;
    case DirtyTrackerChoice::kAuto:
      break;
  }
  return TrackerChoice::kAuto;
}

std::vector<DataPathNic> data_path_nics(const VmConfig& config, const std::string& runtime_directory) {
  std::vector<DataPathNic> nics;
  for (size_t i = 0; i < config.nics.size(); ++i) {
    const NicConfig& nic = config.nics[i];
    nics.push_back({runtime_directory + "/" + config.name + ".nic" + std::to_string(i), nic.tap, nic.bridge, nic.mac,
                    config.gate_bytes_max / config.nics.size()});
  }
  return nics;
}

}  // namespace

const char* Vm::state_path() { return "/proc/self/fd/12"; }

Vm::Vm(GuestRam ram) : ram_(std::move(ram)), own_writes_(ram_.page_count()) {}

Vm::~Vm() {
  // QEMU first: it would report a vanished vhost-user peer otherwise.
  process_.reset();
}

Result<std::unique_ptr<Vm>> Vm::launch(const VmConfig& config, Accelerator accelerator, Start start,
                                       const std::string& runtime_directory, int log_fd,
                                       std::vector<DiskEndpoint> disks) {
  if (disks.size() != static_cast<size_t>(std::ranges::count_if(config.disks, &DiskConfig::writable)))
    return fail(ErrorKind::kRefused, "not every writable disk of the VM file is served");
  US_ASSIGN(GuestRam ram, GuestRam::create(config.memory_bytes));
  std::unique_ptr<Vm> vm(new Vm(std::move(ram)));
  vm->accelerator_ = accelerator;
  const DataPathRam view{vm->ram_.base(), vm->ram_.size(), vm->ram_.device(), vm->ram_.inode()};
  US_ASSIGN(vm->net_, DataPath::start(data_path_nics(config, runtime_directory), view, vm->own_writes_));
  US_TRY(vm->start_process(config, start, runtime_directory, log_fd, std::move(disks)));
  US_TRY(vm->qmp_->negotiate(kStartTimeout));
  US_TRY(vm->learn_identity());
  US_TRY(vm->judge_memory(config));
  US_ASSIGN(ChosenTracker chosen, attach_tracker(tracker_choice(config), vm->process_->pid(), vm->ram_));
  vm->tracker_ = std::move(chosen.tracker);
  vm->tracker_reason_ = std::move(chosen.reason);
  return vm;
}

Status Vm::start_process(const VmConfig& config, Start start, const std::string& runtime_directory, int log_fd,
                         std::vector<DiskEndpoint> disks) {
  state_fd_ = UniqueFd(::memfd_create("understudy-device-state", MFD_CLOEXEC));
  if (!state_fd_) return fail_errno("memfd_create for the device state", errno);
  US_ASSIGN(auto qmp, socket_pair());
  US_ASSIGN(auto incoming, socket_pair());
  LaunchInfo launch;
  launch.accelerator = accelerator_;
  US_ASSIGN(launch.firmware, find_firmware(config));
  launch.ram_fd = kRamFd;
  launch.qmp.fd = kQmpFd;
  for (const DataPathNic& nic : data_path_nics(config, runtime_directory))
    launch.vhost_user.push_back({.fd = -1, .path = nic.vhost_socket_path});
  // Connected here: the buffer in which a socket's data waits is the sender's, and QEMU leaves it at the default, less
  // than a large request.
  std::vector<UniqueFd> disk_sockets;
  for (DiskEndpoint& disk : disks) {
    US_ASSIGN(UniqueFd socket, unix_connect(disk.socket_path));
    set_send_buffer(socket.get(), kDiskSendBufferBytes);
    disk.fd = kFirstDiskFd + static_cast<int>(disk_sockets.size());
    disk_sockets.push_back(std::move(socket));
  }
  launch.disks = std::move(disks);
  if (config.serial_log) launch.serial_log = config.serial_log->path;
  launch.incoming = start == Start::kIncoming;
  SpawnOptions spawn;
  spawn.argv = qemu_command_line(config, launch);
  spawn.inherited = {{ram_.fd(), kRamFd},
                     {qmp.second.get(), kQmpFd},
                     {state_fd_.get(), kStateFd},
                     {incoming.second.get(), kIncomingFd}};
  for (size_t i = 0; i < disk_sockets.size(); ++i)
    spawn.inherited.emplace_back(disk_sockets[i].get(), launch.disks[i].fd);
  spawn.output_fd = log_fd;
  US_ASSIGN(ChildProcess process, ChildProcess::spawn(spawn));
  process_ = std::make_unique<ChildProcess>(std::move(process));
  qmp_ = std::make_unique<QmpClient>(std::move(qmp.first));
  incoming_ = std::move(incoming.first);
  return {};
}

Status Vm::learn_identity() {
  US_ASSIGN(const auto version, qmp_->execute("query-version", nullptr, kCommandTimeout));
  const auto& number = version.at("qemu");
  identity_.qemu_version = std::to_string(number.value("major", 0)) + "." + std::to_string(number.value("minor", 0)) +
                           "." + std::to_string(number.value("micro", 0)) + version.value("package", std::string());
  US_ASSIGN(const auto type, qmp_->execute("qom-get", {{"path", "/machine"}, {"property", "type"}}, kCommandTimeout));
  US_ASSIGN(const auto kvm, qmp_->execute("query-kvm", nullptr, kCommandTimeout));
  const Accelerator runs = kvm.value("enabled", false) ? Accelerator::kKvm : Accelerator::kTcg;
  if (runs != accelerator_)
    return fail(ErrorKind::kRefused, "QEMU was started with accelerator " + std::string(to_text(accelerator_)) +
                                         ", but runs with " + std::string(to_text(runs)));
  identity_.machine = (type.is_string() ? type.get<std::string>() : "?") + " " + std::string(to_text(accelerator_));
  return {};
}

Status Vm::judge_memory(const VmConfig& config) {
  US_ASSIGN(const std::string text, qmp_->monitor_command(kRamBlockCommand, kCommandTimeout));
  US_ASSIGN(const std::vector<RamBlock> blocks, parse_ram_blocks(text));
  US_TRY(check_ram_blocks(blocks, config));
  for (const RamBlock& block : blocks)
    if (block.name != kMainRamBlock) other_blocks_.push_back(block.name);
  return {};
}

std::vector<MappedRam> Vm::memory_map() {
  const Result<std::string> text = qmp_->monitor_command(kMemoryMapCommand, kCommandTimeout);
  return text ? parse_memory_map(*text) : std::vector<MappedRam>{};
}

Status Vm::resume() {
  US_TRY(qmp_->execute("cont", nullptr, kCommandTimeout));
  return {};
}

Status Vm::restore(ByteSpan device_state) {
  US_TRY(qmp_->execute("migrate-incoming", {{"uri", "fd:" + std::to_string(kIncomingFd)}}, kCommandTimeout));
  US_TRY(feed_incoming(device_state));
  return wait_until_loaded();
}

Status Vm::feed_incoming(ByteSpan device_state) {
  const Instant deadline = clock_now() + kCommandTimeout;
  for (size_t sent = 0; sent < device_state.size();) {
    const ssize_t n =
        ::send(incoming_.get(), device_state.data() + sent, device_state.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0)
      sent += static_cast<size_t>(n);
    else if (errno == EAGAIN) {
      if (!wait_writable(incoming_.get(), deadline)) return fail(ErrorKind::kTimeout, "QEMU does not read its state");
    } else if (errno != EINTR) {
      return fail_errno("send the device state to QEMU", errno);
    }
  }
  incoming_.reset();
  return {};
}

Status Vm::wait_until_loaded() {
  for (const Instant deadline = clock_now() + kCommandTimeout; clock_now() < deadline;) {
    US_ASSIGN(const auto status, qmp_->execute("query-status", nullptr, kCommandTimeout));
    const std::string state = status.value("status", std::string());
    if (state != "inmigrate") return {};
    ::usleep(static_cast<useconds_t>(kLoadPoll.to_micros()));
  }
  return fail(ErrorKind::kTimeout, "QEMU did not finish loading the device state");
}

}  // namespace us
