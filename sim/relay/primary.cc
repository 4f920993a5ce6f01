#include "sim/relay/primary.h"

#include <cstring>

#include "sim/relay/judge.h"
#include "sim/relay/network.h"
#include "sim/relay/standby.h"

namespace us::sim::relay {
namespace {

constexpr size_t kTapFrames = 200;
constexpr uint64_t kSecret = 4711;

}  // namespace

Primary::Primary(Lab& lab, HostId id, Guest guest)
    : lab_(lab),
      id_(id),
      guest_(std::move(guest)),
      log_(std::make_unique<RelayLog>(lab.story.log_backlog_max)),
      relay_(std::make_unique<Relay>(uint8_t{0}, lab.story.limits, kSecret, *log_)),
      guest_base_(guest_.time) {}

void Primary::later(Duration delay, const char* what, std::function<void()> action) {
  lab_.world.host_after(id_, delay, what, std::move(action));
}

void Primary::start() {
  set_mode(GateMode::kSolo);
  relay_->set_options(lab_.story.options, lab_.now());
  resume_guest();
}

// standby.cc: the relays are restored, then this host becomes a primary (kSolo), then the guest runs.
void Primary::start_restored(const std::vector<RestoredFlow>& flows) {
  relay_->restore(flows, lab_.now());
  lab_.counts.restored += relay_->size();
  lab_.judge->note_flows(*relay_);
  later(lab_.world.random(Duration(), Duration::millis(1)), "new primary", [this] {
    set_mode(GateMode::kSolo);
    relay_->set_options(lab_.story.options, lab_.now());
    wake();
    later(lab_.world.random(Duration(), Duration::millis(2)), "guest goes on", [this] {
      tap_.clear();  // what had waited since before the takeover
      resume_guest();
    });
  });
}

// ---- data path ----

void Primary::from_uplink(EthernetFrame frame) {
  if (tap_.size() >= kTapFrames) return;
  tap_.push_back(std::move(frame));
  wake();
}

void Primary::wake() {
  if (service_planned_) return;
  service_planned_ = true;
  later(lab_.world.random(Duration::micros(1), Duration::micros(30)), "data path", [this] { service(); });
}

void Primary::service() {
  service_planned_ = false;
  relay_->on_deadline(lab_.now());
  const int budget = lab_.world.rng().chance(0.1) ? 1 + static_cast<int>(lab_.world.rng().below(4)) : 64;
  bool more = pump_gate(budget);
  more |= pump_guest(budget);
  more |= pump_gate(budget);
  more |= pump_uplink(budget);
  more |= pump_relay_to_guest(budget);
  more |= pump_relay_to_uplink(budget);
  lab_.judge->note_flows(*relay_);
  if (log_->has_frames()) wake_sender();
  if (more) wake();
  arm_relay_timer();
  arm_guest();
}

bool Primary::pump_gate(int budget) {
  while (budget-- > 0) {
    const auto frame = gate_.pop(lab_.now());
    if (!frame) return false;
    emit(*frame, false);
  }
  return true;
}

bool Primary::pump_guest(int budget) {
  if (stops_ > 0) return false;
  while (budget-- > 0 && !guest_.ring.empty()) {
    if (log_->full() || gate_.full()) return false;
    const Packet packet = std::move(guest_.ring.front());
    guest_.ring.pop_front();
    lab_.trace.packet(lab_.now(), "guest sends", packet);
    const bool large = packet.segment_bytes != 0 && packet.payload.size() > packet.segment_bytes;
    EthernetFrame frame = build_frame(packet, true, large || packet.seq % 2 == 0);
    const auto taken = relay_->on_guest_frame(frame.header(), frame.ethernet(), lab_.now());
    if (taken == Relay::Disposition::kPass) gate_.push(epoch_, std::move(frame), lab_.now());
  }
  return !guest_.ring.empty();
}

bool Primary::pump_uplink(int budget) {
  while (budget-- > 0) {
    if (tap_.empty() || !ran_ || (!tap_judged_ && log_->full())) return false;
    const EthernetFrame& frame = tap_.front();
    if (!tap_judged_ &&
        relay_->on_uplink_frame(frame.header(), frame.ethernet(), lab_.now()) == Relay::Disposition::kTaken) {
      tap_.pop_front();
      continue;
    }
    tap_judged_ = true;
    if (stops_ > 0) return false;
    to_guest(frame, false);
    tap_judged_ = false;
    tap_.pop_front();
  }
  return true;
}

bool Primary::pump_relay_to_guest(int budget) {
  if (stops_ > 0) return false;
  while (budget-- > 0) {
    const auto frame = relay_->poll_to_guest(lab_.now());
    if (!frame) return false;
    to_guest(assemble(*frame), true);
  }
  return true;
}

bool Primary::pump_relay_to_uplink(int budget) {
  while (budget-- > 0) {
    if (!gate_.open(lab_.now())) return false;
    const auto frame = relay_->poll_to_uplink(lab_.now());
    if (!frame) return false;
    emit(assemble(*frame), true);
  }
  return true;
}

EthernetFrame Primary::assemble(const FlowFrame& frame) {
  EthernetFrame out(frame.header.length + frame.payload.size());
  out.set_header(frame.header.vnet);
  uint8_t* to = out.ethernet().data();
  const auto put = [&](ByteSpan bytes) {
    std::memcpy(to, bytes.data(), bytes.size());
    to += bytes.size();
  };
  put(frame.header.span());
  for (const ByteSpan piece : frame.payload.pieces()) put(piece);
  return out;
}

bool Primary::to_guest(const EthernetFrame& frame, bool of_relay) {
  Parsed parsed = read_frame(frame, false);
  if (!parsed.packet) {
    if (of_relay) throw Violation("a malformed frame to the guest: " + parsed.fault);
    return true;
  }
  lab_.trace.packet(lab_.now(), of_relay ? "relay to guest" : "net to guest", *parsed.packet);
  if (of_relay) lab_.judge->on_relay_to_guest(*parsed.packet);
  guest_.receive(*parsed.packet, guest_now());
  if (!guest_.ring.empty()) wake();
  return true;
}

void Primary::emit(const EthernetFrame& frame, bool of_relay) {
  Parsed parsed = read_frame(frame, true);
  if (!parsed.packet) throw Violation("a malformed frame to the client: " + parsed.fault);
  for (const Packet& packet : cut_into_segments(std::move(*parsed.packet))) {
    lab_.trace.packet(lab_.now(), of_relay ? "relay to client" : "gate to client", packet);
    lab_.judge->on_release(packet, of_relay);
    lab_.network->to_clients(packet);
  }
}

void Primary::arm_relay_timer() {
  const Instant next = relay_->next_deadline();
  if (next == relay_timer_ || next == Instant::far_future()) return;
  relay_timer_ = next;
  later(std::max(Duration(), next - lab_.now()), "relay's time", [this, next] {
    if (relay_timer_ != next) return;
    relay_timer_ = Instant::far_future();
    wake();
  });
}

// ---- the guest ----

Instant Primary::guest_now() const { return stops_ > 0 ? guest_base_ : guest_base_ + (lab_.now() - resumed_at_); }

void Primary::stop_guest() {
  guest_base_ = guest_now();
  ++stops_;
}

void Primary::resume_guest() {
  if (--stops_ > 0) return;
  ran_ = true;
  resumed_at_ = lab_.now();
  guest_timer_ = Instant::far_future();
  arm_guest();
  wake();
}

void Primary::arm_guest() {
  if (stops_ > 0) return;
  const Instant next = guest_.next();
  if (next == guest_timer_ || next == Instant::far_future()) return;
  guest_timer_ = next;
  later(std::max(Duration::nanos(1), next - guest_now()), "guest's time", [this, next] {
    if (guest_timer_ != next || stops_ > 0) return;
    guest_timer_ = Instant::far_future();
    guest_.run(guest_now());
    if (!guest_.ring.empty()) wake();
    arm_guest();
  });
}

void Primary::calm() {
  for (TcpEnd& end : guest_.ends) end.calm(guest_now());
  arm_guest();
}

void Primary::pause_guest(Duration length) {
  stop_guest();
  later(length, "guest goes on", [this] { resume_guest(); });
}

// ---- settings ----

void Primary::set_options(const RelayOptions& options) {
  lab_.story.options = options;
  relay_->set_options(options, lab_.now());
  wake();
}

void Primary::set_enabled(bool enabled) { relay_->set_enabled(enabled); }

// RelayHub::set_mode, NicPort::set_mode.
void Primary::set_mode(GateMode mode) {
  if (mode == mode_) return;
  mode_ = mode;
  gate_.set_mode(mode);
  if (mode == GateMode::kProtected) gate_.release_until(Instant::far_future());
  if (mode == GateMode::kSolo) end_session();
  wake();
}

// RelayHub::end_session_locked.
void Primary::end_session() {
  log_->end_session([this](const DurableRecord& record) { settle(record); });
  relay_->set_solo(true, lab_.now());
}

// ---- epochs ----

void Primary::protect() {
  if (cutting_) return later(Duration::millis(1), "protect", [this] { protect(); });
  linked_ = true;
  next_epoch_ = Epoch{1};
  epoch_ = Epoch{1};
  committed_ = last_cut_ = Epoch{};
  first_cut_.reset();
  jobs_.clear();
  plan_cut(lab_.world.random(Duration(), Duration::millis(5)));
}

void Primary::plan_cut(Duration delay) {
  later(delay, "cut due", [this] {
    if (linked_) stop_for_cut();
  });
}

void Primary::stop_for_cut() {
  if (cutting_) return;
  const auto in_flight = static_cast<int>(last_cut_.value() - committed_.value());
  if (in_flight >= lab_.story.epochs_in_flight_max || stops_ > 0) return plan_cut(Duration::millis(1));
  cutting_ = true;
  stop_guest();
  const Duration part = lab_.story.pause / 3;
  later(lab_.world.random(Duration::nanos(1), part), "relays are cut", [this, part] {
    cut();
    later(lab_.world.random(Duration::nanos(1), part), "epoch changes", [this, part] {
      close_cut();
      later(lab_.world.random(Duration::nanos(1), part), "guest runs on", [this] { run_on(); });
    });
  });
}

// Capture::stop_and_copy, RelayHub::cut.
void Primary::cut() {
  const Instant now = lab_.now();
  guest_.time = guest_now();
  captured_ = std::make_shared<const Guest>(guest_);
  if (!log_->enabled()) {
    relay_->set_solo(false, now);
    log_->begin_session();
    relay_->begin_session(now);
    first_cut_ = captured_;
    lab_.judge->on_session(*relay_);
  }
  RelayCut cut;
  NicCut part;
  relay_->on_cut(next_epoch_, now, part.changed, part.ended);
  if (!part.changed.empty() || !part.ended.empty()) cut.nics.push_back(std::move(part));
  cut.position = log_->position();
  captured_side_ = encode(cut);
  lab_.trace.note(now, "cut", next_epoch_.value(), cut.position.value());
  wake();
}

// Primary::cut of host/primary.cc, before the guest runs on.
void Primary::close_cut() {
  epoch_ = next_epoch_.next();
  if (linked_) {
    last_cut_ = next_epoch_;
    set_mode(GateMode::kProtected);
  } else if (mode_ == GateMode::kSolo) {
    end_session();
    wake();
  }
}

void Primary::run_on() {
  cutting_ = false;
  const Epoch epoch = next_epoch_;
  ++next_epoch_;
  resume_guest();
  if (!linked_) return;
  jobs_.push_back({epoch, std::move(captured_side_), std::move(captured_)});
  wake_sender();
  plan_cut(lab_.story.epoch);
}

void Primary::wake_sender() {
  if (sender_planned_ || !linked_) return;
  sender_planned_ = true;
  later(lab_.world.random(Duration::micros(2), Duration::micros(200)), "sender", [this] { send(); });
}

// StreamSender::run: the log between the frames of epochs, and all of it before an epoch's end.
void Primary::send() {
  sender_planned_ = false;
  if (!linked_) return;
  for (Bytes& frame : log_->take_frames()) lab_.standby->send(std::move(frame));
  if (jobs_.empty()) return;
  // The pages take their time; the log goes on meanwhile, and what is new goes before the end.
  Job job = std::move(jobs_.front());
  jobs_.pop_front();
  sender_planned_ = true;
  later(lab_.world.random(Duration::micros(10), Duration::millis(2)), "epoch sent", [this, job = std::move(job)] {
    sender_planned_ = false;
    if (!linked_) return;
    for (Bytes& frame : log_->take_frames()) lab_.standby->send(std::move(frame));
    lab_.standby->send_end(job.epoch, job.side, job.guest);
    wake_sender();
  });
}

void Primary::on_epoch_ack(Epoch epoch) {
  if (!linked_) return;
  committed_ = std::max(committed_, epoch);
  ++lab_.counts.commits;
  lab_.trace.note(lab_.now(), "committed", epoch.value());
  gate_.commit(epoch);
  relay_->on_commit(epoch, lab_.now());
  wake();
}

void Primary::on_log_ack(LogPosition position) {
  if (!linked_) return;
  const Status taken = log_->on_ack(position, [this](const DurableRecord& record) { settle(record); });
  if (!taken) throw Violation("the log refuses its acknowledgement: " + taken.error().message);
  wake();
}

void Primary::settle(const DurableRecord& record) {
  if (record.kind == RelayRecordKind::kOpen)
    relay_->on_open_durable(record.flow, lab_.now());
  else if (record.kind == RelayRecordKind::kIngress)
    relay_->on_ingress_durable(record.flow, record.range, lab_.now());
  else if (record.kind == RelayRecordKind::kClockBound)
    relay_->on_clock_bound_durable(record.flow, record.bound, lab_.now());
}

void Primary::lose_link() {
  if (!linked_) return;
  linked_ = false;
  jobs_.clear();
  lab_.trace.note(lab_.now(), "link lost");
  if (mode_ == GateMode::kProtected) set_mode(GateMode::kHeld);
}

void Primary::go_on_alone() {
  lab_.trace.note(lab_.now(), "alone");
  set_mode(GateMode::kSolo);
}

}  // namespace us::sim::relay
