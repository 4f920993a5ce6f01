// Epoll: RAII around epoll(7).  Each descriptor is known by a 64-bit tag that the owner chooses.
//
// A descriptor received from another process must be remove()d before it is closed: the kernel's entry belongs to the
// open file, which the other process still holds.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <span>

#include "base/result.h"
#include "base/time.h"
#include "os/unique_fd.h"

namespace us {

class Epoll {
 public:
  static Result<Epoll> create();

  // `events` is a mask of EPOLLIN, EPOLLOUT, EPOLLET.
  Status add(int fd, uint32_t events, uint64_t tag) const;
  Status modify(int fd, uint32_t events, uint64_t tag) const;
  void remove(int fd) const;

  // Waits for events, not past `timeout` (Duration::infinite(): for ever).
  // Returns the part of `into` that was filled; empty after the timeout or a signal.
  std::span<epoll_event> wait(std::span<epoll_event> into, Duration timeout) const;

 private:
  explicit Epoll(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace us
