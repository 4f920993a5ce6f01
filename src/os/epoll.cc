#include "os/epoll.h"

#include <algorithm>
#include <cerrno>
#include <ctime>

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
  const int64_t nanos = std::max<int64_t>(0, timeout.to_nanos());
  const timespec limit{nanos / 1'000'000'000, nanos % 1'000'000'000};
  const timespec* forever = nullptr;
  const int n = ::epoll_pwait2(fd_.get(), into.data(), static_cast<int>(into.size()),
                               timeout == Duration::infinite() ? forever : &limit, nullptr);
  return into.first(n > 0 ? static_cast<size_t>(n) : 0);
}

}  // namespace us
