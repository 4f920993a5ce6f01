#include "host/standby_coordinator.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>

#include "os/clock.h"
#include "os/thread.h"

namespace us {
namespace {

constexpr Duration kIdlePoll = Duration::seconds(1);
constexpr int kDatagramsPerTurn = 64;  // bounded: a flood must not keep the thread from its deadlines

}  // namespace

StandbyCoordinator::StandbyCoordinator(std::shared_ptr<Arbiter> arbiter, int heartbeat_socket, EventFd own_wake,
                                       EventFd& receiver_wake)
    : heartbeat_socket_(heartbeat_socket),
      own_wake_(std::move(own_wake)),
      receiver_wake_(receiver_wake),
      claims_(std::move(arbiter), [this](const ClaimAnswer& answer) {
        with_core([&](StandbyCore& core) {
          claim_answered_ = clock_now();
          core.on_claim_answer(answer, claim_answered_);
        });
        own_wake_.signal();  // there may be a new deadline: when to ask again
      }) {
  thread_ = std::thread([this] { run(); });
}

StandbyCoordinator::~StandbyCoordinator() {
  stop_ = true;
  own_wake_.signal();
  thread_.join();
}

bool StandbyCoordinator::attach(Generation generation, const FailoverConfig& config, SessionId session,
                                uint16_t version, const SocketAddress& heartbeat_to) {
  const bool accepted = with_core([&](StandbyCore& core) {
    const Instant now = clock_now();
    if (!core.on_hello(generation, config, now)) return false;
    session_ = session;
    version_ = version;
    heartbeat_to_ = heartbeat_to;
    heartbeat_interval_ = config.heartbeat;
    sequence_ = peer_sequence_ = 0;
    next_heartbeat_ = now;
    return true;
  });
  own_wake_.signal();
  return accepted;
}

StandbyCoordinator::View StandbyCoordinator::view() const {
  const std::lock_guard lock(mutex_);
  return {core_.state(),          core_.generation(), core_.committed(), core_.last_reason(),
          core_.detected_after(), claim_began_,       claim_answered_};
}

void StandbyCoordinator::settle() {
  if (const std::optional<Generation> claim = core_.poll_claim()) claims_.ask(*claim);
  if (core_.state() == announced_state_) return;
  if (core_.state() == StandbyState::kClaiming) claim_began_ = clock_now();
  announced_state_ = core_.state();
  not_claiming_.notify_all();
  receiver_wake_.signal();
}

void StandbyCoordinator::run() {
  name_this_thread("us-coordinator");
  make_this_thread_urgent();
  while (!stop_) poll_once();
}

void StandbyCoordinator::poll_once() {
  Instant next = clock_now() + kIdlePoll;
  {
    const std::lock_guard lock(mutex_);
    if (core_.holds_promise()) next = std::min(next, next_heartbeat_);
    next = std::min(next, core_.next_deadline());
  }
  pollfd waiting[] = {{own_wake_.fd(), POLLIN, 0}, {heartbeat_socket_, POLLIN, 0}};
  const int64_t left = std::max<int64_t>(0, (next - clock_now()).to_nanos());
  const timespec timeout{left / 1'000'000'000, left % 1'000'000'000};
  ::ppoll(waiting, 2, &timeout, nullptr);
  if (waiting[0].revents != 0) own_wake_.drain();

  const std::lock_guard lock(mutex_);
  // What has arrived counts before the deadline does: a late thread must not mistake its own delay for silence.
  read_heartbeats();
  const Instant now = clock_now();
  if (core_.holds_promise() && now >= next_heartbeat_) send_heartbeat(now);
  if (now >= core_.next_deadline()) core_.on_deadline(now);
  settle();
}

void StandbyCoordinator::read_heartbeats() {
  for (int i = 0; i < kDatagramsPerTurn; ++i) {
    uint8_t datagram[kHeartbeatBytes + 1];
    const ssize_t n = ::recv(heartbeat_socket_, datagram, sizeof datagram, MSG_DONTWAIT);
    if (n < 0) return;
    const Result<Heartbeat> beat = decode_heartbeat(ByteSpan(datagram, static_cast<size_t>(n)), version_);
    if (!beat || beat->role != HeartbeatRole::kPrimary || beat->session != session_ || beat->sequence <= peer_sequence_)
      continue;
    peer_sequence_ = beat->sequence;
    core_.on_heard(clock_now(), Instant::from_nanos(static_cast<int64_t>(beat->sent_at)));
  }
}

void StandbyCoordinator::send_heartbeat(Instant now) {
  next_heartbeat_ = std::max(next_heartbeat_ + heartbeat_interval_, now);
  Heartbeat beat;
  beat.role = HeartbeatRole::kStandby;
  beat.session = session_;
  beat.generation = core_.generation();
  beat.sequence = ++sequence_;
  beat.echo_sequence = peer_sequence_;
  beat.sent_at = static_cast<uint64_t>(now.to_nanos());
  if (const std::optional<Instant> echo = core_.echo()) beat.echo_sent_at = static_cast<uint64_t>(echo->to_nanos());
  beat.epoch = beat.committed = core_.committed();
  beat.health = core_.state() == StandbyState::kSyncing ? kHealthSyncing : kHealthProtected;
  const auto bytes = encode_heartbeat(beat, version_);
  ::sendto(heartbeat_socket_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL, heartbeat_to_.data(),
           heartbeat_to_.size());
}

}  // namespace us
