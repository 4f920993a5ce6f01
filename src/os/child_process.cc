#include "os/child_process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

namespace us {
namespace {

// Inherited descriptors are first duplicated above this number, so that putting one in its final place never
// overwrites another that is still needed.
constexpr int kParkingFd = 200;

// Runs in the child between fork and exec: async-signal-safe calls only (`parked` has room for every inherited
// descriptor).  Returns the errno of what failed.
int become_child(const SpawnOptions& options, const std::vector<char*>& argv, std::vector<int>& parked, pid_t parent) {
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return errno;
  if (::getppid() != parent) return ESRCH;  // the parent died before the line above
  ::setpgid(0, 0);                          // a Ctrl-C at the terminal is the daemon's to handle
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  const int null_fd = ::open("/dev/null", O_RDONLY);
  if (null_fd < 0 || ::dup2(null_fd, 0) < 0) return errno;
  if (options.output_fd >= 0 && (::dup2(options.output_fd, 1) < 0 || ::dup2(options.output_fd, 2) < 0)) return errno;
  for (size_t i = 0; i < parked.size(); ++i) {
    parked[i] = ::fcntl(options.inherited[i].first, F_DUPFD_CLOEXEC, kParkingFd);
    if (parked[i] < 0) return errno;
  }
  if (::close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) != 0) return errno;
  for (size_t i = 0; i < parked.size(); ++i)
    if (::dup2(parked[i], options.inherited[i].second) < 0) return errno;
  ::execvp(argv[0], argv.data());
  return errno;
}

}  // namespace

Result<ChildProcess> ChildProcess::spawn(const SpawnOptions& options) {
  std::vector<char*> argv;
  for (const std::string& word : options.argv) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  std::vector<int> parked(options.inherited.size());
  int report[2];
  if (::pipe2(report, O_CLOEXEC) != 0) return fail_errno("pipe", errno);
  UniqueFd report_read(report[0]), report_write(report[1]);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno("fork", errno);
  if (pid == 0) {
    // Out of the way of the numbers that inherited descriptors get; close-on-exec, so that a successful exec shows
    // as end of file.
    const int report_fd = ::fcntl(report_write.get(), F_DUPFD_CLOEXEC, kParkingFd);
    const int error = become_child(options, argv, parked, parent);
    [[maybe_unused]] const ssize_t ignored = ::write(report_fd, &error, sizeof error);
    ::_exit(127);
  }
  report_write.reset();
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  ChildProcess child(pid, UniqueFd(pidfd));
  int error = 0;
  ssize_t got;
  do got = ::read(report_read.get(), &error, sizeof error);
  while (got < 0 && errno == EINTR);
  if (got == sizeof error) return fail_errno("start " + options.argv[0], error);
  if (pidfd < 0) return fail(ErrorKind::kSystem, "pidfd_open failed; Linux 5.3 or later is needed");
  return child;
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)), pidfd_(std::move(other.pidfd_)), exit_(std::move(other.exit_)) {}

ChildProcess::~ChildProcess() {
  if (pid_ != 0) kill_and_reap();
}

std::optional<std::string> ChildProcess::poll_exit() {
  if (exit_ || pid_ == 0) return exit_;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  if (WIFEXITED(status))
    exit_ = "exited with status " + std::to_string(WEXITSTATUS(status));
  else
    exit_ = "was killed by signal " + std::to_string(WTERMSIG(status)) + " (" + ::strsignal(WTERMSIG(status)) + ")";
  return exit_;
}

void ChildProcess::kill_and_reap() {
  if (exit_ || pid_ == 0) return;
  ::kill(pid_, SIGKILL);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  exit_ = "was ended by us";
}

}  // namespace us
