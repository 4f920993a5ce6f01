#include "demo/stream.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "os/clock.h"

namespace us::demo {
namespace {

constexpr Duration kAbortCheck = Duration::millis(100);
constexpr Duration kConnectLimit = Duration::seconds(10);
constexpr size_t kLineMax = 64 * 1024;

struct Destination {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

Destination destination(const std::string& address, uint16_t port) {
  Destination out;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&out.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.storage);
  if (::inet_pton(AF_INET, address.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    out.size = sizeof *v4;
  } else if (::inet_pton(AF_INET6, address.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    out.size = sizeof *v6;
  }
  return out;
}

Status wait_connected(int fd, const std::string& what, const std::atomic<bool>& abort) {
  for (const Instant deadline = clock_now() + kConnectLimit; clock_now() < deadline && !abort;) {
    pollfd waiting{fd, POLLOUT, 0};
    if (::poll(&waiting, 1, static_cast<int>(kAbortCheck.to_millis())) <= 0) continue;
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return fail_errno(what, error);
    return {};
  }
  return fail(ErrorKind::kTimeout, what + ": no answer");
}

}  // namespace

Result<Stream> Stream::connect(const std::string& address, uint16_t port, const std::atomic<bool>& abort) {
  const std::string what = fmt::format("connect to {} port {}", address, port);
  const Destination to = destination(address, port);
  if (to.size == 0) return fail(ErrorKind::kInput, what + ": not a numeric address");
  UniqueFd fd(::socket(to.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("socket", errno);
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  // What Linux uses by default, whatever this machine has been told to use.
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to.storage), to.size) != 0) {
    if (errno != EINPROGRESS) return fail_errno(what, errno);
    US_TRY(wait_connected(fd.get(), what, abort));
  }
  return Stream(std::move(fd), abort);
}

Status Stream::send(ByteSpan data) {
  const Instant deadline = clock_now() + kPatience;
  while (!data.empty()) {
    const ssize_t n = ::send(fd_.get(), data.data(), data.size(), MSG_NOSIGNAL);
    if (n > 0) {
      data = data.subspan(static_cast<size_t>(n));
    } else if (errno != EAGAIN && errno != EINTR) {
      return fail_errno("the connection broke while sending", errno);
    } else if (*abort_ || clock_now() > deadline) {
      return fail(ErrorKind::kTimeout, "the connection takes no more data");
    } else {
      pollfd waiting{fd_.get(), POLLOUT, 0};
      ::poll(&waiting, 1, static_cast<int>(kAbortCheck.to_millis()));
    }
  }
  return {};
}

Status Stream::send(std::string_view text) {
  return send(ByteSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

// False when `until` has come first.
Result<bool> Stream::wait_readable(Instant until) {
  for (;;) {
    if (*abort_) return fail(ErrorKind::kTimeout, "given up while waiting for an answer");
    const Duration left = std::min(until - clock_now(), kAbortCheck);
    const int64_t nanos = std::max<int64_t>(left.to_nanos(), 0);
    const timespec wait{nanos / 1'000'000'000, nanos % 1'000'000'000};
    pollfd waiting{fd_.get(), POLLIN, 0};
    if (::ppoll(&waiting, 1, &wait, nullptr) > 0) return true;
    if (clock_now() >= until) return false;
  }
}

Result<size_t> Stream::receive_until(std::span<uint8_t> buffer, Instant deadline) {
  US_ASSIGN(const bool readable, wait_readable(deadline));
  if (!readable) return 0;
  const ssize_t n = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
  if (n > 0) return static_cast<size_t>(n);
  if (n == 0) return fail(ErrorKind::kProtocol, "the connection was closed by the other side");
  if (errno == EAGAIN || errno == EINTR) return 0;
  return fail_errno("the connection broke while receiving", errno);
}

Result<size_t> Stream::receive(std::span<uint8_t> buffer) {
  const Instant deadline = clock_now() + kPatience;
  for (;;) {
    US_ASSIGN(const size_t n, receive_until(buffer, deadline));
    if (n > 0) return n;
    if (clock_now() >= deadline)
      return fail(ErrorKind::kTimeout,
                  fmt::format("the connection hangs: nothing came for {} s", kPatience.to_seconds()));
  }
}

Status LineReader::fill() {
  if (begin_ == end_) begin_ = end_ = 0;
  if (end_ == buffer_.size()) {
    std::copy(buffer_.begin() + static_cast<std::ptrdiff_t>(begin_), buffer_.end(), buffer_.begin());
    end_ -= std::exchange(begin_, 0);
  }
  US_ASSIGN(const size_t n, stream_.receive(std::span(buffer_).subspan(end_)));
  end_ += n;
  return {};
}

Result<std::string> LineReader::line() {
  for (size_t scanned = 0;;) {
    const std::string_view have(reinterpret_cast<const char*>(&buffer_[begin_]), end_ - begin_);
    if (const size_t at = have.find("\r\n", scanned); at != std::string_view::npos) {
      begin_ += at + 2;
      return std::string(have.substr(0, at));
    }
    if (have.size() > kLineMax) return fail(ErrorKind::kProtocol, "the answer has a line without end");
    scanned = have.empty() ? 0 : have.size() - 1;
    US_TRY(fill());
  }
}

Result<ByteSpan> LineReader::block(size_t limit) {
  if (begin_ == end_) US_TRY(fill());
  const size_t n = std::min(limit, end_ - begin_);
  const ByteSpan out(&buffer_[begin_], n);
  begin_ += n;
  return out;
}

}  // namespace us::demo
