// StandbyCore: what a standby may do, decided from what it has heard.  Pure; the host around it receives, applies and
// starts QEMU.
//
//   Waiting ──hello──► Syncing ──first epoch──► Holding ──silence──► Claiming ──granted──► TakingOver ──► Active
//      ▲                 │ link lost               │  ▲                 │  │
//      ├─────────────────┘        guest ended      │  └─ heard again ───┘  └──taken──► (forget it) Waiting
//      └───────────────────────────────────────────┘   (claim surely not recorded)
//
// Safety: an epoch is acknowledged only in Holding (or as the first one), and in that state the standby has promised
// not to claim before it has heard nothing for `detection`.  From the first moment of Claiming it acknowledges and
// echoes nothing.
#pragma once

#include <optional>
#include <string>

#include "base/strong.h"
#include "base/time.h"
#include "core/failover/arbitration.h"
#include "core/replica/failover_config.h"

namespace us {

enum class StandbyState { kWaiting, kSyncing, kHolding, kClaiming, kTakingOver, kActive, kEnded };
const char* to_string(StandbyState);

class StandbyCore {
 public:
  StandbyCore() = default;

  // A primary of `generation` wants to synchronise.  False: not now (this one follows another, or is taking over); the
  // caller refuses it with the state as the reason.
  bool on_hello(Generation generation, const FailoverConfig& config, Instant now);
  // Bytes or a heartbeat of the primary arrived; `sent` is the primary's clock in the latest message (0: none in it).
  void on_heard(Instant now, Instant sent);
  void on_link_lost(Instant now);
  // All of `epoch` has arrived and is valid.  True: acknowledge and apply it; false: discard it.
  bool on_epoch_whole(Epoch epoch, Instant now);

  void on_guest_ended();  // the primary says that its user ended the VM: never resurrect it
  // An audit of the primary has proved the copy wrong: forgets it.  False: it is too late for that, a claim has begun.
  bool on_copy_wrong(const std::string& reason);
  void on_handover_go(Instant now);     // planned: claim now
  void on_primary_failed(Instant now);  // the primary resigned: claim now

  std::optional<Generation> poll_claim();
  void on_claim_answer(const ClaimAnswer& answer, Instant now);
  void on_takeover_done();

  void on_deadline(Instant now);
  Instant next_deadline() const;

  StandbyState state() const { return state_; }
  Generation generation() const { return generation_; }  // the primary's; after the claim was granted, ours
  Epoch committed() const { return committed_; }
  // The primary's clock to echo, or nothing when no promise is given.
  std::optional<Instant> echo() const;
  bool holds_promise() const { return state_ == StandbyState::kSyncing || state_ == StandbyState::kHolding; }
  // Why the copy was given up or the claim began; for a person.
  const std::string& last_reason() const { return reason_; }
  // From the last sign of life to the decision to claim.
  Duration detected_after() const { return detected_after_; }

 private:
  void begin_claim(Instant now, std::string reason);
  void forget(std::string reason);
  // The arbiter may have, or come to have, a claim of ours.
  bool claimed() const { return claim_pending_ || claim_open_; }

  FailoverConfig config_;
  StandbyState state_ = StandbyState::kWaiting;
  Generation generation_;
  Epoch committed_;
  Instant last_heard_;
  std::optional<Instant> latest_sent_;
  Instant claim_at_ = Instant::far_future();
  Instant last_deadline_;
  bool claim_pending_ = false;  // the arbiter has not answered yet
  bool claim_open_ = false;     // an answer was lost: the next generation may be recorded as ours
  bool told_to_go_ = false;     // the primary has let go of the VM: there is nothing to go back to
  bool link_intact_ = false;
  Duration detected_after_;
  std::string reason_;
};

}  // namespace us
