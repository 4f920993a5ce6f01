// RelayHub: the TCP relays of all NICs of a VM and their log, behind one lock.
//
// The data path's thread moves frames through it, the engine takes its part of each epoch, the coordinator tells it
// what has committed and what the standby has.  All calls are short; none blocks.
//
// A session (log on, output waits for commits) begins inside the first cut of a protected time and ends when this host
// goes on alone; in between the relays' output follows the same gate as every frame.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <vector>

#include "core/epoch/epoch_policy.h"
#include "core/epoch/output_gate.h"
#include "core/net/frame_pool.h"
#include "core/tcp/relay.h"
#include "core/tcp/relay_cut.h"
#include "core/tcp/relay_log.h"
#include "core/tcp/relay_replica.h"

namespace us {

class RelayHub {
 public:
  // `hash_secret` is random.
  RelayHub(size_t nics, uint64_t hash_secret);

  // --- the data path's thread ---
  Relay::Disposition from_guest(size_t nic, const EthernetFrame& frame, Instant now);
  Relay::Disposition from_uplink(size_t nic, const EthernetFrame& frame, Instant now);
  // The frame's buffer is from `pool`.
  std::optional<EthernetFrame> poll_to_uplink(size_t nic, Instant now, FramePool& pool);
  std::optional<EthernetFrame> poll_to_guest(size_t nic, Instant now, FramePool& pool);
  // Runs what is due; returns when it wants to be called again.
  Instant run_timers(Instant now);
  // The standby is behind: take nothing more for now.
  bool full() const;
  // Calls log_ready if there is something to send.
  void flush_log();

  // --- any thread ---
  void set_enabled(bool enabled);
  void set_options(const RelayOptions& options);
  RelayOptions options() const;
  // Ends the session when protection turns into solo.
  void set_mode(GateMode mode);
  // The guest stands and `epoch` ends: the side state to replicate.  The first cut begins the session.
  Bytes cut(Epoch epoch);
  // The link was lost before the first cut was sent.
  void end_session();
  void commit(Epoch epoch);
  Status on_log_ack(LogPosition position);
  std::vector<Bytes> take_log_frames();
  // `version`: the protocol version of the stream that the log's frames will go to.
  void set_log_ready(std::function<void()> log_ready, uint16_t version = kProtocolVersionMax);
  // Called when output begins to wait for a cut (cut-on-output); may be empty.
  void set_output_wake(std::function<void()> output_wake);
  void restore(const std::vector<RestoredFlow>& flows);
  // What the guest has said on relayed connections since the latest cut.
  EpochPolicy::Waiting waiting() const;

  nlohmann::json flows() const;
  nlohmann::json counters() const;

 private:
  Instant later_of(Instant read_at);
  Instant now_locked();
  void note_waiting(Instant now, size_t gated_bytes);
  void settle(const DurableRecord& record, Instant now);
  void end_session_locked(Instant now);
  static EthernetFrame assemble(const FlowFrame& frame, FramePool& pool);

  mutable std::mutex mutex_;
  RelayLog log_;
  std::vector<std::unique_ptr<Relay>> relays_;
  GateMode mode_ = GateMode::kHeld;
  Instant latest_;
  RelayOptions options_;
  EpochPolicy::Waiting waiting_;
  std::function<void()> log_ready_;
  uint16_t stream_version_ = kProtocolVersionMax;
  std::function<void()> output_wake_;
};

}  // namespace us
