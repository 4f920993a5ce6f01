// StandbyCoordinator: the watchful half of a standby.  A small, urgent thread that exchanges heartbeats with the
// primary, keeps StandbyCore's deadlines and asks the arbiter; the receiver (host/standby.h) reads the stream.  The two
// share the core under one lock.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "core/replica/standby_core.h"
#include "core/replica/wire_heartbeat.h"
#include "host/claim_worker.h"
#include "os/event_fd.h"
#include "os/socket.h"

namespace us {

class StandbyCoordinator {
 public:
  // `receiver_wake` is signalled whenever the core's state has changed.
  StandbyCoordinator(std::shared_ptr<Arbiter> arbiter, int heartbeat_socket, EventFd own_wake, EventFd& receiver_wake);
  ~StandbyCoordinator();

  // False: refused, see the core's state.
  bool attach(Generation generation, const FailoverConfig& config, SessionId session, uint16_t version,
              const SocketAddress& heartbeat_to);

  template <typename F>
  auto with_core(F&& step) {
    const std::lock_guard lock(mutex_);
    if constexpr (std::is_void_v<decltype(step(core_))>) {
      step(core_);
      settle();
    } else {
      auto result = step(core_);
      settle();
      return result;
    }
  }
  // Waits while the core is claiming, then runs `step`: an epoch that is complete at that moment is judged once it is
  // known whether this standby still follows the primary.
  template <typename F>
  auto with_settled_core(F&& step) {
    std::unique_lock lock(mutex_);
    not_claiming_.wait(lock, [this] { return core_.state() != StandbyState::kClaiming; });
    auto result = step(core_);
    settle();
    return result;
  }

  struct View {
    StandbyState state;
    Generation generation;
    Epoch committed;
    std::string reason;
    Duration detected_after;
    Instant claim_began;
    Instant claim_answered;
  };
  View view() const;

 private:
  void run();
  void poll_once();
  void read_heartbeats();
  void send_heartbeat(Instant now);
  void settle();

  const int heartbeat_socket_;
  EventFd own_wake_;
  EventFd& receiver_wake_;
  ClaimWorker claims_;

  mutable std::mutex mutex_;
  std::condition_variable not_claiming_;
  StandbyCore core_;
  StandbyState announced_state_ = StandbyState::kWaiting;
  SessionId session_;
  uint16_t version_ = 0;
  SocketAddress heartbeat_to_;
  Duration heartbeat_interval_ = Duration::millis(20);
  uint64_t sequence_ = 0;
  uint64_t peer_sequence_ = 0;
  Instant next_heartbeat_;
  Instant claim_began_;
  Instant claim_answered_;

  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace us
