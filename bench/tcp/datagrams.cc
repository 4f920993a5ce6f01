#include "tcp/datagrams.h"

#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "base/bytes.h"
#include "os/clock.h"

namespace us::bench {
namespace {

constexpr Duration kGrace = Duration::seconds(1);
constexpr size_t kPayloadMin = 16;  // number and time of sending
constexpr int kReceiveBuffer = 4 << 20;

// A socket that is connected to the guest.  SOCK_RAW gives IPv4 packets with their header, of every ICMP in the
// namespace; the identifier tells ours.
class Port {
 public:
  static Result<Port> open(const Client& client, bool icmp) {
    const int type = (icmp ? SOCK_RAW : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK;
    UniqueFd fd(::socket(AF_INET, type, icmp ? IPPROTO_ICMP : 0));
    if (!fd) return fail_errno("socket", errno);
    const sockaddr_in to = client.address(icmp ? 0 : kEchoPort);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0)
      return fail_errno("connect", errno);
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBuffer, sizeof kReceiveBuffer);
    return Port(std::move(fd), icmp);
  }

  int fd() const { return fd_.get(); }

  Status send(uint64_t number, Instant now, size_t bytes) {
    Bytes packet(head() + bytes);
    store_be(&packet[head()], number);
    store_be(&packet[head() + 8], static_cast<uint64_t>(now.to_nanos()));
    if (icmp_) {
      packet[0] = ICMP_ECHO;
      store_be(&packet[4], id_);
      store_be(&packet[6], static_cast<uint16_t>(number));
      store_be(&packet[2], checksum(packet));
    }
    const ssize_t n = ::send(fd_.get(), packet.data(), packet.size(), MSG_NOSIGNAL);
    // ENOBUFS: the interface's queue is full; the datagram counts as lost, as on any network.
    if (n < 0 && errno != EAGAIN && errno != ENOBUFS && errno != ECONNREFUSED)
      return fail_errno("send a datagram", errno);
    return {};
  }

  struct Answer {
    uint64_t number;
    Instant sent;
  };
  // Nothing: no answer waits.  What is not an answer of ours is passed over.
  std::optional<Answer> receive() {
    uint8_t packet[65536];
    for (ssize_t n; (n = ::recv(fd_.get(), packet, sizeof packet, 0)) >= 0;) {
      const size_t ip = icmp_ && n > 0 ? size_t{4} * (packet[0] & 0xf) : 0;
      if (static_cast<size_t>(n) < ip + head() + kPayloadMin) continue;
      const uint8_t* message = packet + ip;
      if (icmp_ && (message[0] != ICMP_ECHOREPLY || load_be<uint16_t>(message + 4) != id_)) continue;
      const auto time = static_cast<int64_t>(load_be<uint64_t>(message + head() + 8));
      return Answer{load_be<uint64_t>(message + head()), Instant::from_nanos(time)};
    }
    return std::nullopt;
  }

 private:
  Port(UniqueFd fd, bool icmp) : fd_(std::move(fd)), icmp_(icmp), id_(static_cast<uint16_t>(clock_now().to_nanos())) {}
  size_t head() const { return icmp_ ? 8 : 0; }

  // RFC 1071.
  static uint16_t checksum(const Bytes& packet) {
    uint32_t total = 0;
    for (size_t i = 0; i + 1 < packet.size(); i += 2) total += load_be<uint16_t>(&packet[i]);
    if (packet.size() % 2 == 1) total += uint32_t{packet.back()} << 8;
    while (total > 0xffff) total = (total & 0xffff) + (total >> 16);
    return static_cast<uint16_t>(~total);
  }

  UniqueFd fd_;
  bool icmp_;
  uint16_t id_;
};

void collect(Port& port, AnswerLog& log) {
  while (const auto answer = port.receive()) log.on_answer(answer->number, clock_now() - answer->sent);
}

void wait_for_answers(const Port& port, Instant until) {
  pollfd waiting{port.fd(), POLLIN, 0};
  const int64_t nanos = std::clamp<int64_t>((until - clock_now()).to_nanos(), 0, 100'000'000);
  const timespec limit{0, nanos};
  ::ppoll(&waiting, 1, &limit, nullptr);
}

Result<DatagramResult> run(const Client& client, const Datagrams& wanted) {
  US_ASSIGN(Port port, Port::open(client, wanted.icmp));
  const size_t bytes = std::max(wanted.bytes, kPayloadMin);
  const auto count = static_cast<uint64_t>(wanted.length.to_seconds() * wanted.per_second);
  const Duration gap = Duration::nanos(1'000'000'000 / wanted.per_second);
  AnswerLog log(count);
  const Instant begin = clock_now();
  for (uint64_t number = 0; number < count; ++number) {
    const Instant due = begin + gap * static_cast<int64_t>(number);
    US_TRY(client.check());
    while (clock_now() < due) {
      wait_for_answers(port, due);
      collect(port, log);
    }
    US_TRY(port.send(number, clock_now(), bytes));
  }
  for (const Instant end = clock_now() + kGrace; !log.complete(count) && clock_now() < end;) {
    US_TRY(client.check());
    wait_for_answers(port, end);
    collect(port, log);
  }
  return log.result(count);
}

}  // namespace

void AnswerLog::on_answer(uint64_t number, Duration round_trip) {
  if (number >= seen_.size()) return;
  if (seen_[number]) {
    ++result_.duplicated;
    return;
  }
  seen_[number] = true;
  if (number + 1 < latest_) ++result_.reordered;
  latest_ = std::max(latest_, number + 1);
  result_.round_trips.push_back(round_trip);
}

DatagramResult AnswerLog::result(uint64_t sent) const {
  DatagramResult result = result_;
  result.sent = sent;
  result.lost = sent - result.round_trips.size();
  return result;
}

Result<DatagramResult> measure_datagrams(const Client& client, const Datagrams& wanted) {
  return inside<DatagramResult>(client.ns, [&] { return run(client, wanted); });
}

}  // namespace us::bench
