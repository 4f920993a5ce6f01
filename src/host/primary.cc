#include "host/primary.h"

#include <poll.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "os/clock.h"

namespace us {
namespace {

using Json = nlohmann::json;

constexpr Duration kDialInterval = Duration::seconds(1);
constexpr Duration kIdleWait = Duration::seconds(1);
// A synchronisation ends with the first cut once so little is left that the cut is as short as any other, or after so
// many rounds that the guest evidently writes faster than the link carries.
constexpr uint64_t kSyncPagesLeft = 2048;
constexpr uint32_t kSyncRoundsMax = 12;
constexpr size_t kSparesMax = 4;
constexpr Duration kGuestEndAckTimeout = Duration::seconds(2);
constexpr Duration kStreamStallTimeout = Duration::seconds(5);

uint64_t count_pages(const std::vector<DirtyRun>& runs) {
  uint64_t pages = 0;
  for (const DirtyRun& run : runs) pages += run.count;
  return pages;
}

PageMode page_mode(Compression compression) {
  switch (compression) {
    case Compression::kAuto:
      return PageMode::kAuto;
    case Compression::kLz4:
      return PageMode::kLz4;
    case Compression::kNone:
      return PageMode::kNone;
  }
  return PageMode::kAuto;
}

}  // namespace

Result<std::unique_ptr<Primary>> Primary::create(NodeContext& context, std::unique_ptr<Vm> vm, Generation generation,
                                                 std::vector<TakeoverRecord>& takeovers, CommandQueue& commands) {
  US_ASSIGN(EventFd wake, EventFd::create());
  US_ASSIGN(EventFd coordinator_wake, EventFd::create());
  std::unique_ptr<Primary> primary(new Primary(context, std::move(vm), takeovers, commands, std::move(wake)));
  primary->coordinator_ = std::make_unique<PrimaryCoordinator>(
      context.failover(), generation, primary->vm_->net(), context.arbiter, context.heartbeats.get(),
      std::move(coordinator_wake), primary->wake_, primary->epoch_times_);
  return primary;
}

Primary::Primary(NodeContext& context, std::unique_ptr<Vm> vm, std::vector<TakeoverRecord>& takeovers,
                 CommandQueue& commands, EventFd wake)
    : context_(context),
      vm_(std::move(vm)),
      takeovers_(takeovers),
      commands_(commands),
      wake_(std::move(wake)),
      capture_(*vm_),
      audit_({.memory_map = [this] { return vm_->memory_map(); },
              .last_writer = [this](PageIndex page) { return capture_.last_writer(page); }},
             vm_->other_blocks()),
      policy_(EpochPolicyConfig{}) {
  capture_.inject(context.dirty_page_fault);
}

Primary::~Primary() {
  close_link();
  answer_switchover(fail(ErrorKind::kRefused, "the VM ended before it was handed over"));
  audit_.abort("the VM ended before it was audited");
}

RoleOutcome Primary::run() {
  apply_settings();
  vm_->net().set_epoch(next_epoch_);
  if (const Status resumed = vm_->resume(); !resumed) return on_qemu_failure(resumed.error());
  guest_stopped_ = false;
  resumed_at_ = clock_now();
  if (!takeovers_.empty()) vm_->net().announce();
  on_running();
  for (;;) {
    if (auto outcome = handle_events()) return *outcome;
    if (auto outcome = handle_commands()) return *outcome;
    const Instant now = clock_now();
    const PrimaryState state = coordinator_->state();
    log_state(state);
    handle_audit(state, now);
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
      look_for_standby(now);
      return std::nullopt;
    case PrimaryState::kSyncing:
      return sync_step();
    case PrimaryState::kProtected:
      answer_switchover(fail(ErrorKind::kRefused, "the hand-over was given up; the VM goes on here, protected"));
      if (now < next_cut()) return std::nullopt;
      return cut(false);
    case PrimaryState::kHandingOver:
    case PrimaryState::kResigned:
      return hand_over_step();
    case PrimaryState::kIsolated:
      return std::nullopt;
    case PrimaryState::kHandedOver:
      answer_switchover("handed over to " + peer_node_);
      return RoleOutcome{RoleEnd::kHandedOver, "handed over to " + peer_node_};
    case PrimaryState::kFenced:
      return RoleOutcome{RoleEnd::kFenced, coordinator_->view().reason};
    case PrimaryState::kEnded:
      return RoleOutcome{RoleEnd::kGuestEnded, guest_end_text_};
  }
  return std::nullopt;
}

void Primary::wait_for_something(PrimaryState state, Instant now) {
  Instant until = now + kIdleWait;
  if (state == PrimaryState::kProtected && coordinator_->with_core([](PrimaryCore& core) { return core.may_cut(); }))
    until = std::min(until, next_cut());
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

// ---- the link ----

void Primary::look_for_standby(Instant now) {
  if (now < next_dial_) return;
  const Generation generation = coordinator_->view().generation;
  for (const SocketAddress& address : context_.others) {
    Result<StandbyPeer> peer = dial_standby(context_, address, make_hello(context_, vm_->identity(), generation));
    if (peer) return start_link(std::move(*peer));
    const std::string error = address.text() + ": " + peer.error().message;
    if (error != last_dial_error_) spdlog::warn("no standby yet, the VM is NOT protected: {}", error);
    last_dial_error_ = error;
  }
  next_dial_ = clock_now() + kDialInterval;
}

void Primary::start_link(StandbyPeer peer) {
  spdlog::info("standby {} found; synchronising {} MB", peer.node, vm_->ram().size() >> 20);
  last_dial_error_.clear();
  round_ = SyncRound{};
  round_on_wire_ = false;
  sync_pages_base_ = 0;
  sync_pages_total_ = 0;
  dirty_ = {{PageIndex{0}, vm_->ram().page_count()}};
  // Everything is sent anyway; from here on changes count.
  if (!capture_.begin_session(next_epoch_)) return;
  StreamSender::Hooks hooks;
  hooks.epoch_sent = [this](std::unique_ptr<CapturedEpoch> epoch) {
    return_spare(std::move(epoch));
    wake_.signal();
  };
  hooks.round_sent = [this] {
    round_on_wire_ = false;
    wake_.signal();
  };
  hooks.failed = [this](const std::string& reason) { coordinator_->stream_failed(reason); };
  hooks.take_log = [this] { return vm_->net().relays().take_log_frames(); };
  const std::lock_guard lock(peer_mutex_);
  peer_ = std::move(peer);
  peer_node_ = peer_->node;
  sender_ = std::make_unique<StreamSender>(peer_->stream.get(), peer_->version, vm_->ram(),
                                           page_mode(context_.config.replication.compression), kStreamStallTimeout,
                                           std::move(hooks));
  vm_->net().relays().set_log_ready([sender = sender_.get()] { sender->log_ready(); }, peer_->version);
  coordinator_->attach(*peer_);
}

void Primary::close_link() {
  if (!peer_) return;
  audit_.abort("the standby was lost before it had compared everything");
  coordinator_->detach();
  vm_->net().relays().set_log_ready(nullptr);
  std::unique_ptr<StreamSender> sender;
  {
    const std::lock_guard lock(peer_mutex_);
    sender = std::move(sender_);
  }
  sender.reset();  // outside the lock: it joins a thread
  peer_.reset();
  next_dial_ = clock_now() + kDialInterval;
}

std::optional<RoleOutcome> Primary::sync_step() {
  if (round_on_wire_) return std::nullopt;
  if (round_ != SyncRound{}) {
    if (const Status scanned = capture_.scan_live(next_epoch_, dirty_); !scanned)
      return on_qemu_failure(scanned.error());
    // The pages found here are in no later scan: they go into a round, or into the first cut.
    if (count_pages(dirty_) <= kSyncPagesLeft || round_.value() >= kSyncRoundsMax) return cut(false);
  } else {
    sender_->send_message(SyncBegin{count_pages(dirty_)});
  }
  round_ = SyncRound{round_.value() + 1};
  round_on_wire_ = true;
  sync_pages_total_ = count_pages(dirty_);
  sync_pages_base_ = sender_->pages_sent();
  sender_->send_round(round_, std::exchange(dirty_, {}));
  return std::nullopt;
}

// ---- epochs ----

std::optional<RoleOutcome> Primary::cut(bool final) {
  if (!coordinator_->with_core([](PrimaryCore& core) { return core.may_cut(); })) return std::nullopt;
  std::unique_ptr<CapturedEpoch> epoch = take_spare();
  epoch->handover = final;
  const Instant began = clock_now();
  std::unique_ptr<RamHashes> hashes;
  const bool audited = !final && !audit_obstacle() && audit_.due(next_epoch_);
  if (const Status captured = capture_.stop_and_copy(next_epoch_, dirty_, *epoch, audited ? &hashes : nullptr);
      !captured)
    return on_qemu_failure(captured.error());
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
  stats_.on_epoch(capture_.parts(), epoch->pages, epoch->device_state.size(), began - resumed_at_);
  {
    const std::lock_guard lock(settings_mutex_);
    policy_.on_cut(began);
    resumed_at_ = clock_now();
    policy_.on_resumed(resumed_at_, capture_.parts().total);
  }
  if (!still_linked) {
    return_spare(std::move(epoch));
    return std::nullopt;
  }
  sender_->send_epoch(std::move(epoch));
  if (hashes)
    for (Bytes& frame : audit_.begin(number, std::move(hashes), capture_.parts().audit, peer_->version, clock_now()))
      sender_->send_frame(std::move(frame));
  return std::nullopt;
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

// ---- planned hand-over ----

std::optional<RoleOutcome> Primary::hand_over_step() {
  const auto [wants_cut, ready, epoch, generation] = coordinator_->with_core([](PrimaryCore& core) {
    return std::tuple(core.wants_final_cut(), core.handover_ready(), core.last_cut(), core.generation());
  });
  if (wants_cut) return cut(true);
  // All that the guest ever said must have left before another host speaks for it.
  if (ready && vm_->net().counters().gate.gated_packets == 0) {
    coordinator_->with_core([&](PrimaryCore& core) {
      if (core.handover_ready()) core.on_handover_go_sent(clock_now());
    });
    if (coordinator_->state() == PrimaryState::kResigned) sender_->send_message(HandoverGo{epoch, generation.next()});
  }
  return std::nullopt;
}

void Primary::answer_switchover(Result<std::string> answer) {
  if (!switchover_) return;
  switchover_->answer->set_value(std::move(answer));
  switchover_.reset();
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

// ---- commands, events, ends ----

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

std::optional<RoleOutcome> Primary::handle_events() {
  const Result<std::vector<Json>> events = vm_->qmp().take_events();
  if (!events) {
    if (guest_end_) return end_guest(*guest_end_, guest_end_text_);
    return on_qemu_failure(events.error());
  }
  for (const Json& event : *events) note_guest_event(event);
  if (guest_end_) return end_guest(*guest_end_, guest_end_text_);
  return std::nullopt;
}

void Primary::note_guest_event(const Json& event) {
  const std::string name = event.value("event", std::string());
  const Json data = event.value("data", Json::object());
  if (name == "RESET" && data.value("guest", false)) {
    ++guest_resets_;
    spdlog::info("the guest reboots");
  } else if (name == "GUEST_PANICKED") {
    spdlog::error("the guest's kernel panicked");
    // No SHUTDOWN follows: with shutdown=pause a panicked guest is paused, too.
    guest_end_ = GuestEnd::kPanic;
    guest_end_text_ = "the guest's kernel panicked";
  } else if (name == "SHUTDOWN") {
    const std::string reason = data.value("reason", std::string());
    if (guest_end_) return;  // a panic, which is the better reason
    guest_end_ = reason == "guest-reset" ? GuestEnd::kReset : GuestEnd::kShutdown;
    guest_end_text_ = *guest_end_ == GuestEnd::kReset ? "the guest asked for a reboot, which a microvm cannot do"
                                                      : "the guest powered itself off";
  }
}

std::optional<RoleOutcome> Primary::end_guest(GuestEnd reason, const std::string& text) {
  spdlog::info("the VM has ended: {}", text);
  const PrimaryState state = coordinator_->state();
  const bool linked =
      state == PrimaryState::kProtected || state == PrimaryState::kSyncing || state == PrimaryState::kHandingOver;
  if (linked && sender_) sender_->send_message(GuestEnded{reason, text});
  // At once, not after the standby's answer: a standby that cannot be told asks the arbiter soon.
  if (const Status marked = context_.arbiter->mark_ended(coordinator_->view().generation, text); !marked)
    spdlog::warn("the end of the VM could not be recorded: {}", marked.error().message);
  if (linked && sender_) {
    const Instant deadline = clock_now() + kGuestEndAckTimeout;
    while (clock_now() < deadline && !coordinator_->view().guest_end_acked) {
      wait_readable(wake_.fd(), std::min(deadline, clock_now() + Duration::millis(50)));
      wake_.drain();
    }
    if (!coordinator_->view().guest_end_acked)
      spdlog::error("the standby did not confirm that the VM has ended; it may start it again from its last epoch");
  }
  coordinator_->with_core([](PrimaryCore& core) { core.on_guest_ended(); });
  close_link();
  return RoleOutcome{reason == GuestEnd::kQuit ? RoleEnd::kStopped : RoleEnd::kGuestEnded, text};
}

RoleOutcome Primary::on_qemu_failure(const Error& error) {
  // The guest may have ended itself in the middle of a capture: its last words are in the events.
  if (Result<std::vector<Json>> events = vm_->qmp().take_events())
    for (const Json& event : *events) note_guest_event(event);
  if (guest_end_)
    if (auto outcome = end_guest(*guest_end_, guest_end_text_)) return *outcome;
  std::string text = "QEMU failed: " + error.message;
  if (const auto how = vm_->process().poll_exit()) text += " (QEMU " + *how + ")";
  const PrimaryState before = coordinator_->state();
  const Generation generation = coordinator_->view().generation;
  // First silence, then the word: what is resigned must never be spoken for again.
  coordinator_->with_core([](PrimaryCore& core) { core.on_fatal(); });
  vm_->process().kill_and_reap();
  if (before == PrimaryState::kProtected && sender_) {
    spdlog::error("{}; the standby is told to go on", text);
    sender_->send_message(Resigned{generation, text});
    sender_->drain(kGuestEndAckTimeout);
    text += "; the standby was told to go on";
  }
  return {RoleEnd::kFailed, text};
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
