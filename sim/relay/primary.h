// Primary: the host that runs the guest, as src/host/ wires it: data path (nic_port.cc), relays (relay_hub.cc), capture
// and cut (capture.cc, primary.cc), the sender's order (stream_sender.cc), commits (primary_coordinator.cc).
//
// Each thing that takes time is an event of its own, and a kill may come between any two: the guest stops, the relays
// are cut, the gate's epoch and mode change, the guest runs on, the log is sent, the epoch's end is sent, each turn of
// the data path with a budget of its own.
#pragma once

#include <deque>
#include <memory>

#include "core/epoch/output_gate.h"
#include "core/tcp/relay_cut.h"
#include "core/tcp/relay_log.h"
#include "sim/relay/lab.h"

namespace us::sim::relay {

class Primary {
 public:
  // It begins alone, with the guest standing still.
  Primary(Lab& lab, HostId id, Guest guest);

  void start();  // a new guest
  void start_restored(const std::vector<RestoredFlow>& flows);

  // ---- from outside ----
  void from_uplink(EthernetFrame frame);
  // A standby is ready for a session.
  void protect();
  void on_epoch_ack(Epoch epoch);
  void on_log_ack(LogPosition position);
  // The stream to the standby is gone: silence, until it is decided who goes on.
  void lose_link();
  void go_on_alone();
  void pause_guest(Duration length);
  void set_options(const RelayOptions& options);
  void set_enabled(bool enabled);
  void wake();
  void calm();

  HostId id() const { return id_; }
  const Guest& guest() const { return guest_; }
  Told& told(size_t i) { return guest_.told[i]; }  // by the relay, to the guest
  const Relay& relay() const { return *relay_; }
  GateMode mode() const { return mode_; }
  bool linked() const { return linked_; }
  // Since the first cut of the session: what is said waits for commits.
  bool session() const { return log_->enabled(); }
  const std::shared_ptr<const Guest>& first_cut() const { return first_cut_; }
  Instant guest_now() const;

 private:
  void later(Duration delay, const char* what, std::function<void()> action);

  // The data path.
  void service();
  bool pump_gate(int budget);
  bool pump_guest(int budget);
  bool pump_uplink(int budget);
  bool pump_relay_to_guest(int budget);
  bool pump_relay_to_uplink(int budget);
  bool to_guest(const EthernetFrame& frame, bool of_relay);
  void emit(const EthernetFrame& frame, bool of_relay);
  static EthernetFrame assemble(const FlowFrame& frame);
  void arm_relay_timer();
  void run_guest();
  void arm_guest();

  // Epochs.
  void plan_cut(Duration delay);
  void stop_for_cut();
  void cut();
  void close_cut();
  void run_on();
  void stop_guest();
  void resume_guest();
  void wake_sender();
  void send();
  void settle(const DurableRecord& record);
  void set_mode(GateMode mode);
  void end_session();

  struct Job {
    Epoch epoch;
    Bytes side;
    std::shared_ptr<const Guest> guest;
  };

  Lab& lab_;
  HostId id_;
  Guest guest_;
  std::unique_ptr<RelayLog> log_;
  std::unique_ptr<Relay> relay_;
  OutputGate gate_;
  GateMode mode_ = GateMode::kHeld;
  Epoch epoch_{1};  // of what the guest sends now
  bool ran_ = false;
  int stops_ = 1;  // reasons why the guest stands
  Instant guest_base_, resumed_at_;
  std::deque<EthernetFrame> tap_;
  bool tap_judged_ = false;
  bool service_planned_ = false, sender_planned_ = false;
  Instant relay_timer_ = Instant::far_future(), guest_timer_ = Instant::far_future();

  bool linked_ = false, cutting_ = false;
  Epoch next_epoch_{1}, committed_{}, last_cut_{};
  std::shared_ptr<const Guest> first_cut_, captured_;
  Bytes captured_side_;
  std::deque<Job> jobs_;
};

}  // namespace us::sim::relay
