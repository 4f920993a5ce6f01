// PrimaryCore: what a primary may do, decided from what it has heard.  Pure; the host around it captures, sends, talks
// to the arbiter and moves the gate.
//
//   Solo ──link up──► Syncing ──first cut──► Protected ──link lost, silence──► Isolated ──claim granted──► Solo
//    ▲                  │ link lost             ▲  │ switchover                  │   └──claim taken──► Fenced
//    │                  │                       │  ▼                            │ heard again
//    └──────────────────┘                       └─ HandingOver ─► Resigned ─► HandedOver
//
// And from Protected to Solo: an audit found the standby's copy wrong, and the standby has dropped it.
//
// Safety (all checked by sim/): output is released only for epochs the standby acknowledged, and only while the standby
// is bound by its promise not to claim (the lease); without a standby only in the generation the arbiter granted.
// From the first cut on the standby may hold an epoch, so from there a lost link needs the arbiter.
//
// Times: `now` of this host.  The owner calls on_deadline() at next_deadline() and reads the outputs after each input.
#pragma once

#include <optional>
#include <string>

#include "base/strong.h"
#include "base/time.h"
#include "core/epoch/output_gate.h"
#include "core/failover/arbitration.h"
#include "core/replica/failover_config.h"

namespace us {

enum class PrimaryState {
  kSolo,
  kSyncing,
  kProtected,
  kIsolated,
  kHandingOver,
  kResigned,
  kHandedOver,
  kFenced,
  kEnded
};
const char* to_string(PrimaryState);

class PrimaryCore {
 public:
  PrimaryCore(const FailoverConfig& config, Generation generation);

  // --- the link ---
  void on_link_up(Instant now);
  void on_link_lost(Instant now);
  // Something of the standby arrived that proves that it holds to its promise; `echoed` is when we sent the latest
  // message that it had received by then.
  void on_heard(Instant now, Instant echoed);
  // The standby has the whole epoch.  False: an acknowledgement that makes no sense (the peer is broken).
  bool on_ack(Epoch epoch, Instant now);

  // --- the engine ---
  bool may_cut() const;
  // A capture that was begun still counts.  It does in kIsolated: the standby may be heard again, and then it needs
  // every epoch since the last.
  bool takes_cut() const;
  // A capture exists; `epoch` follows the previous one.  The final epoch of a hand-over leaves the guest stopped.
  void on_cut(Epoch epoch, Instant now);

  // --- a copy that an audit has proved wrong ---
  // From here on nothing is cut or handed over; the owner tells the standby to forget its copy (CopyWrong).  False: not
  // protected, so there is nothing to condemn.
  bool condemn_copy(std::string reason, Instant now);
  // The standby holds nothing any more and cannot claim: this host goes on alone without asking the arbiter.  False: it
  // was not asked to (the peer is broken).
  bool on_copy_dropped();

  // --- the arbiter ---
  std::optional<Generation> poll_claim();
  void on_claim_answer(const ClaimAnswer& answer, Instant now);

  // --- the end, planned and unplanned ---
  bool on_switchover_requested(Instant now);  // false: not protected
  void on_handover_go_sent(Instant now);      // after this the standby may run; nothing is released any more
  void on_handover_done(Instant now);
  void on_handover_aborted(Instant now);  // the standby could not; its generation is spent
  // The guest has ended, and the standby is told: from here on its silence says nothing, and no claim is made.
  void on_guest_ending() { ending_ = true; }
  void on_guest_ended();
  void on_fatal();  // QEMU died: resign, the standby may go on at once

  void on_deadline(Instant now);
  Instant next_deadline() const;

  // --- outputs ---
  PrimaryState state() const { return state_; }
  Generation generation() const { return generation_; }
  // False from the moment this host may have a claim at the arbiter: the standby must not wait for a primary that
  // cannot come back to it.
  bool may_send_heartbeat() const { return !claimed(); }
  GateMode gate_mode() const;
  Epoch committed() const { return committed_; }
  // The standby has an epoch of this session: it can go on if this host dies.  Under load that may be seconds after the
  // first cut, from which on output waits (kProtected).
  bool covered() const { return covered_; }
  Epoch last_cut() const { return last_cut_; }
  // With gate_mode() kProtected nothing may be released at or after this instant.
  Instant lease_until() const { return lease_until_; }
  // In kHandingOver: the final epoch is committed; once its output has left, HandoverGo may be sent.
  bool handover_ready() const { return state_ == PrimaryState::kHandingOver && final_cut_ && committed_ == last_cut_; }
  bool wants_final_cut() const { return state_ == PrimaryState::kHandingOver && !final_cut_; }
  // True when the guest must run (it was stopped for a hand-over that did not happen).
  bool wants_resume() const { return final_cut_ && (state_ == PrimaryState::kSolo); }
  void on_resumed() { final_cut_ = false; }
  const std::string& last_reason() const { return reason_; }

 private:
  void isolate(Instant now, Duration delay, std::string reason);
  // The arbiter may have, or come to have, a claim of ours.
  bool claimed() const { return claim_pending_ || claim_open_; }
  bool awaiting_arbiter() const { return state_ == PrimaryState::kIsolated || state_ == PrimaryState::kResigned; }

  FailoverConfig config_;
  Generation generation_;
  Generation claiming_;  // the next to ask for
  PrimaryState state_ = PrimaryState::kSolo;
  Epoch last_cut_;
  Epoch committed_;
  Instant last_heard_;
  Instant lease_until_;
  Instant oldest_unacked_at_;
  Instant claim_at_ = Instant::far_future();
  Instant last_deadline_;       // poll_claim() judges claim_at_ by it
  bool claim_pending_ = false;  // the arbiter has not answered yet
  bool claim_open_ = false;     // an answer was lost: claiming_ may be recorded as ours
  bool link_intact_ = false;
  bool final_cut_ = false;
  bool covered_ = false;
  bool ending_ = false;
  bool condemned_ = false;
  Instant condemned_at_;
  std::string reason_;
};

}  // namespace us
