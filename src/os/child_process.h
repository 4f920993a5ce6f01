// ChildProcess: a program started by us that never outlives us.
//
// The child gets SIGKILL when the *thread* that started it ends (PR_SET_PDEATHSIG, prctl(2)), so start children from a
// thread that lives as long as they should, in practice the main thread.  Destroying the object kills and reaps it.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "os/unique_fd.h"

namespace us {

struct SpawnOptions {
  std::vector<std::string> argv;
  // (descriptor here, its number in the child); all others are closed in the child except 0..2.
  std::vector<std::pair<int, int>> inherited;
  // stdout and stderr of the child; -1 leaves ours.
  int output_fd = -1;
};

class ChildProcess {
 public:
  static Result<ChildProcess> spawn(const SpawnOptions& options);
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&&) = delete;
  ~ChildProcess();

  pid_t pid() const { return pid_; }
  // Readable (poll) once the child has ended.
  int exit_fd() const { return pidfd_.get(); }
  // How the child ended in words ("exited with status 1", "killed by signal 9"), or nothing while it runs.
  std::optional<std::string> poll_exit();
  void kill_and_reap();

 private:
  ChildProcess(pid_t pid, UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  pid_t pid_;  // 0 once moved from
  UniqueFd pidfd_;
  std::optional<std::string> exit_;
};

}  // namespace us
