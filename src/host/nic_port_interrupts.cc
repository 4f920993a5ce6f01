// Interrupts and kicks: who tells whom to look at a ring, and when.
//
// Interrupts are dear, above all to a guest under TCG, so they are moderated.  What was used is published at once, the
// interrupt for it may come a little later, and is left out if the driver has looked meanwhile.  Receive: at once after
// a pause, but no two within kReceiveInterruptGap.  Transmit: after kTransmitInterruptDelay, because all it says is
// that buffers are free again, which a driver mostly finds out by itself (when it next sends or receives).  When a
// ring stops, the interrupts it owes are sent first.
//
// Second looks.  Each side writes its index, then reads where the other wants to be told, with a full fence between the
// two (virtio 1.2, 2.7.7.1 and 2.7.10.1).  A guest with one processor under TCG may have no such fence: QEMU 7.2
// leaves barriers out for it (tcg_gen_mb() in tcg/tcg-op.c; later versions say there why they no longer do).  Then the
// host's processor may delay the guest's write beyond its read, both sides miss each other, and the ring stands still
// for good.  Seen once, under full load: work in the ring, behind our avail_event, and no kick.  A store buffer does not
// hold a write for long.  So whenever we begin to wait for a kick, or leave an interrupt out, we look once more
// kSecondLook later.
#include "host/nic_port.h"
#include "os/clock.h"

namespace us {
namespace {

constexpr Duration kReceiveInterruptGap = Duration::micros(80);
constexpr Duration kTransmitInterruptDelay = Duration::micros(250);
constexpr Duration kSecondLook = Duration::millis(1);
constexpr Duration kStoreVisible = Duration::micros(100);  // far longer than a store buffer holds anything

}  // namespace

std::optional<Instant> NicPort::next_deadline() const {
  std::optional<Instant> next;
  for (uint32_t ring = 0; ring < NetBackend::kRings; ++ring)
    for (const std::optional<Instant>& due : {interrupt_due_[ring], second_looks_[ring].due})
      if (due && (!next || *due < *next)) next = due;
  return next;
}

void NicPort::plan_interrupt(uint32_t ring) {
  if (interrupt_due_[ring]) return;
  interrupt_due_[ring] =
      ring == NetBackend::kTransmit ? clock_now() + kTransmitInterruptDelay : interrupted_[ring] + kReceiveInterruptGap;
}

void NicPort::settle_due_interrupts() {
  if (!interrupt_due_[NetBackend::kReceive] && !interrupt_due_[NetBackend::kTransmit]) return;
  const Instant now = clock_now();
  for (uint32_t ring = 0; ring < NetBackend::kRings; ++ring)
    if (interrupt_due_[ring] && *interrupt_due_[ring] <= now) settle_interrupt(ring);
}

void NicPort::settle_interrupt(uint32_t ring) {
  interrupt_due_[ring].reset();
  const uint16_t before = backend_.ring(ring).signalled();
  if (backend_.ring(ring).wants_interrupt()) return interrupt(ring);
  if (backend_.ring(ring).signalled() == before) return;  // there was nothing to decide
  second_looks_[ring].left_out = true;
  plan_second_look(ring);
}

void NicPort::interrupt(uint32_t ring) {
  if (!ring_fds_[ring].call) return;
  interrupted_[ring] = clock_now();
  second_looks_[ring].left_out = false;
  ++counters_.interrupts;
  ring_fds_[ring].call->signal();
}

void NicPort::plan_second_look(uint32_t ring) {
  SecondLook& look = second_looks_[ring];
  look.decided = clock_now();
  if (!look.due) look.due = look.decided + kSecondLook;
}

bool NicPort::take_second_looks() {
  bool more = false;
  for (uint32_t ring = 0; ring < NetBackend::kRings; ++ring)
    if (const auto& due = second_looks_[ring].due; due && *due <= clock_now()) more |= look_again(ring);
  return more;
}

// True: the ring has work that nobody has told us of.
bool NicPort::look_again(uint32_t ring) {
  SecondLook& look = second_looks_[ring];
  const Instant now = clock_now();
  look.due.reset();
  if (now < look.decided + kStoreVisible) look.due = now + kSecondLook;
  if (look.left_out && backend_.ring(ring).may_have_missed_interrupt()) {
    ++counters_.missed_interrupts;
    interrupt(ring);
  }
  if (!look.due) look.left_out = false;
  bool& ready = ring == NetBackend::kTransmit ? transmit_ready_ : receive_ready_;
  if (ready || !backend_.active(ring) || !backend_.ring(ring).has_unseen()) return false;
  ++counters_.missed_kicks;
  ready = true;
  return true;
}

}  // namespace us
