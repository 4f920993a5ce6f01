// EventFd: a counter in the kernel that wakes whoever polls it (eventfd(2)).  Non-blocking.
#pragma once

#include "base/result.h"
#include "os/unique_fd.h"

namespace us {

class EventFd {
 public:
  static Result<EventFd> create();
  // For a descriptor from somewhere else, such as a virtqueue's call descriptor.
  explicit EventFd(UniqueFd fd) : fd_(std::move(fd)) {}

  // From any thread.  Never blocks; a full counter is as good as a signal.
  void signal() const;
  // Resets the counter; true if it had been signalled.
  bool drain() const;
  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

}  // namespace us
