#include "tcp/client.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

namespace us::bench {
namespace {

constexpr uint16_t kControlPort = 9999;
constexpr int kPatienceSeconds = 20;
constexpr int kConnectPatienceMs = 60'000;
// No more than the guest's listen queues hold.
constexpr size_t kConnectsAtOnce = 100;

void allow_descriptors(rlim_t count) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur >= count) return;
  limit.rlim_cur = count;
  limit.rlim_max = std::max(limit.rlim_max, count);
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

Status wait_connected(const Client& client, std::span<const UniqueFd> sockets) {
  for (const UniqueFd& fd : sockets) {
    pollfd waiting{fd.get(), POLLOUT, 0};
    int error = 0;
    socklen_t size = sizeof error;
    US_TRY(client.check());
    if (::poll(&waiting, 1, kConnectPatienceMs) <= 0) return fail(ErrorKind::kTimeout, "the guest does not accept");
    ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return fail_errno("connect", error);
  }
  return {};
}

}  // namespace

Status Client::check() const {
  if (interrupted) return fail(ErrorKind::kRefused, "interrupted");
  return {};
}

sockaddr_in Client::address(uint16_t port) const {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  ::inet_pton(AF_INET, guest.c_str(), &address.sin_addr);
  return address;
}

Result<UniqueFd> Client::socket(int flags) const {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
  if (!fd) return fail_errno("socket", errno);
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::setsockopt(fd.get(), IPPROTO_TCP, TCP_CONGESTION, cc.data(), static_cast<socklen_t>(cc.size())) != 0)
    return fail_errno("congestion control " + cc, errno);
  return fd;
}

Result<UniqueFd> Client::connect(uint16_t port) const {
  US_ASSIGN(UniqueFd fd, socket(0));
  const timeval patience{kPatienceSeconds, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  const sockaddr_in to = address(port);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0)
    return fail_errno(fmt::format("connect to port {}", port), errno);
  return fd;
}

Result<std::vector<UniqueFd>> Client::connect_many(uint16_t port, int count) const {
  allow_descriptors(static_cast<rlim_t>(count) + 256);
  const sockaddr_in to = address(port);
  std::vector<UniqueFd> all;
  while (all.size() < static_cast<size_t>(count)) {
    const size_t first = all.size();
    while (all.size() < std::min(first + kConnectsAtOnce, static_cast<size_t>(count))) {
      US_ASSIGN(UniqueFd fd, socket(SOCK_NONBLOCK));
      if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 && errno != EINPROGRESS)
        return fail_errno(fmt::format("connect to port {}", port), errno);
      all.push_back(std::move(fd));
    }
    US_TRY(wait_connected(*this, std::span(all).subspan(first)));
  }
  return all;
}

Status send_text(int fd, const std::string& text) {
  if (::send(fd, text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size()))
    return fail_errno("send", errno);
  return {};
}

Result<size_t> receive(int fd, std::span<char> into) {
  const ssize_t n = ::recv(fd, into.data(), into.size(), 0);
  if (n > 0) return static_cast<size_t>(n);
  if (n == 0) return fail(ErrorKind::kProtocol, "the guest closed the connection too early");
  return fail_errno("receive", errno);
}

Result<std::string> run_in_guest(const Client& client, const std::string& line) {
  return inside<std::string>(client.ns, [&]() -> Result<std::string> {
    US_ASSIGN(const UniqueFd fd, client.connect(kControlPort));
    US_TRY(send_text(fd.get(), line + "\n"));
    std::string text;
    std::array<char, 4096> chunk;
    for (ssize_t n; (n = ::recv(fd.get(), chunk.data(), chunk.size(), 0)) != 0;) {
      if (n < 0) return fail_errno("wait for a command in the guest", errno);
      text.append(chunk.data(), static_cast<size_t>(n));
    }
    return text;
  });
}

}  // namespace us::bench
