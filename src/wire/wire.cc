#include "wire/wire.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "os/clock.h"
#include "os/thread.h"

namespace us {
namespace {

// An Ethernet frame on a tap without offloads has at most the MTU and a header; this covers every MTU.
constexpr size_t kFrameMax = 65536 + 64;
// Frames read from one tap before the other gets its turn.
constexpr int kTurnFrames = 64;
// At 1500 bytes, 15 MB: more than an epoch of 100 ms can release at 1 Gbit/s.
constexpr int kTransmitQueue = 10'000;

enum Tag : uint64_t { kTapA, kTapB, kWake };

Status set_transmit_queue(const std::string& name) {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return fail_errno("socket", errno);
  ifreq request{};
  name.copy(request.ifr_name, sizeof request.ifr_name - 1);
  request.ifr_qlen = kTransmitQueue;
  if (::ioctl(socket.get(), SIOCSIFTXQLEN, &request) != 0)
    return fail_errno(fmt::format("set the transmit queue of {}", name), errno);
  return {};
}

}  // namespace

WireConfig symmetric_wire(LinkConfig one_way) {
  WireConfig both{one_way, one_way};
  both.b_to_a.seed = Rng(one_way.seed).next();
  return both;
}

Result<UniqueFd> create_wire_tap(const std::string& name) {
  if (name.empty() || name.size() >= IFNAMSIZ)
    return fail(ErrorKind::kInput, fmt::format("\"{}\" is not an interface name", name));
  UniqueFd fd(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!fd) return fail_errno("open /dev/net/tun", errno);
  ifreq request{};
  name.copy(request.ifr_name, sizeof request.ifr_name - 1);
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  if (::ioctl(fd.get(), TUNSETIFF, &request) != 0) return fail_errno(fmt::format("create tap {}", name), errno);
  US_TRY(set_transmit_queue(name));
  return fd;
}

Result<std::unique_ptr<Wire>> Wire::start(UniqueFd tap_a, UniqueFd tap_b, const WireConfig& config) {
  US_ASSIGN(Epoll epoll, Epoll::create());
  US_ASSIGN(EventFd wake, EventFd::create());
  US_TRY(epoll.add(tap_a.get(), EPOLLIN, kTapA));
  US_TRY(epoll.add(tap_b.get(), EPOLLIN, kTapB));
  US_TRY(epoll.add(wake.fd(), EPOLLIN, kWake));
  std::unique_ptr<Wire> wire(new Wire(std::move(tap_a), std::move(tap_b), std::move(epoll), std::move(wake), config));
  wire->thread_ = std::thread([raw = wire.get()] { raw->run(); });
  return wire;
}

Wire::Wire(UniqueFd tap_a, UniqueFd tap_b, Epoll epoll, EventFd wake, const WireConfig& config)
    : tap_a_(std::move(tap_a)),
      tap_b_(std::move(tap_b)),
      epoll_(std::move(epoll)),
      wake_(std::move(wake)),
      a_to_b_(config.a_to_b),
      b_to_a_(config.b_to_a),
      buffer_(kFrameMax) {}

Wire::~Wire() {
  stop_ = true;
  wake_.signal();
  thread_.join();
}

void Wire::configure(const WireConfig& config) {
  {
    const std::lock_guard lock(mutex_);
    a_to_b_ = Link(config.a_to_b);
    b_to_a_ = Link(config.b_to_a);
    refused_ = 0;
  }
  wake_.signal();
}

WireCounters Wire::counters() const {
  const std::lock_guard lock(mutex_);
  return {a_to_b_.counters(), b_to_a_.counters(), refused_};
}

void Wire::run() {
  name_this_thread("wire");
  make_this_thread_urgent();
  std::array<epoll_event, 3> space;
  Duration timeout = Duration::infinite();
  while (!stop_) {
    const auto events = epoll_.wait(space, timeout);
    const std::lock_guard lock(mutex_);
    const Instant now = clock_now();
    for (const epoll_event& event : events) {
      if (event.data.u64 == kTapA)
        take_in(tap_a_.get(), a_to_b_, event.events, now);
      else if (event.data.u64 == kTapB)
        take_in(tap_b_.get(), b_to_a_, event.events, now);
      else
        wake_.drain();
    }
    let_out(tap_b_.get(), a_to_b_, now);
    let_out(tap_a_.get(), b_to_a_, now);
    timeout = until_due(clock_now());
  }
}

void Wire::take_in(int fd, Link& link, uint32_t events, Instant now) {
  // The interface is gone, with its namespace perhaps; the kernel would report that without end.
  if ((events & EPOLLERR) != 0) epoll_.remove(fd);
  for (int frames = 0; frames < kTurnFrames; ++frames) {
    const ssize_t n = ::read(fd, buffer_.data(), buffer_.size());
    if (n <= 0) return;
    link.on_frame(ByteSpan(buffer_).first(static_cast<size_t>(n)), now);
  }
}

void Wire::let_out(int fd, Link& link, Instant now) {
  while (const auto frame = link.poll(now))
    if (::write(fd, frame->data(), frame->size()) < 0) ++refused_;
}

// Rounded up to a whole tick: a fast line would otherwise wake this thread once for each frame.
Duration Wire::until_due(Instant now) const {
  const Instant due = std::min(a_to_b_.next_due(), b_to_a_.next_due());
  if (due == Instant::far_future()) return Duration::infinite();
  const int64_t tick = kTick.to_nanos();
  const int64_t wake_at = (due.to_nanos() + tick - 1) / tick * tick;
  return std::max(Duration{}, Instant::from_nanos(wake_at) - now);
}

}  // namespace us
