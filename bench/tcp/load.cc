#include "tcp/load.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <span>
#include <string_view>
#include <thread>

#include "os/clock.h"
#include "os/unique_fd.h"

namespace us::bench {
namespace {

constexpr uint16_t kEchoPort = 7;
constexpr uint16_t kHttpPort = 80;
constexpr int kFetchesMin = 5;
constexpr int kPatienceSeconds = 20;
constexpr int kConnectsAtOnce = 100;
constexpr int kIdlePatienceMs = 60'000;

// Runs `body` in a thread of the client's namespace.
template <typename T>
Result<T> inside(const demo::NetNs& ns, const std::function<Result<T>()>& body) {
  Result<T> result;
  std::thread([&] {
    const Status entered = ns.enter();
    if (entered)
      result = body();
    else
      result = tl::unexpected(entered.error());
  }).join();
  return result;
}

sockaddr_in address_of(const Client& client, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  ::inet_pton(AF_INET, client.guest.c_str(), &address.sin_addr);
  return address;
}

Result<UniqueFd> make_socket(const Client& client, int flags) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
  if (!fd) return fail_errno("socket", errno);
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::setsockopt(fd.get(), IPPROTO_TCP, TCP_CONGESTION, client.cc.data(), static_cast<socklen_t>(client.cc.size())) !=
      0)
    return fail_errno("congestion control " + client.cc, errno);
  return fd;
}

Result<UniqueFd> connect_to(const Client& client, uint16_t port) {
  US_ASSIGN(UniqueFd fd, make_socket(client, 0));
  const timeval patience{kPatienceSeconds, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  const sockaddr_in to = address_of(client, port);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0)
    return fail_errno(fmt::format("connect to port {}", port), errno);
  return fd;
}

// At least one byte.
Result<size_t> receive(int fd, std::span<char> into) {
  const ssize_t n = ::recv(fd, into.data(), into.size(), 0);
  if (n > 0) return static_cast<size_t>(n);
  if (n == 0) return fail(ErrorKind::kProtocol, "the guest closed the connection too early");
  return fail_errno("receive", errno);
}

Result<Duration> fetch(const Client& client, size_t bytes) {
  const std::string request = fmt::format("GET /big?bytes={}&seed=1 HTTP/1.1\r\nHost: guest\r\n\r\n", bytes);
  const Instant begin = clock_now();
  US_ASSIGN(const UniqueFd fd, connect_to(client, kHttpPort));
  if (::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return fail_errno("send", errno);
  std::array<char, 65536> buffer;
  std::string head;
  for (size_t wanted = 0, got = 0; wanted == 0 || got < wanted;) {
    US_ASSIGN(const size_t n, receive(fd.get(), buffer));
    got += n;
    if (wanted != 0) continue;
    head.append(buffer.data(), n);
    const size_t end = head.find("\r\n\r\n");
    if (end != std::string::npos) wanted = end + 4 + bytes;
  }
  return clock_now() - begin;
}

Result<Duration> request(int fd) {
  const Instant begin = clock_now();
  if (::send(fd, "x", 1, MSG_NOSIGNAL) != 1) return fail_errno("send", errno);
  std::array<char, 16> answer;
  US_TRY(receive(fd, answer));
  return clock_now() - begin;
}

Status check(const Client& client) {
  if (client.interrupted) return fail(ErrorKind::kRefused, "interrupted");
  return {};
}

void allow_descriptors(rlim_t count) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur >= count) return;
  limit.rlim_cur = count;
  limit.rlim_max = std::max(limit.rlim_max, count);
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

Status wait_connected(const Client& client, std::span<const int> sockets) {
  for (const int fd : sockets) {
    pollfd waiting{fd, POLLOUT, 0};
    int error = 0;
    socklen_t size = sizeof error;
    US_TRY(check(client));
    if (::poll(&waiting, 1, kIdlePatienceMs) <= 0) return fail(ErrorKind::kTimeout, "an idle flow does not connect");
    ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return fail_errno("connect an idle flow", error);
  }
  return {};
}

}  // namespace

Result<std::vector<Duration>> measure_fetches(const Client& client, size_t bytes, int count, Duration limit) {
  return inside<std::vector<Duration>>(client.ns, [&]() -> Result<std::vector<Duration>> {
    std::vector<Duration> times;
    const Instant end = clock_now() + limit;
    for (int i = 0; i < count && (i < kFetchesMin || clock_now() < end); ++i) {
      US_TRY(check(client));
      US_ASSIGN(const Duration time, fetch(client, bytes));
      times.push_back(time);
    }
    return times;
  });
}

Result<std::vector<Duration>> measure_requests(const Client& client, int count, Duration limit) {
  return inside<std::vector<Duration>>(client.ns, [&]() -> Result<std::vector<Duration>> {
    std::vector<Duration> times;
    US_ASSIGN(const UniqueFd fd, connect_to(client, kEchoPort));
    US_TRY(request(fd.get()));  // the first is slower: the guest starts a thread
    const Instant end = clock_now() + limit;
    for (int i = 0; i < count && (times.empty() || clock_now() < end); ++i) {
      US_TRY(check(client));
      US_ASSIGN(const Duration time, request(fd.get()));
      times.push_back(time);
    }
    return times;
  });
}

Result<std::unique_ptr<IdleFlows>> IdleFlows::open(const Client& client, uint16_t port, int count) {
  allow_descriptors(static_cast<rlim_t>(count) + 256);
  return inside<std::unique_ptr<IdleFlows>>(client.ns, [&]() -> Result<std::unique_ptr<IdleFlows>> {
    std::unique_ptr<IdleFlows> flows(new IdleFlows({}));
    const sockaddr_in to = address_of(client, port);
    std::vector<int>& all = flows->sockets_;
    while (static_cast<int>(all.size()) < count) {
      const size_t first = all.size();
      for (int i = 0; i < kConnectsAtOnce && static_cast<int>(all.size()) < count; ++i) {
        US_ASSIGN(UniqueFd fd, make_socket(client, SOCK_NONBLOCK));
        if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 && errno != EINPROGRESS)
          return fail_errno("connect an idle flow", errno);
        all.push_back(fd.release());
      }
      US_TRY(wait_connected(client, std::span(all).subspan(first)));
    }
    return flows;
  });
}

IdleFlows::~IdleFlows() {
  for (const int fd : sockets_) ::close(fd);
}

}  // namespace us::bench
