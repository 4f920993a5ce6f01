#include "tcp_client.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "os/clock.h"

namespace us::e2e {
namespace {

constexpr int kTickMs = 10;
constexpr size_t kChunk = 256 * 1024;

struct Address {
  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_storage);

  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

Address address_of(const std::string& text, uint16_t port) {
  Address out;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&out.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.storage);
  if (::inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    out.size = sizeof *v4;
  } else if (::inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    out.size = sizeof *v6;
  }
  return out;
}

std::string to_text(const Address& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.storage.ss_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&address.storage);
    ::inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
    return fmt::format("{}:{}", text, ntohs(v4->sin_port));
  }
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&address.storage);
  ::inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
  return fmt::format("[{}]:{}", text, ntohs(v6->sin6_port));
}

Status set_options(int fd, const TcpPlan& plan) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const std::string& cc = plan.congestion;
  if (::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, cc.data(), static_cast<socklen_t>(cc.size())) != 0)
    return fail_errno("TCP_CONGESTION " + cc, errno);
  if (plan.receive_buffer_bytes > 0)
    ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &plan.receive_buffer_bytes, sizeof plan.receive_buffer_bytes);
  if (plan.pace_bytes_per_second > 0)
    ::setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &plan.pace_bytes_per_second, sizeof plan.pace_bytes_per_second);
  if (plan.source.empty()) return {};
  Address from = address_of(plan.source, 0);
  if (::bind(fd, from.get(), from.size) != 0) return fail_errno("bind to " + plan.source, errno);
  return {};
}

// `fd` is non-blocking and its connect() has begun.
Status wait_connected(int fd, const std::string& what, Duration limit) {
  pollfd waiting{fd, POLLOUT, 0};
  if (::poll(&waiting, 1, static_cast<int>(limit.to_millis())) <= 0)
    return fail(ErrorKind::kTimeout, what + ": no answer");
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return fail_errno(what, error);
  return {};
}

Result<UniqueFd> connect_here(const TcpPlan& plan, Duration limit) {
  Address to = address_of(plan.address, plan.port);
  const std::string what = fmt::format("connect to {} port {}", plan.address, plan.port);
  UniqueFd fd(::socket(to.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("socket", errno);
  US_TRY(set_options(fd.get(), plan));
  if (::connect(fd.get(), to.get(), to.size) != 0 && errno != EINPROGRESS) return fail_errno(what, errno);
  US_TRY(wait_connected(fd.get(), what, limit));
  return fd;
}

// Runs `work` in a thread in the namespace.
template <typename T, typename Work>
T run_in(const demo::NetNs& ns, Work work) {
  T out = fail(ErrorKind::kSystem, "not run");
  std::thread([&] {
    if (const Status entered = ns.enter(); !entered)
      out = tl::unexpected(entered.error());
    else
      out = work();
  }).join();
  return out;
}

std::string local_of(int fd) {
  Address local;
  ::getsockname(fd, local.get(), &local.size);
  return to_text(local);
}

const char* to_text(TcpEnd end) {
  switch (end) {
    case TcpEnd::kOpen:
      return "open";
    case TcpEnd::kEnded:
      return "ended";
    case TcpEnd::kBroken:
      return "broken";
    case TcpEnd::kWrong:
      return "a wrong byte";
  }
  return "?";
}

}  // namespace

Result<std::unique_ptr<TcpConnection>> TcpConnection::open(const demo::NetNs& ns, TcpPlan plan, Duration limit) {
  US_ASSIGN(UniqueFd fd, run_in<Result<UniqueFd>>(ns, [&] { return connect_here(plan, limit); }));
  return adopt(std::move(fd), std::move(plan));
}

Result<std::unique_ptr<TcpConnection>> TcpConnection::adopt(UniqueFd fd, TcpPlan plan) {
  ::fcntl(fd.get(), F_SETFL, O_NONBLOCK);
  if (!plan.request.empty()) plan.request += "\n";
  std::string local = local_of(fd.get());
  return std::unique_ptr<TcpConnection>(new TcpConnection(std::move(fd), std::move(plan), std::move(local)));
}

TcpConnection::TcpConnection(UniqueFd fd, TcpPlan plan, std::string local)
    : fd_(std::move(fd)),
      plan_(std::move(plan)),
      local_(std::move(local)),
      file_(plan_.seed),
      outgoing_(kChunk),
      incoming_(kChunk),
      upload_limit_(plan_.upload_bytes),
      keep_open_(plan_.keep_open),
      thread_([this] { run(); }) {}

TcpConnection::~TcpConnection() {
  abort_ = true;
  thread_.join();
}

void TcpConnection::run() {
  while (!abort_ && end_ == TcpEnd::kOpen) {
    if (stop_) {
      upload_limit_ = sent_.load();
      keep_open_ = false;
    }
    const bool all_sent = request_sent_ == plan_.request.size() && sent_ == upload_limit_;
    if (all_sent && !keep_open_ && !ended_ours_) end_our_direction();
    if (ended_ours_ && peer_ended_) {
      end_ = TcpEnd::kEnded;
      return;
    }
    const bool reads = reading_ && !peer_ended_;
    const short events = static_cast<short>((wants_to_send() ? POLLOUT : 0) | (reads ? POLLIN : 0));
    pollfd waiting{fd_.get(), events, 0};
    // An error is reported whether asked for or not; whoever does not read now is to see it only when he reads.
    if (::poll(&waiting, events != 0 ? 1 : 0, kTickMs) <= 0) continue;
    if ((waiting.revents & POLLOUT) != 0 && !send_some()) return;
    if (reads && (waiting.revents & (POLLIN | POLLHUP | POLLERR)) != 0 && !receive_some()) return;
  }
}

bool TcpConnection::wants_to_send() const {
  if (request_sent_ < plan_.request.size()) return true;
  if (sent_ >= upload_limit_) return false;
  return plan_.incoming != Incoming::kEcho || sent_ - received_ < plan_.unanswered_max;
}

bool TcpConnection::broken(int error) {
  error_ = error;
  end_ = TcpEnd::kBroken;
  return false;
}

void TcpConnection::end_our_direction() {
  ::shutdown(fd_.get(), SHUT_WR);
  ended_ours_ = true;
}

bool TcpConnection::send_some() {
  if (request_sent_ < plan_.request.size()) {
    const ssize_t n =
        ::send(fd_.get(), plan_.request.data() + request_sent_, plan_.request.size() - request_sent_, MSG_NOSIGNAL);
    if (n < 0) return errno == EAGAIN || broken(errno);
    request_sent_ += static_cast<size_t>(n);
    return true;
  }
  std::span<uint8_t> part = std::span(outgoing_).first(std::min<uint64_t>(kChunk, upload_limit_ - sent_));
  if (plan_.incoming == Incoming::kEcho)
    part = part.first(std::min<uint64_t>(part.size(), plan_.unanswered_max - (sent_ - received_)));
  file_.read(sent_, part);
  const ssize_t n = ::send(fd_.get(), part.data(), part.size(), MSG_NOSIGNAL);
  if (n < 0) return errno == EAGAIN || broken(errno);
  sent_ += static_cast<uint64_t>(n);
  return true;
}

bool TcpConnection::receive_some() {
  const ssize_t n = ::recv(fd_.get(), incoming_.data(), incoming_.size(), 0);
  if (n < 0) return errno == EAGAIN || broken(errno);
  if (n == 0) {
    peer_ended_ = true;
    return true;
  }
  const ByteSpan bytes = std::span(incoming_).first(static_cast<size_t>(n));
  if (plan_.incoming != Incoming::kText) return check_file(bytes);
  const std::lock_guard lock(mutex_);
  text_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return true;
}

bool TcpConnection::check_file(ByteSpan bytes) {
  expected_.resize(bytes.size());
  file_.read(received_, expected_);
  const auto at = std::mismatch(bytes.begin(), bytes.end(), expected_.begin()).first - bytes.begin();
  received_ += static_cast<uint64_t>(at);
  if (static_cast<size_t>(at) == bytes.size()) return true;
  end_ = TcpEnd::kWrong;
  return false;
}

std::string TcpConnection::text() const {
  const std::lock_guard lock(mutex_);
  return text_;
}

unsigned TcpConnection::agreed_options() const {
  tcp_info info{};
  socklen_t size = sizeof info;
  ::getsockopt(fd_.get(), IPPROTO_TCP, TCP_INFO, &info, &size);
  return info.tcpi_options;
}

std::string TcpConnection::describe() const {
  const std::string error = error_ == 0 ? "" : fmt::format(" ({})", std::strerror(error_));
  return fmt::format("{} to {} port {} \"{}\": {}{}, {} bytes sent, {} received{}, text \"{}\"", local_, plan_.address,
                     plan_.port, plan_.request.substr(0, plan_.request.find('\n')), to_text(end_.load()), error,
                     sent_.load(), received_.load(), peer_ended_ ? ", its end seen" : "", text());
}

Result<UniqueFd> listen_in(const demo::NetNs& ns, uint16_t port) {
  return run_in<Result<UniqueFd>>(ns, [&]() -> Result<UniqueFd> {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd) return fail_errno("socket", errno);
    Address any = address_of("0.0.0.0", port);
    const int on = 1;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (::bind(fd.get(), any.get(), any.size) != 0 || ::listen(fd.get(), 16) != 0) return fail_errno("listen", errno);
    return fd;
  });
}

Result<UniqueFd> accept_within(int listener, Duration limit) {
  pollfd waiting{listener, POLLIN, 0};
  if (::poll(&waiting, 1, static_cast<int>(limit.to_millis())) <= 0)
    return fail(ErrorKind::kTimeout, "nobody connects");
  UniqueFd fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  if (!fd) return fail_errno("accept", errno);
  return fd;
}

bool can_use_congestion_control(const demo::NetNs& ns, const std::string& name) {
  return run_in<Status>(ns,
                        [&]() -> Status {
                          const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
                          return set_options(fd.get(), {.congestion = name});  // loads the module if there is one
                        })
      .has_value();
}

Status set_sysctl(const demo::NetNs& ns, const std::string& name, const std::string& value) {
  std::string path = "/proc/sys/" + name;
  std::replace(path.begin() + 10, path.end(), '.', '/');
  return run_in<Status>(ns, [&]() -> Status {
    const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd) return fail_errno("open " + path, errno);
    if (::write(fd.get(), value.data(), value.size()) < 0) return fail_errno("write " + path, errno);
    return {};
  });
}

}  // namespace us::e2e
