// For tests: a copy of this process, made with fork(), that writes to pages of shared memory when told to.
#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>

#include "base/bytes.h"

namespace us {

class TracedChild {
 public:
  // `serve(command)` runs in the child for each command; what it returns is the answer.
  explicit TracedChild(const std::function<uint64_t(uint64_t)>& serve) {
    if (::pipe(commands_) != 0 || ::pipe(answers_) != 0) std::abort();
    pid_ = ::fork();
    if (pid_ < 0) std::abort();
    if (pid_ > 0) return;
    ::close(commands_[1]);
    for (uint64_t command = 0; ::read(commands_[0], &command, sizeof command) == sizeof command;) {
      const uint64_t answer = serve(command);
      if (::write(answers_[1], &answer, sizeof answer) != sizeof answer) break;
    }
    ::_exit(0);
  }
  TracedChild(const TracedChild&) = delete;
  TracedChild& operator=(const TracedChild&) = delete;
  ~TracedChild() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    for (int fd : {commands_[0], commands_[1], answers_[0], answers_[1]}) ::close(fd);
  }

  pid_t pid() const { return pid_; }
  uint64_t ask(uint64_t command) {
    uint64_t answer = ~uint64_t{0};
    if (::write(commands_[1], &command, sizeof command) != sizeof command) return answer;
    if (::read(answers_[0], &answer, sizeof answer) != sizeof answer) return ~uint64_t{0};
    return answer;
  }

 private:
  int commands_[2];
  int answers_[2];
  pid_t pid_ = 0;
};

}  // namespace us
