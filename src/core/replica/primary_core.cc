// Theory of operation.
//
// The lease.  Every message to the standby carries our clock; the standby echoes the latest one.  The standby claims no
// earlier than `detection` after it last heard us, and it cannot have heard a message before we sent it: so until
// `echoed + detection`, measured on our clock alone, no other generation can be running.  lease() is a tenth shorter.
//
// Isolation.  When the link is lost or silent the primary first waits (primary_delay), so that a standby that is cut
// off from us but not from the world goes first, then claims.  If the standby is heard again before anybody may have a
// claim at the arbiter, nobody has moved, and the pair goes on as before.
//
// No way back.  A claim whose answer did not come may have been recorded.  To go on as before would then be a trap:
// later one of the two crashes, and the other is refused the generation that its dead peer holds.  So from the first
// claim that may be recorded only the arbiter ends the matter.  Meanwhile neither side gives the other a sign of life,
// so that whichever of them reaches the arbiter goes on.
//
// A condemned copy.  The standby that answers CopyDropped was Holding until then, so it had no claim open, and from
// then on it is Waiting and makes none: no other generation can come from it.  Without that answer the matter is a lost
// link like any other, and the arbiter's.
#include "core/replica/primary_core.h"

#include <algorithm>

#include "base/check.h"

namespace us {

const char* to_string(PrimaryState state) {
  switch (state) {
    case PrimaryState::kSolo:
      return "solo";
    case PrimaryState::kSyncing:
      return "syncing";
    case PrimaryState::kProtected:
      return "protected";
    case PrimaryState::kIsolated:
      return "isolated";
    case PrimaryState::kHandingOver:
      return "handing-over";
    case PrimaryState::kResigned:
      return "resigned";
    case PrimaryState::kHandedOver:
      return "handed-over";
    case PrimaryState::kFenced:
      return "fenced";
    case PrimaryState::kEnded:
      return "ended";
  }
  return "?";
}

PrimaryCore::PrimaryCore(const FailoverConfig& config, Generation generation)
    : config_(config), generation_(generation), claiming_(generation.next()) {}

void PrimaryCore::on_link_up(Instant now) {
  US_CHECK(state_ == PrimaryState::kSolo);
  state_ = PrimaryState::kSyncing;
  committed_ = last_cut_;  // what was in flight belongs to another standby's time
  link_intact_ = true;
  covered_ = false;
  condemned_ = false;
  last_heard_ = now;
  reason_.clear();
}

void PrimaryCore::on_link_lost(Instant now) {
  link_intact_ = false;
  if (state_ == PrimaryState::kSyncing) {
    // No epoch was ever cut: the standby cannot hold one, and nobody needs to be asked.
    state_ = PrimaryState::kSolo;
    reason_ = "the standby was lost before it was in sync";
  } else if (state_ == PrimaryState::kProtected || state_ == PrimaryState::kHandingOver) {
    isolate(now, config_.primary_delay, "the connection to the standby broke");
  } else if (state_ == PrimaryState::kResigned) {
    claim_at_ = std::min(claim_at_, now + config_.primary_delay);
  }
}

void PrimaryCore::on_heard(Instant now, Instant echoed) {
  last_heard_ = now;
  lease_until_ = std::max(lease_until_, echoed + config_.lease());
  // Only an echo of something recent says that the standby still follows us.
  const bool fresh = now - echoed < config_.lease();
  if (state_ == PrimaryState::kIsolated && link_intact_ && !claimed() && fresh) {
    state_ = final_cut_ ? PrimaryState::kHandingOver : PrimaryState::kProtected;
    claim_at_ = Instant::far_future();
    oldest_unacked_at_ = now;
    reason_.clear();
  }
}

bool PrimaryCore::on_ack(Epoch epoch, Instant now) {
  if (epoch > last_cut_) return false;
  if (epoch <= committed_) return true;
  committed_ = epoch;
  covered_ = !condemned_;
  oldest_unacked_at_ = now;
  return true;
}

bool PrimaryCore::may_cut() const {
  if (condemned_) return false;
  if (state_ != PrimaryState::kSyncing && state_ != PrimaryState::kProtected && !wants_final_cut()) return false;
  return last_cut_.value() - committed_.value() < static_cast<uint64_t>(config_.epochs_in_flight_max);
}

bool PrimaryCore::takes_cut() const {
  return state_ == PrimaryState::kSyncing || state_ == PrimaryState::kProtected ||
         state_ == PrimaryState::kHandingOver || state_ == PrimaryState::kIsolated;
}

void PrimaryCore::on_cut(Epoch epoch, Instant now) {
  US_CHECK(epoch > last_cut_);
  if (state_ == PrimaryState::kSyncing) {
    committed_ = Epoch{epoch.value() - 1};
    state_ = PrimaryState::kProtected;
    last_cut_ = committed_;
  }
  US_CHECK(epoch == last_cut_.next());
  if (last_cut_ == committed_) oldest_unacked_at_ = now;
  last_cut_ = epoch;
  if (state_ == PrimaryState::kHandingOver) final_cut_ = true;
}

void PrimaryCore::isolate(Instant now, Duration delay, std::string reason) {
  state_ = PrimaryState::kIsolated;
  claim_at_ = now + delay;
  reason_ = std::move(reason);
}

bool PrimaryCore::condemn_copy(std::string reason, Instant now) {
  if (state_ != PrimaryState::kProtected) return false;
  condemned_ = true;
  covered_ = false;
  condemned_at_ = now;
  reason_ = std::move(reason);
  return true;
}

bool PrimaryCore::on_copy_dropped() {
  if (!condemned_) return false;
  // With a claim of ours at the arbiter only its answer ends the matter.
  const bool isolated = state_ == PrimaryState::kIsolated && !claimed();
  if (state_ == PrimaryState::kProtected || isolated) {
    state_ = PrimaryState::kSolo;
    claim_at_ = Instant::far_future();
    link_intact_ = false;
  }
  return true;
}

std::optional<Generation> PrimaryCore::poll_claim() {
  if (ending_ || !awaiting_arbiter() || claim_pending_ || claim_at_ == Instant::far_future() ||
      claim_at_ > last_deadline_)
    return std::nullopt;
  claim_pending_ = true;
  return claiming_;
}

void PrimaryCore::on_claim_answer(const ClaimAnswer& answer, Instant now) {
  if (!claim_pending_) return;
  claim_pending_ = false;
  // Another generation: the standby has spent the one that was asked for (on_handover_aborted).
  if (!awaiting_arbiter() || answer.generation != claiming_) return;
  switch (answer.result) {
    case ClaimResult::kGranted:
      generation_ = claiming_;
      claiming_ = generation_.next();
      state_ = PrimaryState::kSolo;
      claim_at_ = Instant::far_future();
      claim_open_ = false;
      link_intact_ = false;
      reason_ += "; the arbiter granted generation " + std::to_string(generation_.value());
      return;
    case ClaimResult::kTaken:
      state_ = PrimaryState::kFenced;
      claim_at_ = Instant::far_future();
      reason_ += "; the arbiter gave generation " + std::to_string(claiming_.value()) + " to " + answer.holder;
      return;
    case ClaimResult::kUnavailable:
      if (!answer.not_recorded) claim_open_ = true;
      claim_at_ = now + config_.claim_retry;
      reason_ = "the arbiter does not answer (" + answer.detail + "); nothing is released until it does";
      return;
  }
}

bool PrimaryCore::on_switchover_requested(Instant) {
  if (state_ != PrimaryState::kProtected || condemned_) return false;
  state_ = PrimaryState::kHandingOver;
  return true;
}

void PrimaryCore::on_handover_go_sent(Instant now) {
  US_CHECK(handover_ready());
  state_ = PrimaryState::kResigned;
  // The standby answers when it runs.  If it never does, the arbiter says who goes on.
  claim_at_ = now + config_.ack_timeout;
  reason_ = "the standby did not confirm the hand-over";
}

void PrimaryCore::on_handover_done(Instant) {
  if (state_ == PrimaryState::kResigned) state_ = PrimaryState::kHandedOver;
}

void PrimaryCore::on_handover_aborted(Instant now) {
  if (state_ != PrimaryState::kResigned && state_ != PrimaryState::kHandingOver) return;
  // A standby that was told to go has claimed our next generation, and spent it.
  if (state_ == PrimaryState::kResigned) claiming_ = claiming_.next();
  isolate(now, Duration{}, "the standby could not take over");
  link_intact_ = false;
}

void PrimaryCore::on_guest_ended() {
  if (state_ == PrimaryState::kFenced || state_ == PrimaryState::kHandedOver) return;
  state_ = PrimaryState::kEnded;
}

void PrimaryCore::on_fatal() {
  if (state_ == PrimaryState::kFenced || state_ == PrimaryState::kHandedOver) return;
  state_ = PrimaryState::kFenced;
  reason_ = "QEMU failed on this host";
}

void PrimaryCore::on_deadline(Instant now) {
  last_deadline_ = now;
  if (ending_) return;
  if (state_ == PrimaryState::kSyncing && now - last_heard_ >= config_.sync_timeout) on_link_lost(now);
  if (state_ == PrimaryState::kProtected || state_ == PrimaryState::kHandingOver) {
    if (now - last_heard_ >= config_.detection) {
      isolate(now, config_.primary_delay, "nothing was heard from the standby");
    } else if (last_cut_ != committed_ && now - oldest_unacked_at_ >= config_.ack_timeout) {
      // It lives, so it will not claim: no reason to let it go first.
      isolate(now, Duration{}, "the standby stopped acknowledging epochs");
      link_intact_ = false;
    } else if (condemned_ && now - condemned_at_ >= config_.ack_timeout) {
      isolate(now, Duration{}, "the standby did not say that it dropped its wrong copy");
      link_intact_ = false;
    }
  }
}

Instant PrimaryCore::next_deadline() const {
  if (ending_) return Instant::far_future();
  switch (state_) {
    case PrimaryState::kSyncing:
      return last_heard_ + config_.sync_timeout;
    case PrimaryState::kProtected:
    case PrimaryState::kHandingOver: {
      Instant next = last_heard_ + config_.detection;
      if (last_cut_ != committed_) next = std::min(next, oldest_unacked_at_ + config_.ack_timeout);
      if (condemned_) next = std::min(next, condemned_at_ + config_.ack_timeout);
      return next;
    }
    case PrimaryState::kIsolated:
    case PrimaryState::kResigned:
      return claim_pending_ ? Instant::far_future() : claim_at_;
    default:
      return Instant::far_future();
  }
}

GateMode PrimaryCore::gate_mode() const {
  switch (state_) {
    case PrimaryState::kSolo:
    case PrimaryState::kSyncing:
      return GateMode::kSolo;
    case PrimaryState::kProtected:
    case PrimaryState::kIsolated:
    case PrimaryState::kHandingOver:
      return GateMode::kProtected;
    default:
      return GateMode::kHeld;
  }
}

}  // namespace us
