// How a primary ends: the planned hand-over, the guest's own end, a QEMU that fails.
#include <spdlog/spdlog.h>

#include "host/primary.h"
#include "os/clock.h"

namespace us {
namespace {

using Json = nlohmann::json;

constexpr Duration kResetLogInterval = Duration::millis(100);
constexpr Duration kGuestEndAckTimeout = Duration::seconds(2);
constexpr Duration kQemuTimeout = Duration::seconds(10);
// For the standby to write a window of writes, on a slow disk.
constexpr Duration kDisksEndTimeout = Duration::seconds(10);

}  // namespace

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
    log_reset(clock_now());
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

// A guest can reset itself a thousand times a second.
void Primary::log_reset(Instant now) {
  ++resets_unlogged_;
  if (now < next_reset_log_) return;
  const std::string count =
      resets_unlogged_ > 1 ? " (" + std::to_string(resets_unlogged_) + " times since this was said last)" : "";
  spdlog::info("the guest reboots{}", count);
  resets_unlogged_ = 0;
  next_reset_log_ = now + kResetLogInterval;
}

std::optional<RoleOutcome> Primary::end_guest(GuestEnd reason, const std::string& text) {
  spdlog::info("the VM has ended: {}", text);
  const PrimaryState state = coordinator_->state();
  const bool linked =
      state == PrimaryState::kProtected || state == PrimaryState::kSyncing || state == PrimaryState::kHandingOver;
  coordinator_->with_core([](PrimaryCore& core) { core.on_guest_ending(); });
  if (linked && sender_) sender_->send_message(GuestEnded{reason, text});
  // At once, not after the standby's answer: a standby that cannot be told asks the arbiter soon.
  const Status marked = context_.arbiter->mark_ended(coordinator_->view().generation, text);
  if (!marked) spdlog::warn("the end of the VM could not be recorded: {}", marked.error().message);
  const bool told =
      linked && sender_ && await(kGuestEndAckTimeout, [this] { return coordinator_->view().guest_end_acked; });
  if (linked && sender_ && !told)
    spdlog::error("the standby did not confirm that the VM has ended; it may start it again from its last epoch");
  coordinator_->with_core([](PrimaryCore& core) { core.on_guest_ended(); });
  const std::optional<Epoch> last = told ? end_disks() : std::nullopt;
  // Who could still take over needs shared images as they are.
  const auto standing = context_.arbiter->standing();
  Status kept = disks_->sync_images(told || (marked && standing && standing->ended));
  if (!kept) spdlog::error("the last writes of the guest may not be on its disks: {}", kept.error().message);
  if (kept && last) kept = disks_->mark_ended({disks_generation_, peer_->session.value(), *last});
  if (last && kept)
    spdlog::info("the disks' images of both hosts hold all that the guest has written: either may start it again");
  else if (disks_->are_replicated())
    spdlog::warn("only the disks' images of this host are sure to hold all that the guest has written: start it here");
  close_link();
  return RoleOutcome{reason == GuestEnd::kQuit ? RoleEnd::kStopped : RoleEnd::kGuestEnded, text};
}

bool Primary::await(Duration limit, const std::function<bool()>& holds) {
  const Instant deadline = clock_now() + limit;
  while (!holds()) {
    const Instant now = clock_now();
    if (now >= deadline) return false;
    wait_readable(wake_.fd(), std::min(deadline, now + Duration::millis(50)));
    wake_.drain();
  }
  return true;
}

std::optional<Epoch> Primary::end_disks() {
  if (!peer_ || peer_->version < kDiskEndVersion || !disks_->may_end()) return std::nullopt;
  // Too much at once is more than it can take (DiskSource::may_cut()).
  if (!await(kDisksEndTimeout, [this] { return disks_->may_cut(); })) return std::nullopt;
  disks_->begin_cut();  // QEMU finishes what is in flight, and that must not wait for room
  const Status stopped = vm_->qmp().execute("stop", nullptr, kQemuTimeout).map([](const Json&) {});
  const Epoch last = next_epoch_;
  const Result<Bytes> barrier = stopped ? disks_->cut(last) : tl::unexpected<Error>(stopped.error());
  disks_->end_cut();
  if (!barrier) {
    spdlog::warn("the standby's disks do not get the guest's last writes: {}", barrier.error().message);
    return std::nullopt;
  }
  sender_->send_after_disks(DisksEnd{last, *barrier});
  if (await(kDisksEndTimeout, [&] { return coordinator_->view().disks_ended == last; })) return last;
  return std::nullopt;
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
  disks_->fence();
  vm_->process().kill_and_reap();
  if (before == PrimaryState::kProtected && sender_) {
    spdlog::error("{}; the standby is told to go on", text);
    sender_->send_message(Resigned{generation, text});
    sender_->drain(kGuestEndAckTimeout);
    text += "; the standby was told to go on";
  }
  return {RoleEnd::kFailed, text};
}

}  // namespace us
