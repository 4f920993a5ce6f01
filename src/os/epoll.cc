#include "os/epoll.h"

#include <algorithm>
#include <cerrno>
#include <climits>

namespace us {
namespace {

Status control(int epoll, int operation, int fd, uint32_t events, uint64_t tag) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = tag;
  if (::epoll_ctl(epoll, operation, fd, &event) != 0) return fail_errno("epoll_ctl", errno);
  return {};
}

}  // namespace

Result<Epoll> Epoll::create() {
  UniqueFd fd(::epoll_create1(EPOLL_CLOEXEC));
  if (!fd) return fail_errno("epoll_create1", errno);
  return Epoll(std::move(fd));
}

Status Epoll::add(int fd, uint32_t events, uint64_t tag) const {
  return control(fd_.get(), EPOLL_CTL_ADD, fd, events, tag);
}

Status Epoll::modify(int fd, uint32_t events, uint64_t tag) const {
  return control(fd_.get(), EPOLL_CTL_MOD, fd, events, tag);
}

void Epoll::remove(int fd) const { ::epoll_ctl(fd_.get(), EPOLL_CTL_DEL, fd, nullptr); }

std::span<epoll_event> Epoll::wait(std::span<epoll_event> into, Duration timeout) const {
  int timeout_ms = -1;
  if (timeout != Duration::infinite())
    timeout_ms = static_cast<int>(std::clamp<int64_t>((timeout.to_nanos() + 999'999) / 1'000'000, 0, INT_MAX));
  const int n = ::epoll_wait(fd_.get(), into.data(), static_cast<int>(into.size()), timeout_ms);
  return into.first(n > 0 ? static_cast<size_t>(n) : 0);
}

}  // namespace us
