// CommandQueue: what an operator asks of a running node, handed from the control interface to the main thread.
#pragma once

#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "os/event_fd.h"

namespace us {

enum class CommandKind {
  kSet,  // change settings; `argument` is "key=value"
  kSwitchover,
  kAudit,  // compare the standby's copy; the answer is a JSON object
  kStop,   // end the VM (primary) or the standby
  kLeave,  // this process is to end: hand over if protected, else as kStop
};

struct Command {
  CommandKind kind;
  std::string argument;
  // Answered exactly once; a command that is dropped unanswered is answered by the queue's owner as refused.
  std::shared_ptr<std::promise<Result<std::string>>> answer;
};

class CommandQueue {
 public:
  explicit CommandQueue(EventFd wake) : wake_(std::move(wake)) {}

  // Any thread.
  std::future<Result<std::string>> post(CommandKind kind, std::string argument = {}) {
    Command command{kind, std::move(argument), std::make_shared<std::promise<Result<std::string>>>()};
    std::future<Result<std::string>> answer = command.answer->get_future();
    {
      const std::lock_guard lock(mutex_);
      commands_.push_back(std::move(command));
    }
    wake_.signal();
    return answer;
  }

  // Main thread.
  std::vector<Command> take() {
    wake_.drain();
    const std::lock_guard lock(mutex_);
    return std::exchange(commands_, {});
  }
  int fd() const { return wake_.fd(); }

 private:
  EventFd wake_;
  std::mutex mutex_;
  std::vector<Command> commands_;
};

}  // namespace us
