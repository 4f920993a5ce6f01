// Theory of operation.  The promise: between on_heard(t) and t + detection this standby does not claim.  It is made by
// echoing the primary's clock, so echo() is silent as soon as the promise no longer holds.  A broken connection does
// not shorten the wait: the primary may still hold a lease.  Only a primary that says itself that it has resigned does.
#include "core/replica/standby_core.h"

#include <algorithm>

#include "base/check.h"

namespace us {

const char* to_string(StandbyState state) {
  switch (state) {
    case StandbyState::kWaiting:
      return "waiting";
    case StandbyState::kSyncing:
      return "syncing";
    case StandbyState::kHolding:
      return "protecting";
    case StandbyState::kClaiming:
      return "claiming";
    case StandbyState::kTakingOver:
      return "taking-over";
    case StandbyState::kActive:
      return "active";
    case StandbyState::kEnded:
      return "ended";
  }
  return "?";
}

bool StandbyCore::on_hello(Generation generation, const FailoverConfig& config, Instant now) {
  if (state_ != StandbyState::kWaiting) return false;
  config_ = config;
  generation_ = generation;
  committed_ = Epoch{};
  state_ = StandbyState::kSyncing;
  link_intact_ = true;
  last_heard_ = now;
  latest_sent_.reset();
  claim_at_ = Instant::far_future();
  claim_open_ = told_to_go_ = false;
  reason_.clear();
  return true;
}

void StandbyCore::on_heard(Instant now, Instant sent) {
  last_heard_ = now;
  if (sent != Instant{}) latest_sent_ = std::max(latest_sent_.value_or(sent), sent);
  if (state_ == StandbyState::kClaiming && link_intact_ && !claimed() && !told_to_go_) {
    // The arbiter was out of reach and the primary is back: nobody has moved.
    state_ = StandbyState::kHolding;
    claim_at_ = Instant::far_future();
    reason_.clear();
  }
}

void StandbyCore::on_link_lost(Instant) {
  link_intact_ = false;
  if (state_ == StandbyState::kSyncing) forget("the primary went away before the first epoch");
}

bool StandbyCore::on_epoch_whole(Epoch epoch, Instant now) {
  if (state_ != StandbyState::kSyncing && state_ != StandbyState::kHolding) return false;
  // The first epoch of a session starts anywhere; after it there are no gaps.
  if (state_ == StandbyState::kHolding && epoch != committed_.next()) return false;
  committed_ = epoch;
  state_ = StandbyState::kHolding;
  last_heard_ = now;
  return true;
}

void StandbyCore::on_guest_ended() {
  if (state_ == StandbyState::kTakingOver || state_ == StandbyState::kActive) return;
  state_ = StandbyState::kEnded;
}

bool StandbyCore::on_copy_wrong(const std::string& reason) {
  if (!holds_promise()) return false;
  forget("the primary found this copy wrong: " + reason);
  return true;
}

void StandbyCore::on_handover_go(Instant now) {
  if (state_ != StandbyState::kHolding) return;
  told_to_go_ = true;
  begin_claim(now, "the primary hands over");
}

void StandbyCore::on_primary_failed(Instant now) {
  if (state_ != StandbyState::kHolding) return;
  told_to_go_ = true;
  begin_claim(now, "the primary resigned: its QEMU failed");
}

void StandbyCore::begin_claim(Instant now, std::string reason) {
  state_ = StandbyState::kClaiming;
  detected_after_ = now - last_heard_;
  claim_at_ = now;
  last_deadline_ = std::max(last_deadline_, now);
  reason_ = std::move(reason);
}

void StandbyCore::forget(std::string reason) {
  state_ = StandbyState::kWaiting;
  committed_ = Epoch{};
  claim_at_ = Instant::far_future();
  reason_ = std::move(reason);
}

std::optional<Generation> StandbyCore::poll_claim() {
  if (state_ != StandbyState::kClaiming || claim_pending_ || claim_at_ > last_deadline_) return std::nullopt;
  claim_pending_ = true;
  return generation_.next();
}

void StandbyCore::on_claim_answer(const ClaimAnswer& answer, Instant now) {
  if (!claim_pending_ || answer.generation != generation_.next()) return;
  claim_pending_ = false;
  US_CHECK(state_ == StandbyState::kClaiming || state_ == StandbyState::kEnded);
  if (state_ == StandbyState::kEnded) return;
  switch (answer.result) {
    case ClaimResult::kGranted:
      generation_ = answer.generation;
      state_ = StandbyState::kTakingOver;
      return;
    case ClaimResult::kTaken:
      forget("the arbiter gave generation " + std::to_string(answer.generation.value()) + " to " + answer.holder +
             "; this copy is out of date and was dropped");
      return;
    case ClaimResult::kUnavailable:
      if (!answer.not_recorded) claim_open_ = true;
      claim_at_ = now + config_.claim_retry;
      reason_ = "the arbiter does not answer (" + answer.detail + "); asking again";
      return;
  }
}

void StandbyCore::on_takeover_done() {
  US_CHECK(state_ == StandbyState::kTakingOver);
  state_ = StandbyState::kActive;
}

void StandbyCore::on_deadline(Instant now) {
  last_deadline_ = now;
  if (state_ == StandbyState::kHolding && now - last_heard_ >= config_.detection)
    begin_claim(now, link_intact_ ? "nothing was heard from the primary" : "the connection to the primary broke");
  // A primary that lost its power says nothing; without this its successor would find the standby taken for ever.
  if (state_ == StandbyState::kSyncing && now - last_heard_ >= config_.sync_timeout)
    forget("nothing was heard from the primary while synchronising");
}

Instant StandbyCore::next_deadline() const {
  if (state_ == StandbyState::kHolding) return last_heard_ + config_.detection;
  if (state_ == StandbyState::kSyncing) return last_heard_ + config_.sync_timeout;
  if (state_ == StandbyState::kClaiming && !claim_pending_) return claim_at_;
  return Instant::far_future();
}

std::optional<Instant> StandbyCore::echo() const { return holds_promise() ? latest_sent_ : std::nullopt; }

}  // namespace us
