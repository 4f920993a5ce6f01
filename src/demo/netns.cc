#include "demo/netns.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <thread>
#include <utility>

#include "demo/command.h"

namespace us::demo {
namespace {

constexpr int kKillRounds = 500;
constexpr useconds_t kKillPauseUs = 10'000;

bool is_in(pid_t pid, ino_t inode) {
  struct stat info {};
  return ::stat(fmt::format("/proc/{}/ns/net", pid).c_str(), &info) == 0 && info.st_ino == inode;
}

// A killed child of ours stays a zombie, without a namespace, until it is reaped; so is_in() is false for it.
std::vector<pid_t> processes_in(ino_t inode) {
  std::vector<pid_t> found;
  const std::unique_ptr<DIR, int (*)(DIR*)> proc(::opendir("/proc"), ::closedir);
  if (!proc) return found;
  while (const dirent* entry = ::readdir(proc.get())) {
    const pid_t pid = static_cast<pid_t>(std::strtol(entry->d_name, nullptr, 10));
    if (pid > 0 && is_in(pid, inode)) found.push_back(pid);
  }
  return found;
}

}  // namespace

Result<NetNs> NetNs::create(const std::string& name) {
  US_TRY(run_checked({"ip", "netns", "add", name}));
  UniqueFd fd(::open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info {};
  if (!fd || ::fstat(fd.get(), &info) != 0) return fail_errno("open namespace " + name, errno);
  NetNs created(name, std::move(fd), info.st_ino);
  US_TRY(run_checked({"ip", "-n", name, "link", "set", "lo", "up"}));
  return created;
}

NetNs::NetNs(NetNs&& other) noexcept
    : name_(std::exchange(other.name_, {})), fd_(std::move(other.fd_)), inode_(other.inode_) {}

NetNs& NetNs::operator=(NetNs&& other) noexcept {
  if (this == &other) return *this;
  destroy();
  name_ = std::exchange(other.name_, {});
  fd_ = std::move(other.fd_);
  inode_ = other.inode_;
  return *this;
}

NetNs::~NetNs() { destroy(); }

void NetNs::destroy() {
  if (name_.empty()) return;
  // Nothing useful can be done about a failure here; the next demo sweeps what was left (lab.h).
  static_cast<void>(kill_processes());
  fd_.reset();
  static_cast<void>(run_checked({"ip", "netns", "delete", name_}));
}

std::vector<std::string> NetNs::wrap(const std::vector<std::string>& command) const {
  std::vector<std::string> wrapped = {"ip", "netns", "exec", name_};
  wrapped.insert(wrapped.end(), command.begin(), command.end());
  return wrapped;
}

Status NetNs::enter() const {
  if (::setns(fd_.get(), CLONE_NEWNET) != 0) return fail_errno("enter namespace " + name_, errno);
  return {};
}

Result<UniqueFd> NetNs::open_control_socket() const {
  Result<UniqueFd> made = fail(ErrorKind::kSystem, "not run");
  std::thread([&] {
    const Status entered = enter();
    if (!entered) {
      made = tl::unexpected(entered.error());
      return;
    }
    UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (fd) {
      made = std::move(fd);
    } else {
      made = fail_errno("socket", errno);
    }
  }).join();
  return made;
}

std::vector<pid_t> NetNs::processes() const { return processes_in(inode_); }

Status NetNs::kill_processes() const {
  for (int round = 0; round < kKillRounds; ++round) {
    const auto left = processes();
    if (left.empty()) return {};
    for (const pid_t pid : left) ::kill(pid, SIGKILL);
    ::usleep(kKillPauseUs);
  }
  return fail(ErrorKind::kSystem, "some processes in namespace " + name_ + " do not die");
}

}  // namespace us::demo
