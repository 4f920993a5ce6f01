#include "host/primary.h"

#include <poll.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "os/clock.h"

namespace us {
namespace {

using Json = nlohmann::json;

constexpr Duration kIdleWait = Duration::seconds(1);
constexpr size_t kSparesMax = 4;
// A cut waits so long for a sync that an earlier one has put off, and looks so often.
constexpr Duration kOwedSyncPatience = Duration::millis(10);
constexpr Duration kDiskPoll = Duration::millis(1);
// A standby's disk may fail for so long before the standby is given up.
constexpr Duration kDiskFailurePatience = Duration::seconds(5);
// The guest's writes wait so long for what QEMU has counted.  No longer: QEMU may be waiting for just these writes, in
// a device that the guest resets.
constexpr Duration kCountPatience = Duration::millis(10);
constexpr Duration kQemuTimeout = Duration::seconds(10);

}  // namespace

Result<std::unique_ptr<Primary>> Primary::create(NodeContext& context, std::unique_ptr<PrimaryDisks> disks,
                                                 std::unique_ptr<Vm> vm, Generation generation,
                                                 std::vector<TakeoverRecord>& takeovers, CommandQueue& commands) {
  US_ASSIGN(EventFd wake, EventFd::create());
  US_ASSIGN(EventFd coordinator_wake, EventFd::create());
  std::unique_ptr<Primary> primary(
      new Primary(context, std::move(disks), std::move(vm), generation, takeovers, commands, std::move(wake)));
  primary->coordinator_ = std::make_unique<PrimaryCoordinator>(
      context.failover(), generation, primary->vm_->net(), *primary->disks_, context.arbiter, context.heartbeats.get(),
      std::move(coordinator_wake), primary->wake_, primary->epoch_times_);
  return primary;
}

Primary::Primary(NodeContext& context, std::unique_ptr<PrimaryDisks> disks, std::unique_ptr<Vm> vm,
                 Generation generation, std::vector<TakeoverRecord>& takeovers, CommandQueue& commands, EventFd wake)
    : context_(context),
      disks_(std::move(disks)),
      disks_generation_(generation),
      vm_(std::move(vm)),
      takeovers_(takeovers),
      commands_(commands),
      wake_(std::move(wake)),
      capture_(*vm_),
      audit_({.memory_map = [this] { return vm_->memory_map(); },
              .last_writer = [this](PageIndex page) { return capture_.last_writer(page); },
              .begin_disks = [this] { return !peer_audits_disks() || disks_->begin_audit(); },
              .disks_result =
                  [this] { return peer_audits_disks() ? disks_->audit_result() : std::optional(Json::array()); },
              .disk_bytes = [this] { return disks_->bytes(); }},
             vm_->other_blocks()),
      policy_(EpochPolicyConfig{}) {
  capture_.inject(context.dirty_page_fault);
  disks_->set_cut_wake([this] { wake_.signal(); });
}

Primary::~Primary() {
  disks_->set_cut_wake(nullptr);
  close_link();
  answer_switchover(fail(ErrorKind::kRefused, "the VM ended before it was handed over"));
  audit_.abort("the VM ended before it was audited");
  // Their threads call into this object.
  coordinator_.reset();
  vm_.reset();
  disks_.reset();
}

RoleOutcome Primary::run() {
  apply_settings();
  vm_->net().set_epoch(next_epoch_);
  // Before the guest runs: the switches send its frames here meanwhile, and nobody reads them too early.
  if (!takeovers_.empty()) vm_->net().announce();
  if (const Status resumed = vm_->resume(); !resumed) return on_qemu_failure(resumed.error());
  guest_stopped_ = false;
  resumed_at_ = clock_now();
  began_ns_ = resumed_at_.to_nanos();
  on_running();
  for (;;) {
    if (auto outcome = handle_events()) return *outcome;
    if (auto outcome = handle_commands()) return *outcome;
    const Instant now = clock_now();
    const PrimaryState state = coordinator_->state();
    log_state(state);
    handle_audit(state, now);
    handle_disks(state, now);
    if (auto outcome = step(state, now)) return *outcome;
    if (coordinator_->state() == state) wait_for_something(state, clock_now());
  }
}

std::optional<RoleOutcome> Primary::step(PrimaryState state, Instant now) {
  switch (state) {
    case PrimaryState::kSolo:
      close_link();
      if (guest_stopped_) {
        if (const Status resumed = capture_.resume(); !resumed) return on_qemu_failure(resumed.error());
        guest_stopped_ = false;
        coordinator_->with_core([](PrimaryCore& core) { core.on_resumed(); });
        answer_switchover(fail(ErrorKind::kRefused, "the hand-over failed; the VM goes on here"));
      }
      follow_generation();
      look_for_standby(now);
      return std::nullopt;
    case PrimaryState::kSyncing:
      return sync_step();
    case PrimaryState::kProtected:
      answer_switchover(fail(ErrorKind::kRefused, "the hand-over was given up; the VM goes on here, protected"));
      if (now < next_cut() && !disks_->wants_cut()) return std::nullopt;
      return cut(false);
    case PrimaryState::kHandingOver:
    case PrimaryState::kResigned:
      return hand_over_step();
    case PrimaryState::kIsolated:
      return std::nullopt;
    case PrimaryState::kHandedOver:
      let_go_of_disks();
      answer_switchover("handed over to " + peer_node_);
      return RoleOutcome{RoleEnd::kHandedOver, "handed over to " + peer_node_};
    case PrimaryState::kFenced:
      let_go_of_disks();
      return RoleOutcome{RoleEnd::kFenced, coordinator_->view().reason};
    case PrimaryState::kEnded:
      return RoleOutcome{RoleEnd::kGuestEnded, guest_end_text_};
  }
  return std::nullopt;
}

void Primary::wait_for_something(PrimaryState state, Instant now) {
  Instant until = now + kIdleWait;
  if (state == PrimaryState::kProtected && coordinator_->with_core([](PrimaryCore& core) { return core.may_cut(); }))
    until = std::min(until, disks_may_cut(now) ? next_cut() : now + kDiskPoll);
  if (state == PrimaryState::kSolo) until = std::min(until, next_dial_);
  // Without an eventfd for it: the gate empties on its own thread.
  if (state == PrimaryState::kHandingOver) until = std::min(until, now + Duration::millis(1));
  const int64_t left = std::max<int64_t>(0, (until - now).to_nanos());
  const timespec timeout{left / 1'000'000'000, left % 1'000'000'000};
  pollfd waiting[] = {{wake_.fd(), POLLIN, 0},
                      {commands_.fd(), POLLIN, 0},
                      {vm_->qmp().fd(), POLLIN, 0},
                      {vm_->process().exit_fd(), POLLIN, 0}};
  ::ppoll(waiting, std::size(waiting), &timeout, nullptr);
  wake_.drain();
}

// ---- epochs ----

std::optional<RoleOutcome> Primary::cut(bool final) {
  if (!disks_may_cut(clock_now()) || !coordinator_->with_core([](PrimaryCore& core) { return core.may_cut(); }))
    return std::nullopt;
  std::unique_ptr<CapturedEpoch> epoch = take_spare();
  epoch->handover = final;
  const Instant began = clock_now();
  std::unique_ptr<RamHashes> hashes;
  const bool audited = !final && !audit_obstacle() && audit_.due(next_epoch_);
  disks_->begin_cut();
  if (const Status captured = capture_.stop_and_copy(next_epoch_, dirty_, *epoch, audited ? &hashes : nullptr);
      !captured)
    return on_qemu_failure(captured.error());
  // A guest that powered itself off or panicked just before it was stopped: this epoch would go on after its end.
  if (vm_->qmp().pending_events("SHUTDOWN") + vm_->qmp().pending_events("GUEST_PANICKED") > 0)
    if (auto outcome = handle_events()) return outcome;
  epoch->disk_barrier.clear();
  if (!disks_->empty()) {
    Result<Bytes> barrier = disks_->cut(next_epoch_);
    if (barrier)
      epoch->disk_barrier = std::move(*barrier);
    else
      coordinator_->stream_failed(barrier.error().message);
  }
  dirty_.clear();
  const Epoch number = next_epoch_;
  ++next_epoch_;
  epoch_times_.on_cut(number, began, epoch->pages);
  // Before the guest runs on: its next frame must find the gate closed.
  const auto [still_linked, stay_stopped] = coordinator_->with_core([&](PrimaryCore& core) {
    const bool linked = core.takes_cut();
    const bool handing_over = final && core.state() == PrimaryState::kHandingOver;
    if (linked)
      core.on_cut(number, clock_now());
    else if (core.gate_mode() == GateMode::kSolo)
      vm_->net().relays().end_session();
    return std::pair(linked, handing_over);
  });
  guest_stopped_ = true;
  if (!stay_stopped) {
    if (const Status resumed = capture_.resume(); !resumed) {
      if (auto outcome = handle_events()) return outcome;
      return on_qemu_failure(resumed.error());
    }
    guest_stopped_ = false;
    epoch_times_.on_resumed(number, clock_now());
  }
  const bool counted = disks_->wants_flush_counts();
  if (counted)
    if (const Status asked = vm_->qmp().send("query-blockstats"); !asked) return on_qemu_failure(asked.error());
  stats_.on_epoch(capture_.parts(), epoch->pages, epoch->device_state.size(), began - resumed_at_);
  {
    const std::lock_guard lock(settings_mutex_);
    policy_.on_cut(began);
    resumed_at_ = clock_now();
    policy_.on_resumed(resumed_at_, capture_.parts().total);
  }
  if (!still_linked) {
    return_spare(std::move(epoch));
    return end_cut_of_disks(counted);
  }
  sender_->send_epoch(std::move(epoch));
  if (hashes)
    for (Bytes& frame : audit_.begin(number, std::move(hashes), capture_.parts().audit, peer_->version, clock_now()))
      sender_->send_frame(std::move(frame));
  return end_cut_of_disks(counted);
}

// The answer was on its way while the epoch was handed to the sender.
std::optional<RoleOutcome> Primary::end_cut_of_disks(bool counted) {
  if (!counted) {
    disks_->end_cut();
    return std::nullopt;
  }
  Result<nlohmann::json> answer = vm_->qmp().receive(kCountPatience);
  disks_->end_cut(answer ? parse_flush_counts(*answer) : FlushCounts{});
  if (!answer && answer.error().kind == ErrorKind::kTimeout) answer = vm_->qmp().receive(kQemuTimeout);
  if (!answer && answer.error().kind != ErrorKind::kRefused) return on_qemu_failure(answer.error());
  return std::nullopt;
}

bool Primary::disks_may_cut(Instant now) const {
  if (!disks_->may_cut()) return false;
  return !disks_->owes_sync() || now >= next_cut() + kOwedSyncPatience;
}

Instant Primary::next_cut() const { return policy_.next_cut(vm_->net().relays().waiting()); }

void Primary::apply_settings() {
  const RuntimeSettings& settings = context_.config.runtime;
  EpochPolicyConfig epochs;
  epochs.kind =
      settings.epoch_kind == EpochKind::kFixed ? EpochPolicyConfig::Kind::kFixed : EpochPolicyConfig::Kind::kAdaptive;
  epochs.length = settings.epoch_length;
  epochs.latency_target = settings.latency_target;
  epochs.pause_budget = settings.pause_budget_percent / 100.0;
  epochs.cut_on_output = settings.tcp.cut_on_output;
  policy_.set_config(epochs);
  audit_.set_every(settings.audit_every);
  RelayHub& relays = vm_->net().relays();
  relays.set_options({settings.tcp.ack_guest, settings.tcp.ack_peer, settings.tcp.recovery, settings.tcp.offload});
  relays.set_enabled(settings.tcp.relay);
  relays.set_output_wake(settings.tcp.cut_on_output ? [this] { wake_.signal(); } : std::function<void()>{});
  vm_->net().wake();
}

Result<std::string> Primary::change_setting(const std::string& assignment) {
  const std::lock_guard lock(settings_mutex_);
  US_TRY(apply_setting(assignment, context_.config.runtime));
  apply_settings();
  spdlog::info("setting changed: {}", assignment);
  return assignment;
}

std::unique_ptr<CapturedEpoch> Primary::take_spare() {
  const std::lock_guard lock(spares_mutex_);
  if (spares_.empty()) return std::make_unique<CapturedEpoch>();
  std::unique_ptr<CapturedEpoch> spare = std::move(spares_.back());
  spares_.pop_back();
  return spare;
}

void Primary::return_spare(std::unique_ptr<CapturedEpoch> epoch) {
  epoch->trim();
  const std::lock_guard lock(spares_mutex_);
  if (spares_.size() < kSparesMax) spares_.push_back(std::move(epoch));
}

// ---- audits ----

std::optional<std::string> Primary::audit_obstacle() const {
  const PrimaryState state = coordinator_->state();
  if (state != PrimaryState::kProtected && state != PrimaryState::kSyncing)
    return std::string("only a protected VM can be audited; this one is ") + to_string(state);
  if (!peer_ || peer_->version < kAuditVersion) return "the standby's understudy is too old for audits";
  return std::nullopt;
}

void Primary::handle_audit(PrimaryState state, Instant now) {
  for (const AuditAnswer& answer : coordinator_->take_audit_answers()) {
    if (const Status taken = audit_.on_answer(answer, now); !taken) {
      audit_.abort("the standby's answer makes no sense: " + taken.error().message);
      coordinator_->stream_failed(taken.error().message);
    }
  }
  audit_.poll_disks();
  if (now >= audit_.deadline()) audit_.abort("the standby did not compare in time");
  if (state != PrimaryState::kProtected && state != PrimaryState::kSyncing && !audit_.running())
    audit_.abort("the VM is not protected any more");
  const std::optional<std::string> difference = audit_.take_difference();
  if (!difference) return;
  // A copy that is known to be wrong must not be taken over from, even if that leaves none: docs/adr/0006-audit.md.
  const bool condemned =
      coordinator_->with_core([&](PrimaryCore& core) { return core.condemn_copy(*difference, clock_now()); });
  if (!condemned) return spdlog::error("the standby cannot be told now; its copy may still be taken over from");
  spdlog::error("the standby's copy is wrong and is given up; it is synchronised anew, in full");
  sender_->send_message(CopyWrong{audit_.last_epoch(), *difference});
}

void Primary::handle_disks(PrimaryState state, Instant now) {
  if (state != PrimaryState::kProtected) return;
  const std::optional<std::string> failure = disks_->take_standby_failure(now, kDiskFailurePatience);
  if (!failure) return;
  const std::string reason = "the standby's disk cannot be written (" + *failure + ")";
  const bool condemned = coordinator_->with_core([&](PrimaryCore& core) { return core.condemn_copy(reason, now); });
  if (!condemned) return;
  spdlog::error("{}; the standby is given up until it can", reason);
  sender_->send_message(CopyWrong{next_epoch_, reason});
}

// ---- commands ----

std::optional<RoleOutcome> Primary::handle_commands() {
  for (Command& command : commands_.take()) {
    if (command.kind == CommandKind::kSet) {
      command.answer->set_value(change_setting(command.argument));
      continue;
    }
    if (command.kind == CommandKind::kAudit) {
      audit_.request(std::move(command), audit_obstacle());
      continue;
    }
    if (command.kind == CommandKind::kStop) {
      command.answer->set_value("the VM is ended");
      return end_guest(GuestEnd::kQuit, "ended by its operator");
    }
    const bool accepted =
        coordinator_->with_core([](PrimaryCore& core) { return core.on_switchover_requested(clock_now()); });
    if (accepted) {
      spdlog::info("handing over to {}", peer_node_);
      switchover_ = std::move(command);
    } else if (command.kind == CommandKind::kLeave) {
      command.answer->set_value("the VM is ended");
      return end_guest(GuestEnd::kQuit, "this host was asked to leave, and no standby could take the VM");
    } else {
      command.answer->set_value(
          fail(ErrorKind::kRefused,
               std::string("only a protected VM can be handed over; this one is ") + to_string(coordinator_->state())));
    }
  }
  return std::nullopt;
}

void Primary::log_state(PrimaryState state) {
  if (state == logged_state_) return;
  const PrimaryCoordinator::View view = coordinator_->view();
  if (state == PrimaryState::kProtected && !view.covered) return;
  switch (state) {
    case PrimaryState::kSolo:
      spdlog::warn("running SOLO as generation {}: this VM is NOT protected{}{}", view.generation.value(),
                   view.reason.empty() ? "" : ": ", view.reason);
      break;
    case PrimaryState::kProtected:
      spdlog::info("PROTECTED by {} (generation {})", peer_node_, view.generation.value());
      break;
    case PrimaryState::kIsolated:
      spdlog::warn("{}; output is held until the arbiter has decided", view.reason);
      break;
    default:
      spdlog::info("{}{}{}", to_string(state), view.reason.empty() ? "" : ": ", view.reason);
  }
  logged_state_ = state;
}

}  // namespace us
