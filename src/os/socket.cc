#include "os/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "os/clock.h"

namespace us {
namespace {

constexpr int kSocketBufferBytes = 4 << 20;

bool wait_for(int fd, short events, Instant deadline) {
  for (;;) {
    const int64_t left = std::clamp<int64_t>((deadline - clock_now()).to_nanos(), 0, int64_t{3600} * 1'000'000'000);
    const timespec timeout{left / 1'000'000'000, left % 1'000'000'000};
    pollfd waiting{fd, events, 0};
    const int ready = ::ppoll(&waiting, 1, &timeout, nullptr);
    if (ready > 0) return true;
    if (ready == 0) return false;
    if (errno != EINTR) return true;  // let the operation itself report the error
  }
}

Status set_reusable(int fd) {
  const int on = 1;
  if (::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) return fail_errno("setsockopt", errno);
  return {};
}

}  // namespace

Result<SocketAddress> SocketAddress::from(const std::string& host, uint16_t port) {
  SocketAddress address;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage_);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage_);
  if (::inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    address.size_ = sizeof *v4;
  } else if (::inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    address.size_ = sizeof *v6;
  } else {
    return fail(ErrorKind::kInput, "\"" + host + "\" is not a numeric IPv4 or IPv6 address");
  }
  return address;
}

SocketAddress SocketAddress::from_kernel(const sockaddr_storage& storage, socklen_t length) {
  SocketAddress address;
  address.storage_ = storage;
  address.size_ = length;
  return address;
}

SocketAddress SocketAddress::with_port(uint16_t port) const {
  SocketAddress changed = *this;
  if (family() == AF_INET)
    reinterpret_cast<sockaddr_in*>(&changed.storage_)->sin_port = htons(port);
  else
    reinterpret_cast<sockaddr_in6*>(&changed.storage_)->sin6_port = htons(port);
  return changed;
}

std::string SocketAddress::text() const {
  char host[INET6_ADDRSTRLEN] = "?";
  if (family() == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&storage_);
    ::inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
    return std::string(host) + ":" + std::to_string(ntohs(v4->sin_port));
  }
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&storage_);
  ::inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
  return "[" + std::string(host) + "]:" + std::to_string(ntohs(v6->sin6_port));
}

bool is_local_address(const SocketAddress& address) {
  UniqueFd fd(::socket(address.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const SocketAddress any_port = address.with_port(0);
  return fd && ::bind(fd.get(), any_port.data(), any_port.size()) == 0;
}

Result<UniqueFd> tcp_listen(const SocketAddress& address) {
  UniqueFd fd(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("socket", errno);
  US_TRY(set_reusable(fd.get()));
  if (::bind(fd.get(), address.data(), address.size()) != 0 || ::listen(fd.get(), 16) != 0) {
    const int error = errno;
    std::string operation = "listen on " + address.text();
    if (error == EADDRINUSE) operation += " (does another understudy of this VM run on this host?)";
    if (error == EADDRNOTAVAIL) operation += " (the address is not one of this host's)";
    return fail_errno(operation, error);
  }
  return fd;
}

Result<UniqueFd> tcp_accept(int listener, SocketAddress& peer) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  UniqueFd fd(::accept4(listener, reinterpret_cast<sockaddr*>(&storage), &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!fd) {
    if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return UniqueFd();
    return fail_errno("accept", errno);
  }
  peer = SocketAddress::from_kernel(storage, length);
  return fd;
}

Result<UniqueFd> tcp_connect(const SocketAddress& from, const SocketAddress& to, Duration timeout) {
  UniqueFd fd(::socket(to.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("socket", errno);
  US_TRY(set_reusable(fd.get()));
  const SocketAddress local = from.with_port(0);
  if (local.family() == to.family() && ::bind(fd.get(), local.data(), local.size()) != 0)
    return fail_errno("bind to " + local.text(), errno);
  if (::connect(fd.get(), to.data(), to.size()) != 0) {
    if (errno != EINPROGRESS) return fail_errno("connect to " + to.text(), errno);
    if (!wait_writable(fd.get(), clock_now() + timeout))
      return fail(ErrorKind::kTimeout, "connect to " + to.text() + ": no answer");
    int error = 0;
    socklen_t length = sizeof error;
    ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) return fail_errno("connect to " + to.text(), error);
  }
  return fd;
}

void tune_replication_socket(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kSocketBufferBytes, sizeof kSocketBufferBytes);
  ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kSocketBufferBytes, sizeof kSocketBufferBytes);
}

Result<UniqueFd> udp_bind(const SocketAddress& address) {
  UniqueFd fd(::socket(address.family(), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("socket", errno);
  if (::bind(fd.get(), address.data(), address.size()) != 0) return fail_errno("bind udp " + address.text(), errno);
  return fd;
}

bool wait_readable(int fd, Instant deadline) { return wait_for(fd, POLLIN, deadline); }
bool wait_writable(int fd, Instant deadline) { return wait_for(fd, POLLOUT, deadline); }

}  // namespace us
