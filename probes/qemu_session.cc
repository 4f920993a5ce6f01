#include "probes/qemu_session.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "os/clock.h"
#include "qemu/firmware.h"

namespace us::probes {
namespace {

// Numbers in QEMU.
constexpr int kRamFd = 10;
constexpr int kQmpFd = 11;
constexpr int kStateFd = 12;
constexpr int kIncomingFd = 13;

constexpr Duration kTimeout = Duration::seconds(10);
constexpr uint64_t kMemory = kMemoryMin;

Result<std::pair<UniqueFd, UniqueFd>> socket_pair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return fail_errno("socketpair", errno);
  return std::pair{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

Bytes read_all(int fd) {
  struct stat about {};
  if (::fstat(fd, &about) != 0) return {};
  Bytes out(static_cast<size_t>(about.st_size));
  const ssize_t n = ::pread(fd, out.data(), out.size(), 0);
  out.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return out;
}

VmConfig bare(const VmConfig& config) {
  VmConfig out = config;
  out.memory_bytes = kMemory;
  out.kernel.reset();
  out.initrd.reset();
  out.append.clear();
  out.disks.clear();
  out.nics.clear();
  return out;
}

}  // namespace

Result<std::unique_ptr<QemuSession>> QemuSession::start(const VmConfig& config, Accelerator accelerator,
                                                        bool incoming) {
  US_ASSIGN(GuestRam ram, GuestRam::create(kMemory));
  std::unique_ptr<QemuSession> session(new QemuSession(std::move(ram)));
  US_TRY(session->spawn(bare(config), accelerator, incoming));
  const Status ready = session->qmp_->negotiate(kTimeout);
  if (ready) return session;
  const std::string words = session->words();
  return fail(ready.error().kind, words.empty() ? ready.error().message : words);
}

Status QemuSession::spawn(const VmConfig& config, Accelerator accelerator, bool incoming) {
  state_.reset(::memfd_create("understudy-probe-state", MFD_CLOEXEC));
  output_.reset(::memfd_create("understudy-probe-output", MFD_CLOEXEC));
  if (!state_ || !output_) return fail_errno("memfd_create", errno);
  US_ASSIGN(auto qmp, socket_pair());
  US_ASSIGN(auto feed, socket_pair());
  LaunchInfo launch;
  launch.accelerator = accelerator;
  launch.ram_fd = kRamFd;
  launch.qmp.fd = kQmpFd;
  launch.incoming = incoming;
  US_ASSIGN(launch.firmware, find_firmware(config));
  SpawnOptions options;
  options.argv = qemu_command_line(config, launch);
  options.inherited = {
      {ram_.fd(), kRamFd}, {qmp.second.get(), kQmpFd}, {state_.get(), kStateFd}, {feed.second.get(), kIncomingFd}};
  options.output_fd = output_.get();
  US_ASSIGN(ChildProcess process, ChildProcess::spawn(options));
  process_ = std::make_unique<ChildProcess>(std::move(process));
  qmp_ = std::make_unique<QmpClient>(std::move(qmp.first));
  incoming_ = std::move(feed.first);
  return {};
}

std::string QemuSession::words() const {
  const Bytes printed = read_all(output_.get());
  std::string out(printed.begin(), printed.end());
  while (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

Result<nlohmann::json> QemuSession::execute(const std::string& command, const nlohmann::json& arguments) {
  return qmp_->execute(command, arguments, kTimeout);
}

Result<Bytes> QemuSession::save() {
  US_TRY(execute("xen-save-devices-state", {{"filename", fmt::format("/proc/self/fd/{}", kStateFd)}, {"live", false}}));
  return read_all(state_.get());
}

Status QemuSession::load(ByteSpan device_state) {
  US_TRY(execute("migrate-incoming", {{"uri", fmt::format("fd:{}", kIncomingFd)}}));
  for (size_t sent = 0; sent < device_state.size();) {
    const ssize_t n = ::send(incoming_.get(), device_state.data() + sent, device_state.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EINTR) return fail_errno("send the device state to QEMU", errno);
    if (n > 0) sent += static_cast<size_t>(n);
  }
  incoming_.reset();
  for (const Instant deadline = clock_now() + kTimeout; clock_now() < deadline;) {
    const auto status = execute("query-status");
    if (!status) return fail(status.error().kind, words().empty() ? status.error().message : words());
    if (status->value("status", std::string()) != "inmigrate") return {};
    ::usleep(500);
  }
  return fail(ErrorKind::kTimeout, "QEMU did not finish loading device state");
}

}  // namespace us::probes
