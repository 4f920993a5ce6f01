#include "tcp/streams.h"

#include <linux/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <numeric>

#include "os/clock.h"
#include "os/epoll.h"

namespace us::bench {
namespace {

constexpr size_t kChunk = 128 * 1024;
// Bytes that one connection may move before the others get their turn.
constexpr size_t kTurn = 4 * kChunk;

class Running {
 public:
  static Result<Running> start(const Client& client, const Streams& wanted) {
    US_ASSIGN(Epoll epoll, Epoll::create());
    Running running(client, std::move(epoll));
    US_TRY(running.open(wanted.from_guest, "stream\n", false));
    US_TRY(running.open(wanted.to_guest, "discard\n", true));
    return running;
  }

  Status run_until(Instant end) {
    std::vector<epoll_event> space(64);
    for (Instant now = clock_now(); now < end; now = clock_now()) {
      US_TRY(client_.check());
      for (const epoll_event& event : epoll_.wait(space, std::min(end - now, Duration::millis(100))))
        US_TRY(move(flows_[event.data.u64]));
    }
    return {};
  }

  std::vector<uint64_t> bytes(bool to_guest) const {
    std::vector<uint64_t> list;
    for (const Flow& flow : flows_)
      if (flow.to_guest == to_guest) list.push_back(to_guest ? acknowledged(flow) : flow.received);
    return list;
  }

  // Both stacks are to forget it at once: the next measurement wants the line for itself.
  void reset() {
    const linger none{1, 0};
    for (Flow& flow : flows_) ::setsockopt(flow.fd.get(), SOL_SOCKET, SO_LINGER, &none, sizeof none);
    flows_.clear();
  }

 private:
  struct Flow {
    UniqueFd fd;
    bool to_guest = false;
    uint64_t received = 0;
  };

  Running(const Client& client, Epoll epoll) : client_(client), epoll_(std::move(epoll)), buffer_(kChunk) {}

  Status open(int count, const std::string& verb, bool to_guest) {
    US_ASSIGN(std::vector<UniqueFd> sockets, client_.connect_many(kLoadPort, count));
    for (UniqueFd& fd : sockets) {
      US_TRY(send_text(fd.get(), verb));
      US_TRY(epoll_.add(fd.get(), to_guest ? EPOLLOUT : EPOLLIN, flows_.size()));
      flows_.push_back({std::move(fd), to_guest, 0});
    }
    return {};
  }

  Status move(Flow& flow) {
    for (size_t moved = 0; moved < kTurn;) {
      const ssize_t n = flow.to_guest ? ::send(flow.fd.get(), buffer_.data(), kChunk, MSG_NOSIGNAL)
                                      : ::recv(flow.fd.get(), buffer_.data(), kChunk, 0);
      if (n < 0 && errno == EAGAIN) return {};
      if (n < 0) return fail_errno("a stream", errno);
      if (n == 0) return fail(ErrorKind::kProtocol, "the guest closed a stream");
      moved += static_cast<size_t>(n);
      if (!flow.to_guest) flow.received += static_cast<size_t>(n);
    }
    return {};
  }

  static uint64_t acknowledged(const Flow& flow) {
    tcp_info info{};
    socklen_t size = sizeof info;
    ::getsockopt(flow.fd.get(), IPPROTO_TCP, TCP_INFO, &info, &size);
    return info.tcpi_bytes_acked;
  }

  const Client& client_;
  Epoll epoll_;
  std::vector<char> buffer_;
  std::vector<Flow> flows_;
};

std::vector<double> rates(const std::vector<uint64_t>& before, const std::vector<uint64_t>& after, Duration length) {
  std::vector<double> list;
  for (size_t i = 0; i < before.size(); ++i)
    list.push_back(static_cast<double>(after[i] - before[i]) * 8 / length.to_seconds());
  return list;
}

}  // namespace

Result<double> measure_bulk(const Client& client, bool from_guest, int flows, double skip_s, double length_s) {
  const auto seconds = [](double value) { return Duration::micros(static_cast<int64_t>(value * 1e6)); };
  US_ASSIGN(const StreamRates rates, measure_streams(client, {.from_guest = from_guest ? flows : 0,
                                                              .to_guest = from_guest ? 0 : flows,
                                                              .skip = seconds(skip_s),
                                                              .length = seconds(length_s)}));
  return sum(from_guest ? rates.from_guest : rates.to_guest);
}

double sum(const std::vector<double>& values) { return std::accumulate(values.begin(), values.end(), 0.0); }

Result<StreamRates> measure_streams(const Client& client, const Streams& wanted) {
  return inside<StreamRates>(client.ns, [&]() -> Result<StreamRates> {
    US_ASSIGN(Running running, Running::start(client, wanted));
    US_TRY(running.run_until(clock_now() + wanted.skip));
    const Instant begin = clock_now();
    const auto down = running.bytes(false), up = running.bytes(true);
    US_TRY(running.run_until(begin + wanted.length));
    const Duration length = clock_now() - begin;
    const StreamRates result{rates(down, running.bytes(false), length), rates(up, running.bytes(true), length)};
    running.reset();
    return result;
  });
}

}  // namespace us::bench
