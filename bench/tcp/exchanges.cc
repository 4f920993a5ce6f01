#include "tcp/exchanges.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "os/clock.h"
#include "os/epoll.h"

namespace us::bench {
namespace {

constexpr Duration kRoundPatience = Duration::seconds(30);

// Calls `once` as often as `patience` says, and keeps the times.
Result<std::vector<Duration>> repeat(const Client& client, const Patience& patience,
                                     const std::function<Result<Duration>()>& once) {
  std::vector<Duration> times;
  const Instant begin = clock_now(), end = begin + patience.limit;
  const Instant hopeless =
      begin + Duration::nanos(static_cast<int64_t>(kHopelessShare * static_cast<double>(patience.limit.to_nanos())));
  for (int i = 0; i < patience.count && (i < patience.least || clock_now() < end); ++i) {
    US_TRY(client.check());
    if (patience.may_give_up && i < patience.count / 2 && clock_now() > hopeless) break;
    US_ASSIGN(const Duration time, once());
    times.push_back(time);
  }
  return times;
}

std::string get(size_t bytes) { return fmt::format("GET /big?bytes={}&seed=1 HTTP/1.1\r\nHost: guest\r\n\r\n", bytes); }

Status receive_response(int fd, size_t bytes) {
  std::array<char, 65536> buffer;
  std::string head;
  for (size_t wanted = 0, got = 0; wanted == 0 || got < wanted;) {
    US_ASSIGN(const size_t n, receive(fd, buffer));
    got += n;
    if (wanted != 0) continue;
    head.append(buffer.data(), n);
    const size_t end = head.find("\r\n\r\n");
    if (end != std::string::npos) wanted = end + 4 + bytes;
  }
  return {};
}

Result<Duration> fetch(int fd, size_t bytes, Instant begin) {
  US_TRY(send_text(fd, get(bytes)));
  US_TRY(receive_response(fd, bytes));
  return clock_now() - begin;
}

Result<Duration> request(int fd, const std::string& question) {
  std::array<char, 65536> answer;
  const Instant begin = clock_now();
  US_TRY(send_text(fd, question));
  for (size_t got = 0; got < question.size();) {
    US_ASSIGN(const size_t n, receive(fd, answer));
    got += n;
  }
  return clock_now() - begin;
}

// Connections to the exchange service, all of which ask at the same time.
class Crowd {
 public:
  static Result<Crowd> open(const Client& client, const Incast& incast) {
    US_ASSIGN(Epoll epoll, Epoll::create());
    US_ASSIGN(std::vector<UniqueFd> sockets, client.connect_many(kLoadPort, incast.clients));
    Crowd crowd(client, std::move(epoll), incast.from_guest ? 1 : incast.block, incast.from_guest ? incast.block : 1);
    for (UniqueFd& fd : sockets) {
      US_TRY(send_text(fd.get(), fmt::format("exchange {} {}\n", crowd.up_, crowd.down_)));
      US_TRY(crowd.epoll_.add(fd.get(), EPOLLIN | EPOLLOUT | EPOLLET, crowd.members_.size()));
      crowd.members_.push_back({std::move(fd), 0, 0});
    }
    return crowd;
  }

  Result<Duration> round() {
    const Instant begin = clock_now();
    for (Member& member : members_) {
      member.sent = member.got = 0;
      US_TRY(serve(member));
    }
    std::array<epoll_event, 64> space;
    while (!done()) {
      US_TRY(client_.check());
      if (clock_now() - begin > kRoundPatience) return fail(ErrorKind::kTimeout, "a block does not arrive");
      for (const epoll_event& event : epoll_.wait(space, Duration::millis(100)))
        US_TRY(serve(members_[event.data.u64]));
    }
    return clock_now() - begin;
  }

 private:
  struct Member {
    UniqueFd fd;
    size_t sent = 0, got = 0;
  };

  Crowd(const Client& client, Epoll epoll, size_t up, size_t down)
      : client_(client), epoll_(std::move(epoll)), up_(up), down_(down), buffer_(65536) {}

  bool done() const {
    for (const Member& member : members_)
      if (member.got < down_) return false;
    return true;
  }

  // Sends and receives what is possible now.
  Status serve(Member& member) {
    while (member.sent < up_) {
      const ssize_t n =
          ::send(member.fd.get(), buffer_.data(), std::min(up_ - member.sent, buffer_.size()), MSG_NOSIGNAL);
      if (n < 0 && errno == EAGAIN) break;
      if (n < 0) return fail_errno("send a block", errno);
      member.sent += static_cast<size_t>(n);
    }
    while (member.got < down_) {
      const ssize_t n = ::recv(member.fd.get(), buffer_.data(), std::min(down_ - member.got, buffer_.size()), 0);
      if (n < 0 && errno == EAGAIN) break;
      if (n < 0) return fail_errno("receive a block", errno);
      if (n == 0) return fail(ErrorKind::kProtocol, "the guest closed a connection");
      member.got += static_cast<size_t>(n);
    }
    return {};
  }

  const Client& client_;
  Epoll epoll_;
  size_t up_, down_;
  std::vector<char> buffer_;
  std::vector<Member> members_;
};

}  // namespace

Result<std::vector<Duration>> measure_fetches(const Client& client, size_t bytes, bool kept, const Patience& patience) {
  return inside<std::vector<Duration>>(client.ns, [&]() -> Result<std::vector<Duration>> {
    UniqueFd open;
    if (kept) {
      US_ASSIGN(open, client.connect(kHttpPort));
      US_TRY(fetch(open.get(), bytes, clock_now()));
    }
    return repeat(client, patience, [&]() -> Result<Duration> {
      const Instant begin = clock_now();
      if (kept) return fetch(open.get(), bytes, begin);
      US_ASSIGN(const UniqueFd fresh, client.connect(kHttpPort));
      return fetch(fresh.get(), bytes, begin);
    });
  });
}

Result<std::vector<Duration>> measure_requests(const Client& client, size_t bytes, const Patience& patience) {
  return inside<std::vector<Duration>>(client.ns, [&]() -> Result<std::vector<Duration>> {
    const std::string question(bytes, 'x');
    US_ASSIGN(const UniqueFd fd, client.connect(kEchoPort));
    US_TRY(request(fd.get(), question));  // slower: the guest starts a thread
    return repeat(client, patience, [&] { return request(fd.get(), question); });
  });
}

Result<std::vector<Duration>> measure_incast(const Client& client, const Incast& incast, const Patience& patience) {
  return inside<std::vector<Duration>>(client.ns, [&]() -> Result<std::vector<Duration>> {
    US_ASSIGN(Crowd crowd, Crowd::open(client, incast));
    US_TRY(crowd.round());
    return repeat(client, patience, [&] { return crowd.round(); });
  });
}

Result<std::vector<UniqueFd>> open_idle_flows(const Client& client, uint16_t port, int count) {
  return inside<std::vector<UniqueFd>>(client.ns, [&] { return client.connect_many(port, count); });
}

}  // namespace us::bench
