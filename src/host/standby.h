// Standby: receives a primary's epochs and takes over when the primary is gone; on the node's main thread.
//
// Its QEMU waits, loaded with nothing, from the start, so that a takeover costs only the loading of device state.  An
// epoch is staged until it is whole, then acknowledged, then copied into the guest's memory; whatever happens to the
// primary or the link in between, the memory holds exactly the last acknowledged epoch when it is needed.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/memory/copy_audit.h"
#include "core/memory/staged_epoch.h"
#include "core/replica/frame_parser.h"
#include "core/replica/wire.h"
#include "core/tcp/relay_replica.h"
#include "host/command_queue.h"
#include "host/node_context.h"
#include "host/standby_coordinator.h"
#include "host/standby_disks.h"
#include "host/vm.h"

namespace us {

class Standby {
 public:
  static Result<std::unique_ptr<Standby>> create(NodeContext& context, std::unique_ptr<StandbyDisks> disks,
                                                 std::unique_ptr<Vm> vm, CommandQueue& commands);
  ~Standby();

  RoleOutcome run();

  // After RoleEnd::kTookOver: the restored, stopped guest, and how it came here.
  std::unique_ptr<Vm> release_vm() { return std::move(vm_); }
  std::unique_ptr<PrimaryDisks> release_disks() { return std::move(live_disks_); }
  const TakeoverRecord& takeover() const { return takeover_; }
  // Tells the previous primary that the guest runs here (planned hand-over).  Call once it does.
  void confirm_handover();

  // Any thread.
  nlohmann::json status() const;

 private:
  // Somebody connected and has not introduced himself yet.
  struct Caller {
    UniqueFd socket;
    SocketAddress address;
    FrameParser parser;
    Instant deadline;
  };

  Standby(NodeContext& context, std::unique_ptr<StandbyDisks> disks, std::unique_ptr<Vm> vm, CommandQueue& commands,
          EventFd wake);

  std::optional<RoleOutcome> step();
  void wait_for_something();
  void accept_callers();
  void serve_callers(Instant now);
  // False: the caller is done with (refused, adopted or gone).
  bool serve_caller(Caller& caller, Instant now);
  void greet(Caller& caller, const Hello& hello);

  void read_stream();
  Status handle_frame(const Frame& frame);
  Status handle_sync(const Message& message);
  Status handle_epoch(const Message& message, uint64_t checksum);
  Status commit_staged();
  Status handle_audit(const Message& message);
  // Compares a bit more, and sends what was found.
  void audit_step();
  void send_to_primary(const Message& message);
  void send_bytes_to_primary(ByteSpan bytes);
  void begin_disk_session(const Hello& hello);
  Status end_disks(const DisksEnd& end);
  // What the disks' threads want sent, or have found out.
  void serve_disks();
  // The guest has ended: nothing of its last writes is on its way any more, and the primary knows.
  bool disks_have_ended(Instant now);
  void close_stream(const std::string& reason);
  RoleOutcome take_over();
  void log_state(StandbyState state);

  NodeContext& context_;
  std::unique_ptr<StandbyDisks> disks_;       // outlives QEMU
  std::unique_ptr<PrimaryDisks> live_disks_;  // after a takeover
  std::unique_ptr<Vm> vm_;
  CommandQueue& commands_;
  EventFd wake_;
  StagedEpoch staged_;
  CopyAudit audit_;
  Instant audit_began_;
  PageDecoder live_decoder_;
  RelayReplica relays_;
  std::unique_ptr<StandbyCoordinator> coordinator_;

  std::list<Caller> callers_;
  UniqueFd stream_;
  uint16_t version_ = 0;
  Generation session_generation_;  // the primary's, and
  SessionId session_;              // the session's: they name its epochs
  std::optional<FrameParser> parser_;
  bool awaits_disks_ = false;            // the first epoch is whole, and the images are not consistent yet
  bool handover_ = false;                // the primary has told us to go
  std::optional<Instant> end_deadline_;  // the guest has ended, and its last writes are awaited until then
  std::optional<Epoch> last_epoch_;      // of the disks; they have come

  // Of the last committed epoch.
  Bytes device_state_;
  Bytes nic_addresses_;
  std::string guest_end_text_;
  TakeoverRecord takeover_;
  StandbyState logged_state_ = StandbyState::kEnded;

  // From the disks' threads, of session `session`.
  struct DiskWords {
    std::mutex mutex;
    SessionId session;
    std::vector<Bytes> frames;
    std::string failure;
  };
  DiskWords disk_words_;

  mutable std::mutex status_mutex_;
  std::string primary_node_;
  uint64_t sync_pages_expected_ = 0;
  uint64_t sync_pages_ = 0;
  uint64_t epochs_ = 0;
  uint64_t bytes_ = 0;
  uint64_t callers_refused_ = 0;
  uint64_t audits_ = 0;
};

}  // namespace us
