// StandbyNode: the wiring of a standby (host/standby.h, host/standby_coordinator.h) around the real StandbyCore,
// parser, StagedEpoch and page decoder.  Each frame that is received, and each of "whole", "acknowledged", "applied",
// is a step.
#pragma once

#include <list>
#include <memory>
#include <optional>

#include "core/memory/staged_epoch.h"
#include "core/replica/frame_parser.h"
#include "core/replica/standby_core.h"
#include "core/replica/wire_heartbeat.h"
#include "sim/actor.h"
#include "sim/network.h"
#include "sim/replica_disk.h"

namespace us::sim {

class Host;

class StandbyNode {
 public:
  explicit StandbyNode(Host& host);
  ~StandbyNode();

  void on_caller(std::shared_ptr<Connection> connection);
  void wake_coordinator() { coordinator_.wake(); }
  void on_stopped();  // by its operator

  const StandbyCore& core() const { return core_; }
  ReplicaDisk& disk() { return disk_; }
  SessionId session() const { return session_; }
  // The epoch of this session that it would continue from.
  Epoch held() const { return core_.committed(); }

 private:
  struct Caller {
    std::shared_ptr<Connection> connection;
    FrameParser parser;
    Instant deadline;
    bool done = false;
  };

  // ---- receiver ----
  void receiver_turn();
  void serve(Caller& caller);
  void greet(Caller& caller, const Hello& hello);
  void read_frame();
  Status handle_frame(const Frame& frame);
  Status handle_sync(const Message& message);
  void on_whole();
  void apply();
  void reply(const Message& message);
  void close_stream(const char* why);
  void take_over();
  void finish_disk();
  bool disk_has_ended();
  void restore();

  // ---- coordinator ----
  void coordinator_turn();
  void send_heartbeat();
  void settle();

  Host& host_;
  StandbyCore core_;
  Bytes ram_;
  Bytes device_state_;
  StagedEpoch staged_;
  PageDecoder live_decoder_;

  std::list<Caller> callers_;
  std::shared_ptr<Connection> stream_;
  std::optional<FrameParser> parser_;
  bool busy_ = false;
  bool over_ = false;
  bool whole_waits_ = false;  // a whole epoch waits until it is known whether this standby still follows
  bool handover_ = false;
  std::optional<Instant> end_deadline_;  // the guest has ended, and its last writes are awaited until then
  std::optional<Epoch> last_epoch_;      // of the disk; they have come
  const char* broken_ = nullptr;         // the disk cannot go on with the session
  bool taking_over_ = false, disk_live_ = false;

  SessionId session_;
  Generation disk_generation_;  // of the primary
  uint64_t sequence_ = 0, peer_sequence_ = 0;
  Instant next_heartbeat_;
  Duration heartbeat_interval_;
  StandbyState announced_ = StandbyState::kWaiting;

  ReplicaDisk disk_;
  Actor receiver_, coordinator_;
};

}  // namespace us::sim
