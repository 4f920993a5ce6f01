// PrimaryNode: the wiring of a primary (host/primary.h, host/primary_coordinator.h, host/nic_port.h) around the real
// PrimaryCore and OutputGate.  Each thread of the real one is an Actor, each thing that takes time an event.
//
//     engine        cuts epochs, synchronises, hands over       primary_node.cc
//     coordinator   heartbeats, answers, deadlines, arbiter     primary_link.cc
//     data path     gate to network
//     sender        sender.h
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "core/epoch/output_gate.h"
#include "core/replica/frame_parser.h"
#include "core/replica/primary_core.h"
#include "core/replica/wire_heartbeat.h"
#include "sim/actor.h"
#include "sim/guest.h"
#include "sim/sender.h"
#include "sim/source_disk.h"

namespace us::sim {

class Host;

class PrimaryNode {
 public:
  PrimaryNode(Host& host, std::unique_ptr<Guest> guest, Generation generation, ImageRecord record, DirtyMap map);
  ~PrimaryNode();

  void start(std::function<void()> on_running);

  void wake_coordinator() { coordinator_.wake(); }
  void on_request(uint32_t client, uint64_t request);
  void on_switchover();      // by an operator
  void on_guest_shutdown();  // by its user
  void on_qemu_failure();

  const PrimaryCore& core() const { return core_; }
  const OutputGate& gate() const { return gate_; }
  const SourceDisk& disk() const { return disk_; }
  // Null once QEMU is gone.
  const Guest* guest() const { return guest_gone_ ? nullptr : guest_.get(); }
  bool may_release() const;  // something could leave at this instant

 private:
  // ---- engine ----
  void engine_turn();
  void step(PrimaryState state);
  void arm_engine(PrimaryState state);
  void resume_then(const char* what, std::function<void()> then);
  void look_for_standby();
  void on_reply();
  void start_link();
  void close_link();
  void sync_step();
  void cut(bool final);
  void drain(bool final);
  void capture(bool final);
  void enter_epoch(bool final, CapturedEpoch epoch);
  void queue_epoch(CapturedEpoch epoch);
  void finish_cut();
  void hand_over_step();
  void end_guest();
  void end_guest_step();
  // The disk's last epoch, brought to the standby.  True: that is over, one way or the other.
  bool end_disk_step();
  void end_role(void (Host::*next)());

  // ---- coordinator ----
  void coordinator_turn();
  void read_heartbeats();
  void read_stream();
  void send_heartbeat();
  void on_message(const Message& message);
  void lose_link(const char* why);
  void settle();

  // ---- data path ----
  void from_guest(const GuestOutput& output);
  void data_path_turn();
  void guest_timer();
  void guest_writes();

  Host& host_;
  std::unique_ptr<Guest> guest_;
  bool guest_gone_ = false;
  PrimaryCore core_;
  OutputGate gate_;
  SourceDisk disk_;
  Epoch gate_epoch_{1};  // what the guest sends now belongs to it

  // Engine.
  bool busy_ = false;  // in something of several steps
  bool over_ = false;  // the role ends
  bool guest_stopped_ = true;
  Epoch next_epoch_{1};
  Instant next_cut_;
  Instant next_dial_;
  std::shared_ptr<Connection> connection_;
  SessionId dialled_;
  Instant dial_deadline_;
  bool dialling_ = false;
  std::unique_ptr<Sender> sender_;
  SyncRound round_;
  bool round_on_wire_ = false;
  std::set<PageIndex> owed_;  // found by a scan while syncing, not sent yet
  bool switchover_wanted_ = false;
  bool ending_ = false;
  bool end_told_ = false, end_marked_ = false, end_mark_answered_ = false, end_acked_ = false;
  bool disk_ends_ = false;         // the standby is to get the guest's last writes
  std::optional<Epoch> disk_end_;  // they are on the way, with this epoch
  bool disk_ended_ = false;        // its image has them, it says
  Instant end_deadline_;
  bool resigned_sent_ = false;

  // Coordinator.
  bool linked_ = false;
  SessionId session_;
  std::optional<FrameParser> parser_;
  uint64_t sequence_ = 0, peer_sequence_ = 0, peer_sent_at_ = 0;
  Instant next_heartbeat_;
  Epoch noted_commit_;
  PrimaryState announced_ = PrimaryState::kSolo;

  Actor engine_, coordinator_, data_path_;
};

}  // namespace us::sim
