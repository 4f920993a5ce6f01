// PrimaryCoordinator: the watchful half of a primary.  A small, urgent thread that exchanges heartbeats, reads the
// standby's answers, keeps PrimaryCore's deadlines and moves the output gate; the engine (host/primary.h) captures and
// sends.  The two share the core under one lock.
//
// The thread does nothing that can take long: encoding, sending and asking the arbiter happen elsewhere.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/histogram.h"
#include "core/replica/frame_parser.h"
#include "core/replica/primary_core.h"
#include "core/replica/wire.h"
#include "core/replica/wire_heartbeat.h"
#include "host/claim_worker.h"
#include "host/data_path.h"
#include "host/epoch_times.h"
#include "host/primary_audit.h"
#include "host/primary_disks.h"
#include "os/event_fd.h"
#include "os/socket.h"

namespace us {

// An accepted connection to a standby.
struct StandbyPeer {
  UniqueFd stream;
  uint16_t version = 0;
  SessionId session;
  SocketAddress heartbeat_to;
  std::string node;
};

class PrimaryCoordinator {
 public:
  PrimaryCoordinator(const FailoverConfig& config, Generation generation, DataPath& net, PrimaryDisks& disks,
                     std::shared_ptr<Arbiter> arbiter, int heartbeat_socket, EventFd own_wake, EventFd& engine_wake,
                     EpochTimes& epoch_times);
  ~PrimaryCoordinator();

  // Takes over the peer's answers and heartbeats; its stream stays open until detach() has returned.
  void attach(const StandbyPeer& peer);
  void detach();
  // The sender found the stream broken.
  void stream_failed(const std::string& reason);

  // Runs `step` on the core under the lock, then carries out what the core wants.
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
  PrimaryState state() const {
    const std::lock_guard lock(mutex_);
    return core_.state();
  }

  struct View {
    PrimaryState state;
    Generation generation;
    Epoch committed;
    Epoch last_cut;
    bool covered;  // the standby can go on if this host dies
    std::string reason;
    Histogram commit;        // from cut to acknowledgement
    Duration heartbeat_rtt;  // the latest
    SyncRound sync_acked;
    bool guest_end_acked;
    Epoch disks_ended;  // the standby's images are at the guest's last epoch; 0: it has not said so
    uint64_t applied_epoch;
  };
  View view() const;
  // What the standby has said about audits since the last call.
  std::vector<AuditAnswer> take_audit_answers();

 private:
  void run();
  void poll_once();
  void read_stream();
  void read_heartbeats();
  void send_heartbeat(Instant now);
  void on_message(const Message& message, Instant now);
  void on_audit_message(const Message& message, Instant now);
  void lose_link(const std::string& reason, Instant now);
  // Carries out the core's outputs: gate, lease, claims; wakes the engine when the state changed.  Lock held.
  void settle();

  const FailoverConfig config_;
  DataPath& net_;
  PrimaryDisks& disks_;
  const int heartbeat_socket_;
  EventFd& engine_wake_;
  EpochTimes& epoch_times_;
  EventFd own_wake_;
  ClaimWorker claims_;

  mutable std::mutex mutex_;
  PrimaryCore core_;
  PrimaryState announced_state_ = PrimaryState::kSolo;
  // The peer; stream_ is -1 without one.
  int stream_ = -1;
  SessionId session_;
  SocketAddress heartbeat_to_;
  uint16_t version_ = 0;
  std::optional<FrameParser> parser_;
  uint64_t sequence_ = 0;
  uint64_t peer_sequence_ = 0;
  uint64_t peer_sent_at_ = 0;
  Instant next_heartbeat_;
  Duration heartbeat_rtt_;
  SyncRound sync_acked_;
  bool guest_end_acked_ = false;
  Epoch disks_ended_;
  uint64_t applied_epoch_ = 0;
  std::map<Epoch, Instant> cut_at_;
  Epoch noted_cut_;
  Epoch noted_commit_;
  Histogram commit_;
  std::vector<AuditAnswer> audit_answers_;

  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace us
