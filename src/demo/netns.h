// NetNs: a named network namespace, which stands for one machine in the demo's network.
//
// It is made with `ip netns add`, so `ip netns exec NAME ...` works on it while it lives.  Destroying the object kills
// every process in it and deletes it with all its interfaces.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/result.h"
#include "os/unique_fd.h"

namespace us::demo {

class NetNs {
 public:
  static Result<NetNs> create(const std::string& name);
  NetNs(NetNs&&) noexcept;
  NetNs& operator=(NetNs&&) noexcept;
  ~NetNs();

  const std::string& name() const { return name_; }

  // `command` preceded by what runs it in this namespace.
  std::vector<std::string> wrap(const std::vector<std::string>& command) const;

  // Moves the calling thread here for good: use a thread of its own.
  Status enter() const;

  // A datagram socket that belongs to this namespace, for interface ioctls (netdevice(7)).
  Result<UniqueFd> open_control_socket() const;

  // All processes whose main thread is in this namespace.
  std::vector<pid_t> processes() const;

  // SIGKILL to all of them, again until none is left.  Error: some will not go.
  Status kill_processes() const;

 private:
  NetNs(std::string name, UniqueFd fd, ino_t inode) : name_(std::move(name)), fd_(std::move(fd)), inode_(inode) {}
  void destroy();

  std::string name_;  // empty once moved from
  UniqueFd fd_;
  ino_t inode_ = 0;
};

}  // namespace us::demo
