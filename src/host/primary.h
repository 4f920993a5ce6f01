// Primary: the engine.  Runs the guest in epochs and feeds a standby; on the node's main thread.
//
//     solo: look for a standby        syncing: rounds of live pages, then the first cut
//     protected: run for one epoch length, capture, queue for sending, run on
//
// Decisions (may an epoch be cut, who may go on alone, when is this host fenced) are PrimaryCore's; this class carries
// them out.  Owns the Vm; on every end but kHandedOver the guest is gone.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "core/epoch/epoch_policy.h"
#include "host/capture.h"
#include "host/command_queue.h"
#include "host/dial.h"
#include "host/epoch_times.h"
#include "host/node_context.h"
#include "host/primary_audit.h"
#include "host/primary_coordinator.h"
#include "host/primary_disks.h"
#include "host/primary_stats.h"
#include "host/stream_sender.h"
#include "host/vm.h"
#include "os/event_fd.h"

namespace us {

class Primary {
 public:
  // The guest of `vm` is stopped and has never run here; run() lets it go.
  // `disks` are live in `generation`.
  static Result<std::unique_ptr<Primary>> create(NodeContext& context, std::unique_ptr<PrimaryDisks> disks,
                                                 std::unique_ptr<Vm> vm, Generation generation,
                                                 std::vector<TakeoverRecord>& takeovers, CommandQueue& commands);
  ~Primary();

  // Called once the guest runs.
  std::function<void()> on_running;

  // Until the role ends.
  RoleOutcome run();

  // Any thread.
  nlohmann::json status() const;
  uint64_t disk_bytes() const { return disks_->bytes(); }
  nlohmann::json flows() const { return vm_->net().relays().flows(); }
  // The latest epochs, oldest first: {"epoch", "stopped_ns", "resumed_ns", "committed_ns", "pages"}; null: not yet.
  nlohmann::json epochs() const;

 private:
  Primary(NodeContext& context, std::unique_ptr<PrimaryDisks> disks, std::unique_ptr<Vm> vm, Generation generation,
          std::vector<TakeoverRecord>& takeovers, CommandQueue& commands, EventFd wake);

  // One turn of the loop for the state the core is in.  An outcome ends the role.
  std::optional<RoleOutcome> step(PrimaryState state, Instant now);
  void wait_for_something(PrimaryState state, Instant now);
  std::optional<RoleOutcome> handle_events();
  std::optional<RoleOutcome> handle_commands();
  void handle_audit(PrimaryState state, Instant now);
  // Why no audit can be made now.
  std::optional<std::string> audit_obstacle() const;
  bool peer_audits_disks() const { return peer_ && peer_->version >= kDiskEndVersion; }

  // Lets the disks' threads reach the sender of this session, and no other.
  struct SenderHandle {
    std::mutex mutex;
    StreamSender* sender = nullptr;  // null once it is about to go
  };

  void look_for_standby(Instant now);
  void start_link(StandbyPeer peer);
  void close_link();
  std::optional<RoleOutcome> sync_step();
  std::optional<RoleOutcome> cut(bool final);
  // `counted`: QEMU has been asked how often the guest has flushed.
  std::optional<RoleOutcome> end_cut_of_disks(bool counted);
  // Nothing about the disks speaks against a cut now.
  bool disks_may_cut(Instant now) const;
  // A standby whose disk cannot be written is given up: it could not take over, and the guest would wait for it.
  void handle_disks(PrimaryState state, Instant now);
  // They are this host's no more.
  void let_go_of_disks();
  // The images say in which generation the VM runs here.
  void follow_generation();
  std::optional<RoleOutcome> hand_over_step();
  std::optional<RoleOutcome> end_guest(GuestEnd reason, const std::string& text);
  // Brings the standby's images to what the guest leaves; the last epoch, if they are there.
  std::optional<Epoch> end_disks();
  // False: it did not come true in time.
  bool await(Duration limit, const std::function<bool()>& holds);
  RoleOutcome on_qemu_failure(const Error& error);
  void note_guest_event(const nlohmann::json& event);
  void log_reset(Instant now);
  std::unique_ptr<CapturedEpoch> take_spare();
  void return_spare(std::unique_ptr<CapturedEpoch> epoch);
  void answer_switchover(Result<std::string> answer);
  void log_state(PrimaryState state);
  // Makes data path and epochs follow context_.config.runtime.
  void apply_settings();
  Instant next_cut() const;
  Result<std::string> change_setting(const std::string& assignment);

  NodeContext& context_;
  std::unique_ptr<PrimaryDisks> disks_;  // outlives QEMU
  Generation disks_generation_;          // what their images say
  std::unique_ptr<Vm> vm_;
  std::vector<TakeoverRecord>& takeovers_;
  CommandQueue& commands_;
  EventFd wake_;
  Capture capture_;
  PrimaryStats stats_;
  EpochTimes epoch_times_;
  std::unique_ptr<PrimaryCoordinator> coordinator_;

  PrimaryAudit audit_;

  std::optional<StandbyPeer> peer_;
  std::unique_ptr<StreamSender> sender_;
  std::shared_ptr<SenderHandle> sender_handle_ = std::make_shared<SenderHandle>();
  Instant next_dial_;
  std::string last_dial_error_;

  Epoch next_epoch_{1};
  EpochPolicy policy_;
  Instant resumed_at_;
  std::atomic<int64_t> began_ns_{0};  // when the guest first ran under this role
  bool guest_stopped_ = true;

  SyncRound round_;
  std::atomic<bool> round_on_wire_{false};
  std::vector<DirtyRun> dirty_;  // found by a scan while syncing, not sent yet
  std::atomic<uint64_t> sync_pages_total_{0};
  std::atomic<uint64_t> sync_pages_base_{0};

  std::mutex spares_mutex_;
  std::vector<std::unique_ptr<CapturedEpoch>> spares_;

  PrimaryState logged_state_ = PrimaryState::kEnded;
  std::optional<GuestEnd> guest_end_;
  std::string guest_end_text_;
  std::atomic<uint64_t> guest_resets_{0};
  uint64_t resets_unlogged_ = 0;
  Instant next_reset_log_;
  std::optional<Command> switchover_;
  mutable std::mutex settings_mutex_;  // for status(): context_.config.runtime and policy_
  mutable std::mutex peer_mutex_;      // for status(): peer_node_ and sender_
  std::string peer_node_;
};

}  // namespace us
