#include "os/fd_socket.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace us {
namespace {

Result<sockaddr_un> unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path)
    return fail(ErrorKind::kInput,
                fmt::format("socket path {} is empty or longer than {}", path, sizeof address.sun_path - 1));
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

}  // namespace

Result<UniqueFd> unix_listen(const std::string& path) {
  US_ASSIGN(const sockaddr_un address, unix_address(path));
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("socket", errno);
  ::unlink(path.c_str());
  // The file that bind() makes has the socket's own mode; umask() would change every thread's.
  if (::fchmod(fd.get(), S_IRUSR | S_IWUSR) != 0) return fail_errno("fchmod", errno);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return fail_errno(fmt::format("bind {}", path), errno);
  if (::listen(fd.get(), 4) != 0) return fail_errno(fmt::format("listen on {}", path), errno);
  return fd;
}

Result<UniqueFd> unix_accept(int listener) {
  UniqueFd fd(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (fd || errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return fd;
  return fail_errno("accept", errno);
}

Result<UniqueFd> unix_connect(const std::string& path) {
  US_ASSIGN(const sockaddr_un address, unix_address(path));
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("socket", errno);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return fail_errno(fmt::format("connect to {}", path), errno);
  return fd;
}

void set_send_buffer(int fd, int bytes) {
  // The kernel doubles what it is told (socket(7)).  FORCE goes past wmem_max and needs CAP_NET_ADMIN.
  bytes /= 2;
  if (::setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) != 0)
    static_cast<void>(::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes));
}

FdSocketOutcome fd_socket_read(int fd, std::span<uint8_t> into, size_t& bytes, std::vector<UniqueFd>& fds) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kFdSocketFdsMax)];
  iovec vector{into.data(), into.size()};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t n = ::recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (n < 0) return errno == EAGAIN || errno == EINTR ? FdSocketOutcome::kWouldBlock : FdSocketOutcome::kClosed;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int received = -1;
      std::memcpy(&received, CMSG_DATA(c) + i * sizeof(int), sizeof received);
      fds.emplace_back(received);
    }
  }
  if (n == 0 || (message.msg_flags & MSG_CTRUNC) != 0) return FdSocketOutcome::kClosed;
  bytes = static_cast<size_t>(n);
  return FdSocketOutcome::kDone;
}

FdSocketOutcome fd_socket_write(int fd, ByteSpan bytes) {
  const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  return n == static_cast<ssize_t>(bytes.size()) ? FdSocketOutcome::kDone : FdSocketOutcome::kClosed;
}

}  // namespace us
