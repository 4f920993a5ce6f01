#include "sim/primary_node.h"

#include <algorithm>
#include <utility>

#include "sim/host.h"
#include "sim/judge.h"

namespace us::sim {
namespace {

constexpr size_t kSyncPagesLeft = 12;
constexpr uint32_t kSyncRoundsMax = 3;

}  // namespace

PrimaryNode::PrimaryNode(Host& host, std::unique_ptr<Guest> guest, Generation generation, ImageRecord record,
                         DirtyMap map)
    : host_(host),
      guest_(std::move(guest)),
      core_(host.lab().failover, generation),
      disk_(host, host.files(), std::move(record), std::move(map),
            {.frames_ready =
                 [this] {
                   if (sender_) sender_->disk_ready();
                   if (core_.state() == PrimaryState::kSyncing || disk_.wants_cut()) engine_.wake();
                 },
             .done =
                 [this](const GuestWrite& write, bool written) {
                   if (!guest_gone_) guest_->on_write_done(write, written);
                 },
             .direct =
                 [this] {
                   host_.lab().judge->on_direct(host_, *guest_);
                   engine_.wake();
                 }}),
      engine_(host, "engine", [this] { engine_turn(); }),
      coordinator_(host, "coordinator", [this] { coordinator_turn(); }),
      data_path_(host, "data path", [this] { data_path_turn(); }) {
  gate_.set_mode(core_.gate_mode());
}

PrimaryNode::~PrimaryNode() = default;

void PrimaryNode::start(std::function<void()> on_running) {
  busy_ = true;
  host_.post(host_.lab().world.random(Duration::micros(300), Duration::millis(3)), "guest runs", [this, on_running] {
    host_.lab().judge->on_running(host_, core_.generation(), *guest_);
    guest_->run();
    guest_stopped_ = false;
    if (on_running) on_running();
    busy_ = false;
    guest_timer();
    engine_.wake();
    coordinator_.wake();
  });
}

// ---- the loop ----

void PrimaryNode::engine_turn() {
  if (busy_ || over_ || guest_gone_) return;
  if (ending_) return end_guest_step();
  if (std::exchange(switchover_wanted_, false)) {
    host_.note("asked to hand over");
    core_.on_switchover_requested(host_.now());
    settle();
  }
  const PrimaryState state = core_.state();
  step(state);
  if (busy_ || over_) return;
  if (core_.state() != state) return engine_.wake();
  arm_engine(state);
}

void PrimaryNode::arm_engine(PrimaryState state) {
  Instant until = Instant::far_future();
  if (state == PrimaryState::kProtected && core_.may_cut() && disk_.may_cut()) until = next_cut_;
  if (state == PrimaryState::kSolo) until = dialling_ ? dial_deadline_ : next_dial_;
  if (state == PrimaryState::kHandingOver) until = host_.now() + Duration::millis(1);
  engine_.arm(until);
}

void PrimaryNode::step(PrimaryState state) {
  switch (state) {
    case PrimaryState::kSolo:
      if (!dialling_) close_link();
      disk_.follow_generation(core_.generation());
      if (guest_stopped_)
        return resume_then("guest resumes", [this] {
          core_.on_resumed();
          settle();
        });
      return look_for_standby();
    case PrimaryState::kSyncing:
      return sync_step();
    case PrimaryState::kProtected:
      if (host_.now() >= next_cut_ || disk_.wants_cut()) cut(false);
      return;
    case PrimaryState::kHandingOver:
    case PrimaryState::kResigned:
      return hand_over_step();
    case PrimaryState::kIsolated:
      return;
    case PrimaryState::kHandedOver:
    case PrimaryState::kFenced:
      return end_role(&Host::rejoin);
    case PrimaryState::kEnded:
      return;
  }
}

void PrimaryNode::resume_then(const char* what, std::function<void()> then) {
  busy_ = true;
  host_.post(host_.lab().world.random(Duration::micros(200), Duration::millis(2)), what,
             [this, then = std::move(then)] {
               busy_ = false;
               if (over_ || guest_gone_) return;
               guest_->run();
               guest_stopped_ = false;
               then();
               engine_.wake();
             });
}

void PrimaryNode::end_role(void (Host::*next)()) {
  over_ = true;
  guest_gone_ = true;
  guest_->stop();
  gate_.set_mode(GateMode::kHeld);
  close_link();
  (host_.*next)();
}

// ---- the link ----

void PrimaryNode::look_for_standby() {
  const Instant now = host_.now();
  if (dialling_) return on_reply();
  if (now < next_dial_) return;
  Lab& lab = host_.lab();
  Hello hello;
  hello.session = dialled_ = SessionId{++lab.sessions};
  hello.generation = core_.generation();
  hello.heartbeat_interval = lab.failover.heartbeat;
  hello.detection_time = lab.failover.detection;
  connection_ = lab.network.open(host_.id());
  connection_->on_readable(0, [this] {
    engine_.wake();
    coordinator_.wake();
  });
  connection_->send(0, encode(hello));
  parser_.emplace();
  dialling_ = true;
  dial_deadline_ = now + lab.times.dial_reply;
}

void PrimaryNode::on_reply() {
  const std::span<uint8_t> room = parser_->room();
  parser_->filled(connection_->read(0, room));
  const Result<std::optional<Frame>> frame = parser_->next();
  if (frame && *frame) {
    const Result<Message> message = decode(**frame);
    const HelloReply* reply = message ? std::get_if<HelloReply>(&*message) : nullptr;
    if (reply != nullptr && reply->verdict == HelloVerdict::kAccepted && reply->session == dialled_)
      return start_link();
  } else if (frame && !connection_->at_end(0) && host_.now() < dial_deadline_) {
    return;
  }
  dialling_ = false;
  connection_->close(0);
  connection_.reset();
  next_dial_ = host_.now() + host_.lab().times.dial;
}

void PrimaryNode::start_link() {
  dialling_ = false;
  host_.note("found a standby, session", dialled_.value());
  round_ = SyncRound{};
  round_on_wire_ = false;
  guest_->take_dirty();
  owed_.clear();
  for (uint64_t page = 0; page < kGuestPages; ++page) owed_.insert(PageIndex{page});
  Sender::Hooks hooks;
  hooks.round_sent = [this] {
    round_on_wire_ = false;
    engine_.wake();
  };
  hooks.failed = [this] { lose_link("the standby takes no data"); };
  hooks.take_disk = [this] { return disk_.take_frames(); };
  hooks.idle = [this] {
    if (resigned_sent_) engine_.wake();
  };
  sender_ = std::make_unique<Sender>(host_, connection_, *guest_, std::move(hooks));
  sender_->send_frame(disk_.begin_session(next_epoch_, dialled_));
  // attach()
  const Instant now = host_.now();
  linked_ = true;
  session_ = dialled_;
  parser_->establish(kProtocolVersionMax);
  sequence_ = peer_sequence_ = peer_sent_at_ = 0;
  next_heartbeat_ = now;
  core_.on_link_up(now);
  settle();
  coordinator_.wake();
}

void PrimaryNode::close_link() {
  if (!connection_) return;
  if (linked_) core_.on_link_lost(host_.now());
  linked_ = false;
  dialling_ = false;
  settle();
  disk_.end_session();
  sender_.reset();
  connection_->close(0);
  connection_.reset();
  next_dial_ = host_.now() + host_.lab().times.dial;
}

void PrimaryNode::sync_step() {
  if (round_on_wire_) return;
  if (round_ != SyncRound{}) {
    owed_.merge(guest_->take_dirty());
    if (!disk_.resynchronised()) return;
    if (owed_.size() <= kSyncPagesLeft || round_.value() >= kSyncRoundsMax) return cut(false);
  } else {
    sender_->send(SyncBegin{owed_.size()});
  }
  ++round_;
  round_on_wire_ = true;
  sender_->send_round(round_, {owed_.begin(), owed_.end()});
  owed_.clear();
}

// ---- epochs: stop, scan and copy, on_cut, cont, queue, each a step ----

void PrimaryNode::cut(bool final) {
  if (!core_.may_cut() || !disk_.may_cut()) return;
  busy_ = true;
  host_.post(host_.lab().world.random(Duration::micros(200), Duration::millis(2)), "guest stops", [this, final] {
    guest_->stop();
    guest_stopped_ = true;
    drain(final);
  });
}

// QEMU answers `stop` when nothing is in flight any more.
void PrimaryNode::drain(bool final) {
  if (over_ || guest_gone_) return;
  disk_.set_draining(true);
  if (!disk_.idle()) return host_.post(Duration::micros(100), "drain", [this, final] { drain(final); });
  disk_.set_draining(false);
  host_.post(host_.lab().world.random(Duration::micros(100), Duration::millis(3)), "scan and copy",
             [this, final] { capture(final); });
}

void PrimaryNode::capture(bool final) {
  CapturedEpoch epoch;
  epoch.epoch = next_epoch_;
  epoch.handover = final;
  owed_.merge(guest_->take_dirty());
  epoch.pages.assign(owed_.begin(), owed_.end());
  for (const PageIndex page : epoch.pages) {
    const PageSpan bytes = guest_->page(page);
    epoch.bytes.insert(epoch.bytes.end(), bytes.begin(), bytes.end());
  }
  epoch.device_state = guest_->device_state();
  ByteWriter(epoch.side_state).le(guest_->history());
  // Without a session there is nobody to tell.
  if (disk_.resynchronised()) epoch.disk_barrier = disk_.cut(epoch.epoch);
  gate_epoch_ = epoch.epoch.next();
  owed_.clear();
  ++next_epoch_;
  host_.post(Duration::micros(20), "on_cut",
             [this, final, epoch = std::move(epoch)]() mutable { enter_epoch(final, std::move(epoch)); });
}

void PrimaryNode::enter_epoch(bool final, CapturedEpoch epoch) {
  const PrimaryState state = core_.state();
  const bool linked = core_.takes_cut();
  if (linked) {
    host_.lab().judge->on_cut(host_, session_, epoch, *guest_);
    core_.on_cut(epoch.epoch, host_.now());
    settle();
  }
  if (final && linked && state == PrimaryState::kHandingOver) {
    queue_epoch(std::move(epoch));
    return finish_cut();
  }
  host_.post(host_.lab().world.random(Duration::micros(200), Duration::millis(2)), "guest continues",
             [this, linked, epoch = std::move(epoch)]() mutable {
               if (over_ || guest_gone_) return;
               guest_->run();
               guest_stopped_ = false;
               next_cut_ = host_.now() + host_.lab().times.epoch;
               if (!linked) return finish_cut();
               host_.post(Duration::micros(10), "epoch queued", [this, epoch = std::move(epoch)]() mutable {
                 queue_epoch(std::move(epoch));
                 finish_cut();
               });
             });
}

void PrimaryNode::queue_epoch(CapturedEpoch epoch) {
  if (sender_ && !epoch.disk_barrier.empty()) sender_->send_epoch(std::move(epoch));
}

void PrimaryNode::finish_cut() {
  busy_ = false;
  engine_.wake();
}

// ---- planned hand-over ----

void PrimaryNode::hand_over_step() {
  if (core_.wants_final_cut()) return cut(true);
  if (!core_.handover_ready() || !gate_.empty()) return;
  const Epoch epoch = core_.last_cut();
  core_.on_handover_go_sent(host_.now());
  settle();
  host_.note("resigns, hands over epoch", epoch.value());
  if (core_.state() == PrimaryState::kResigned) sender_->send(HandoverGo{epoch, core_.generation().next()});
}

void PrimaryNode::on_switchover() {
  switchover_wanted_ = true;
  engine_.wake();
}

// ---- ends ----

void PrimaryNode::on_guest_shutdown() {
  if (over_ || ending_ || busy_ || !guest_->running()) return;
  host_.note("the guest shuts itself down");
  host_.lab().judge->on_user_end();
  guest_->stop();
  ending_ = true;
  end_guest();
}

void PrimaryNode::end_guest() {
  const PrimaryState state = core_.state();
  const bool linked =
      state == PrimaryState::kProtected || state == PrimaryState::kSyncing || state == PrimaryState::kHandingOver;
  core_.on_guest_ending();
  end_told_ = linked && sender_;
  if (end_told_) sender_->send(GuestEnded{GuestEnd::kShutdown, ""});
  end_acked_ = !linked;
  end_deadline_ = host_.now() + host_.lab().times.guest_end_ack;
  const Generation generation = core_.generation();
  host_.lab().arbiter.mark_ended(host_.id(), generation, [this, generation](bool marked) {
    end_mark_answered_ = true;
    end_marked_ = marked && host_.lab().arbiter.newest() == generation;
    if (marked) host_.lab().judge->on_end_marked(generation);
    engine_.wake();
  });
  engine_.wake();
}

void PrimaryNode::end_guest_step() {
  const bool waited = host_.now() >= end_deadline_;
  if (core_.state() != PrimaryState::kEnded) {
    if (!waited && !(end_acked_ && end_mark_answered_)) return engine_.arm(end_deadline_);
    disk_ends_ = end_told_ && end_acked_ && disk_.may_end();
    core_.on_guest_ended();
    settle();
    end_deadline_ = host_.now() + host_.lab().times.guest_end_ack;
  }
  if (disk_ends_ && !end_disk_step()) return;
  // Nobody can take over any more, so a shared image is this host's again.
  const Instant patience = end_deadline_ + Duration::seconds(2);
  const bool ours = (end_told_ && end_acked_) || end_marked_;
  if (ours && host_.now() < patience && !disk_.finish(core_.generation())) return engine_.arm(patience);
  end_role(&Host::exit);
}

bool PrimaryNode::end_disk_step() {
  if (host_.now() >= end_deadline_ || core_.state() != PrimaryState::kEnded) return true;
  const auto again = [this] {
    host_.post(Duration::micros(200), "the disk's end", [this] { engine_.wake(); });
    return false;
  };
  if (!disk_end_) {
    if (!disk_.may_cut()) return again();
    disk_.set_draining(true);
    if (!disk_.idle()) return again();
    disk_.set_draining(false);
    if (!disk_.may_end()) return true;  // the link has gone
    disk_end_ = next_epoch_;
    host_.lab().judge->on_guest_left(host_, {core_.generation(), session_.value(), next_epoch_}, *guest_);
    sender_->send(DisksEnd{next_epoch_, disk_.cut(next_epoch_)});
  }
  if (!disk_ended_) return again();
  if (disk_.mark_ended({core_.generation(), session_.value(), *disk_end_}))
    host_.lab().judge->on_tidy_end(core_.generation());
  return true;
}

void PrimaryNode::on_qemu_failure() {
  if (over_) return;
  host_.note("QEMU dies");
  host_.lab().judge->on_destroyed(host_.id());
  const PrimaryState before = core_.state();
  const Generation generation = core_.generation();
  core_.on_fatal();
  settle();
  guest_gone_ = true;
  guest_->stop();
  busy_ = true;  // whatever the engine was at has failed
  if (before == PrimaryState::kProtected && sender_) {
    sender_->send(Resigned{generation, "simulated"});
    host_.post(host_.lab().times.resigned_drain / 4, "drained", [this] { end_role(&Host::exit); });
  } else {
    end_role(&Host::exit);
  }
}

}  // namespace us::sim
