// Moving frames.  Descriptors are edge-triggered: an event only sets a flag (transmit_ready_, receive_ready_,
// tap_readable_), the flag stays set until the ring was found empty or the tap would block, and service() works on
// whatever is flagged.  So the kick descriptors are never read, and an idle NIC costs nothing.
//
// The budget bounds how long the rings' stop, which QEMU's main loop waits for, can be kept waiting.
#include "host/nic_port.h"

#include <spdlog/spdlog.h>

#include "core/net/announce.h"
#include "os/clock.h"

namespace us {
namespace {

constexpr int kBudgetFrames = 64;
constexpr int64_t kBudgetBytes = 256 << 10;
constexpr int kStaleMax = 4096;  // a tap holds 500 frames by default

}  // namespace

NicCounters& NicCounters::operator+=(const NicCounters& o) {
  from_guest_packets += o.from_guest_packets;
  from_guest_bytes += o.from_guest_bytes;
  to_guest_packets += o.to_guest_packets;
  to_guest_bytes += o.to_guest_bytes;
  to_guest_unfit += o.to_guest_unfit;
  uplink_refused += o.uplink_refused;
  stale_discarded += o.stale_discarded;
  gate_full += o.gate_full;
  out_of_buffers += o.out_of_buffers;
  kicks += o.kicks;
  interrupts += o.interrupts;
  missed_kicks += o.missed_kicks;
  missed_interrupts += o.missed_interrupts;
  ring_starts += o.ring_starts;
  connections += o.connections;
  connection_errors += o.connection_errors;
  ring_faults += o.ring_faults;
  if (o.last_ring_fault != RingFault::kNone) last_ring_fault = o.last_ring_fault;
  return *this;
}

bool NicPort::service() {
  Budget out{kBudgetFrames, kBudgetBytes};
  bool more = pump_gate(out);
  Budget from{kBudgetFrames, kBudgetBytes};
  pump_guest(from);
  out = {kBudgetFrames, kBudgetBytes};
  more |= pump_gate(out);
  more |= transmit_ready_ && backend_.active(NetBackend::kTransmit) && !gate_full();
  Budget in{kBudgetFrames, kBudgetBytes};
  more |= pump_uplink(in);
  in = {kBudgetFrames, kBudgetBytes};
  more |= pump_relay_to_guest(in);
  out = {kBudgetFrames, kBudgetBytes};
  more |= pump_relay_to_uplink(out);
  settle_due_interrupts();
  more |= take_second_looks();
  const std::lock_guard lock(mutex_);
  published_ = counters_;
  return more;
}

void NicPort::on_event(uint64_t tag, uint32_t events) {
  switch (static_cast<Source>(tag & 0xffff'ffff)) {
    case Source::kListener:
      return on_accept();
    case Source::kConnection:
      return on_readable();
    case Source::kTap:
      return on_tap_event(events);
    case Source::kReceiveKick:
      ++counters_.kicks;
      receive_ready_ = true;
      return;
    case Source::kTransmitKick:
      ++counters_.kicks;
      transmit_ready_ = true;
      return;
  }
}

// --- guest to uplink ---

bool NicPort::gate_full() const {
  if (relays_.full()) return true;
  const std::lock_guard lock(mutex_);
  return gate_.full();
}

bool NicPort::gate_open(Instant now) const {
  const std::lock_guard lock(mutex_);
  return gate_.open(now);
}

void NicPort::pump_guest(Budget& budget) {
  if (!transmit_ready_ || !backend_.active(NetBackend::kTransmit)) return;
  SplitRing& ring = backend_.ring(NetBackend::kTransmit);
  ring.disable_kick();
  bool full = gate_full();
  while (!budget.spent() && !full) {
    if (auto frame = transmitter_.take(ring, backend_.format(), pool_)) {
      budget.take(frame->size());
      full = from_guest(std::move(*frame));
      continue;
    }
    ring.publish();
    if (ring.enable_kick()) continue;
    transmit_ready_ = false;
    plan_second_look(NetBackend::kTransmit);
    break;
  }
  if (full) ++counters_.gate_full;
  ring.publish();
  plan_interrupt(NetBackend::kTransmit);
  check_fault(NetBackend::kTransmit);
}

bool NicPort::from_guest(EthernetFrame frame) {
  ++counters_.from_guest_packets;
  counters_.from_guest_bytes += frame.size();
  const Instant now = clock_now();
  const bool taken = relays_.from_guest(index_, frame, now) == Relay::Disposition::kTaken;
  if (taken) pool_.give_back(std::move(frame));
  const std::lock_guard lock(mutex_);
  if (taken) return gate_.full();
  learner_.observe(frame.ethernet());
  gate_.push(epoch_, std::move(frame), now);
  return gate_.full();
}

bool NicPort::pump_gate(Budget& budget) {
  while (tap_writable_) {
    if (budget.spent()) return true;
    // Per frame, so that a lease that ends while a backlog drains ends it too.
    const Instant now = clock_now();
    std::optional<EthernetFrame> frame;
    {
      const std::lock_guard lock(mutex_);
      if (drop_stalled_) stalled_.reset();
      drop_stalled_ = false;
      if (!stalled_) {
        frame = gate_.pop(now);
      } else if (gate_.open(now)) {
        frame = std::move(stalled_);
        stalled_.reset();
      }
    }
    if (!frame) return false;
    budget.take(frame->size());
    write_uplink(std::move(*frame));
  }
  return false;
}

// The relays' own frames.  What they hold back until a commit is their business; that this host may speak at all is the
// gate's.
bool NicPort::pump_relay_to_uplink(Budget& budget) {
  while (tap_writable_ && !stalled_) {
    if (budget.spent()) return true;
    const Instant now = clock_now();
    if (!gate_open(now)) return false;
    std::optional<EthernetFrame> frame = relays_.poll_to_uplink(index_, now, pool_);
    if (!frame) return false;
    budget.take(frame->size());
    write_uplink(std::move(*frame));
  }
  return false;
}

void NicPort::write_uplink(EthernetFrame frame) {
  switch (tap_.write(frame.with_header())) {
    case Tap::Outcome::kDone:
      if (first_frame_ns_.load(std::memory_order_relaxed) == 0) first_frame_ns_ = clock_now().to_nanos();
      return pool_.give_back(std::move(frame));
    case Tap::Outcome::kRefused:
      ++counters_.uplink_refused;
      return pool_.give_back(std::move(frame));
    case Tap::Outcome::kWouldBlock:
      stalled_ = std::move(frame);
      tap_writable_ = false;
      arm_tap();
      return;
  }
}

// --- uplink to guest ---

void NicPort::on_tap_event(uint32_t events) {
  if ((events & EPOLLOUT) != 0 && !tap_writable_) {
    tap_writable_ = true;
    arm_tap();
  }
  if ((events & EPOLLIN) == 0) return;
  // Known already and not being read: silence it, or each arriving frame wakes the loop for nothing.
  if (tap_readable_ && tap_armed_ && uplink_waiting_) {
    tap_armed_ = false;
    arm_tap();
  }
  tap_readable_ = true;
}

// Modifying the entry makes the kernel look again, so no readiness is lost between a failed call and this one.
void NicPort::arm_tap() {
  const uint32_t events = EPOLLET | (tap_armed_ ? EPOLLIN : 0u) | (tap_writable_ ? 0u : EPOLLOUT);
  const Status status = epoll_.modify(tap_.fd(), events, tag(Source::kTap));
  US_CHECK(status.has_value());
}

bool NicPort::pump_uplink(Budget& budget) {
  const bool deliverable = receive_ready_ && backend_.active(NetBackend::kReceive);
  SplitRing& ring = backend_.ring(NetBackend::kReceive);
  bool more = true;
  while (more && !budget.spent()) {
    if (!uplink_waiting_ && (!guest_ran_ || relays_.full() || !from_uplink())) {
      more = false;
      break;
    }
    budget.take(uplink_frame_.size());
    // A relay takes its frames even while the guest stands still.
    if (!uplink_judged_ && relays_.from_uplink(index_, uplink_frame_, clock_now()) == Relay::Disposition::kTaken) {
      uplink_waiting_ = false;
      continue;
    }
    uplink_judged_ = true;
    more = deliverable && to_guest(ring, uplink_frame_, uplink_waiting_);
    if (!uplink_waiting_) uplink_judged_ = false;
  }
  if (!deliverable) return more;
  ring.publish();
  plan_interrupt(NetBackend::kReceive);
  check_fault(NetBackend::kReceive);
  return more;
}

bool NicPort::pump_relay_to_guest(Budget& budget) {
  if (!receive_ready_ || !backend_.active(NetBackend::kReceive)) return false;
  SplitRing& ring = backend_.ring(NetBackend::kReceive);
  bool more = true;
  while (more && !budget.spent()) {
    if (!relay_waiting_) {
      std::optional<EthernetFrame> frame = relays_.poll_to_guest(index_, clock_now(), pool_);
      if (!frame) {
        more = false;
        break;
      }
      relay_frame_ = std::move(*frame);
      relay_waiting_ = true;
    }
    budget.take(relay_frame_.size());
    more = to_guest(ring, relay_frame_, relay_waiting_);
    if (!relay_waiting_) pool_.give_back(std::move(relay_frame_));
  }
  ring.publish();
  plan_interrupt(NetBackend::kReceive);
  check_fault(NetBackend::kReceive);
  return more;
}

bool NicPort::from_uplink() {
  while (tap_readable_) {
    uplink_frame_.resize(kMaxEthernetBytes);
    size_t bytes = 0;
    switch (tap_.read(uplink_frame_.with_header(), bytes)) {
      case Tap::Outcome::kDone:
        if (bytes < kVnetHeaderBytes + kMinEthernetBytes) continue;
        uplink_frame_.resize(bytes - kVnetHeaderBytes);
        uplink_waiting_ = true;
        return true;
      case Tap::Outcome::kRefused:
        continue;
      case Tap::Outcome::kWouldBlock:
        tap_readable_ = false;
        if (!tap_armed_) {
          tap_armed_ = true;
          arm_tap();
        }
        return false;
    }
  }
  return false;
}

// Delivers `frame`; false if the guest must act first.  `waiting`: it is still to be delivered.
bool NicPort::to_guest(SplitRing& ring, EthernetFrame& frame, bool& waiting) {
  switch (receiver_.deliver(ring, backend_.format(), frame, backend_.memory())) {
    case NetReceiver::Outcome::kDelivered:
      ++counters_.to_guest_packets;
      counters_.to_guest_bytes += frame.size();
      waiting = false;
      return true;
    case NetReceiver::Outcome::kUnfit:
      ++counters_.to_guest_unfit;
      waiting = false;
      return true;
    case NetReceiver::Outcome::kNoBuffers:
      ring.publish();
      if (ring.enable_kick()) return true;
      ++counters_.out_of_buffers;
      receive_ready_ = false;
      plan_second_look(NetBackend::kReceive);
      return false;
    case NetReceiver::Outcome::kFault:
      receive_ready_ = false;
      return false;
  }
  return false;
}

void NicPort::check_fault(uint32_t ring) {
  const RingFault fault = backend_.ring(ring).fault();
  RingFds& fds = ring_fds_[ring];
  if (fault == RingFault::kNone || fds.fault_reported) return;
  fds.fault_reported = true;
  ++counters_.ring_faults;
  counters_.last_ring_fault = fault;
  if (fds.error) fds.error->signal();
  spdlog::warn("{}: the guest's driver broke the {} ring: {}; the ring stands still until the driver resets it",
               config_.tap_name, ring == NetBackend::kTransmit ? "transmit" : "receive", to_string(fault));
}

// --- takeover ---

void NicPort::discard_stale() {
  if (guest_ran_) return;
  tap_readable_ = true;
  for (int i = 0; i < kStaleMax && from_uplink(); ++i) ++counters_.stale_discarded;
  uplink_waiting_ = false;
}

bool NicPort::send_announcement() {
  std::vector<LearnedAddress> addresses;
  {
    const std::lock_guard lock(mutex_);
    if (!gate_.open(clock_now())) return false;
    addresses = learner_.addresses();
  }
  for (const EthernetFrame& frame : announcement(config_.mac, addresses))
    if (tap_.write(frame.with_header()) == Tap::Outcome::kRefused) ++counters_.uplink_refused;
  return true;
}

// --- any thread ---

void NicPort::set_epoch(Epoch epoch) {
  const std::lock_guard lock(mutex_);
  epoch_ = epoch;
}

void NicPort::commit(Epoch epoch) {
  const std::lock_guard lock(mutex_);
  gate_.commit(epoch);
}

void NicPort::set_mode(GateMode mode) {
  const std::lock_guard lock(mutex_);
  gate_.set_mode(mode);
}

void NicPort::release_until(Instant end) {
  const std::lock_guard lock(mutex_);
  gate_.release_until(end);
}

void NicPort::drop_gated() {
  const std::lock_guard lock(mutex_);
  gate_.clear();
  drop_stalled_ = true;
}

NicStatus NicPort::status() const {
  const std::lock_guard lock(mutex_);
  return {config_.tap_name, published_, gate_.counters(), gate_.wait(), last_connection_error_};
}

Bytes NicPort::snapshot_addresses() const {
  const std::lock_guard lock(mutex_);
  return learner_.snapshot();
}

Status NicPort::restore_addresses(ByteSpan snapshot) {
  const std::lock_guard lock(mutex_);
  return learner_.restore(snapshot);
}

}  // namespace us
