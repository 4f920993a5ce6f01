#include "sim/faults.h"

#include <array>

#include "sim/host.h"
#include "sim/judge.h"

namespace us::sim {
namespace {

constexpr std::array<std::string_view, kFaults> kNames = {"kill-primary",
                                                          "kill-standby",
                                                          "power-off-primary",
                                                          "power-off-standby",
                                                          "freeze-primary",
                                                          "freeze-standby",
                                                          "freeze-both",
                                                          "cut-all",
                                                          "cut-from-primary",
                                                          "cut-from-standby",
                                                          "cut-streams",
                                                          "cut-datagrams",
                                                          "reset-streams",
                                                          "cut-primary-off",
                                                          "cut-standby-off",
                                                          "arbiter-gone",
                                                          "arbiter-gone-primary",
                                                          "arbiter-gone-standby",
                                                          "qemu-fails",
                                                          "standby-stops",
                                                          "switchover",
                                                          "guest-shuts-down",
                                                          "datagrams-lost",
                                                          "datagrams-late",
                                                          "link-slow",
                                                          "arbiter-hangs",
                                                          "arbiter-loses-answers",
                                                          "arbiter-records-late",
                                                          "arbiter-slow",
                                                          "restore-fails",
                                                          "disk-slow-primary",
                                                          "disk-slow-standby",
                                                          "disk-fails-primary",
                                                          "disk-fails-standby",
                                                          "power-off-both"};

// The host that has the role; without one, host A or B.
HostId primary_of(Lab& lab) {
  for (HostId id : kHosts)
    if (lab.host(id).primary() != nullptr) return id;
  return HostId::kA;
}

void restart_later(Lab& lab, HostId id, Duration after) {
  lab.world.after(after, "restart", [&lab, id] {
    if (!lab.host(id).up() && !lab.judge->ended()) lab.host(id).stand_by();
  });
}

void crash(Lab& lab, HostId id, bool power, Duration down) {
  if (!lab.host(id).up()) return;
  lab.host(id).crash(power);
  restart_later(lab, id, down);
}

void cut(Lab& lab, bool from_primary, bool from_standby, bool streams, bool datagrams, Duration length) {
  const HostId primary = primary_of(lab);
  if (from_primary) lab.network.cut(primary, streams, datagrams);
  if (from_standby) lab.network.cut(other(primary), streams, datagrams);
  lab.world.after(length, "mend", [&lab] { lab.network.mend(); });
}

// Applies `change` to the arbiter as seen by both hosts or one, for a while.
template <typename F>
void arbiter_fault(Lab& lab, bool for_primary, bool for_standby, Duration length, F&& change) {
  const HostId primary = primary_of(lab);
  if (for_primary) change(lab.arbiter.access(primary));
  if (for_standby) change(lab.arbiter.access(other(primary)));
  lab.world.after(length, "arbiter mends", [&lab] { lab.arbiter.mend(); });
}

void cut_off(Lab& lab, bool the_primary, Duration length) {
  const HostId id = the_primary ? primary_of(lab) : other(primary_of(lab));
  lab.data_cut[index_of(id)] = true;
  lab.world.after(length, "data network mends", [&lab, id] { lab.data_cut[index_of(id)] = false; });
  cut(lab, true, true, true, true, length);
  arbiter_fault(lab, the_primary, !the_primary, length, [](SimArbiter::Access& a) { a.reachable = false; });
}

void datagrams(Lab& lab, double loss, double late, Duration length) {
  for (HostId id : kHosts) {
    lab.network.path(id).loss = loss;
    lab.network.path(id).late = late;
    lab.network.path(id).doubled = late;
  }
  lab.world.after(length, "datagrams mend", [&lab] {
    for (HostId id : kHosts) lab.network.path(id).loss = lab.network.path(id).late = lab.network.path(id).doubled = 0;
  });
}

void slow_link(Lab& lab, Duration length) {
  for (HostId id : kHosts) lab.network.path(id).delay_high = Duration::millis(40);
  lab.world.after(length, "link mends", [&lab] {
    for (HostId id : kHosts) lab.network.path(id).delay_high = Network::Path{}.delay_high;
  });
}

void slow_disk(Lab& lab, HostId id, Duration length) {
  lab.host(id).disk_slow = Duration::millis(8);
  lab.world.after(length, "disk mends", [&lab, id] { lab.host(id).disk_slow = {}; });
}

void failing_disk(Lab& lab, HostId id, Duration length) {
  lab.host(id).files().set_failures(lab.world.rng().chance(0.3) ? 1 : 0.2);
  lab.world.after(length, "disk mends", [&lab, id] { lab.host(id).files().set_failures(0); });
}

// What is asked of a node that runs.
template <typename F>
void ask_primary(Lab& lab, const char* what, F&& request) {
  const HostId id = primary_of(lab);
  lab.host(id).post(Duration{}, what, [&lab, id, request] {
    if (PrimaryNode* primary = lab.host(id).primary()) request(*primary);
  });
}

}  // namespace

std::string_view to_string(FaultKind kind) { return kNames[static_cast<size_t>(kind)]; }

std::optional<FaultKind> fault_from(std::string_view name) {
  for (size_t i = 0; i < kFaults; ++i)
    if (kNames[i] == name) return static_cast<FaultKind>(i);
  return std::nullopt;
}

void strike(Lab& lab, FaultKind kind, Duration length) {
  const HostId primary = primary_of(lab), standby = other(primary);
  lab.world.note(HostId::kNone, kNames[static_cast<size_t>(kind)].data(), static_cast<uint64_t>(length.to_millis()));
  switch (kind) {
    case FaultKind::kKillPrimary:
      return crash(lab, primary, false, length);
    case FaultKind::kKillStandby:
      return crash(lab, standby, false, length);
    case FaultKind::kPowerOffPrimary:
      return crash(lab, primary, true, length);
    case FaultKind::kPowerOffStandby:
      return crash(lab, standby, true, length);
    case FaultKind::kFreezePrimary:
      return lab.world.freeze(primary, length);
    case FaultKind::kFreezeStandby:
      return lab.world.freeze(standby, length);
    case FaultKind::kFreezeBoth:
      lab.world.freeze(primary, length);
      return lab.world.freeze(standby, length);
    case FaultKind::kCutAll:
      return cut(lab, true, true, true, true, length);
    case FaultKind::kCutFromPrimary:
      return cut(lab, true, false, true, true, length);
    case FaultKind::kCutFromStandby:
      return cut(lab, false, true, true, true, length);
    case FaultKind::kCutStreams:
      return cut(lab, true, true, true, false, length);
    case FaultKind::kCutDatagrams:
      return cut(lab, true, true, false, true, length);
    case FaultKind::kResetStreams:
      return lab.network.reset_all();
    case FaultKind::kCutPrimaryOff:
      return cut_off(lab, true, length);
    case FaultKind::kCutStandbyOff:
      return cut_off(lab, false, length);
    case FaultKind::kArbiterGone:
      return arbiter_fault(lab, true, true, length, [](SimArbiter::Access& a) { a.reachable = false; });
    case FaultKind::kArbiterGoneForPrimary:
      return arbiter_fault(lab, true, false, length, [](SimArbiter::Access& a) { a.reachable = false; });
    case FaultKind::kArbiterGoneForStandby:
      return arbiter_fault(lab, false, true, length, [](SimArbiter::Access& a) { a.reachable = false; });
    case FaultKind::kQemuFails:
      ask_primary(lab, "QEMU fails", [](PrimaryNode& node) { node.on_qemu_failure(); });
      return restart_later(lab, primary, length + Duration::millis(300));
    case FaultKind::kStandbyStops:
      lab.host(standby).post(Duration{}, "stop", [&lab, standby] {
        if (StandbyNode* node = lab.host(standby).standby()) node->on_stopped();
      });
      return restart_later(lab, standby, length);
    case FaultKind::kSwitchover:
      return ask_primary(lab, "switchover", [](PrimaryNode& node) { node.on_switchover(); });
    case FaultKind::kGuestShutsDown:
      return ask_primary(lab, "guest shuts down", [](PrimaryNode& node) { node.on_guest_shutdown(); });
    case FaultKind::kDatagramsLost:
      return datagrams(lab, 0.5, 0, length);
    case FaultKind::kDatagramsLate:
      return datagrams(lab, 0.1, 0.4, length);
    case FaultKind::kLinkSlow:
      return slow_link(lab, length);
    case FaultKind::kArbiterHangs:
      return arbiter_fault(lab, true, true, length, [](SimArbiter::Access& a) {
        a.reachable = false;
        a.hangs = true;
      });
    case FaultKind::kArbiterLosesAnswers:
      return arbiter_fault(lab, true, true, length, [](SimArbiter::Access& a) { a.answer_lost = 0.7; });
    case FaultKind::kArbiterRecordsLate:
      return arbiter_fault(lab, true, true, length, [](SimArbiter::Access& a) { a.recorded_late = 0.7; });
    case FaultKind::kArbiterSlow:
      return arbiter_fault(lab, true, true, length,
                           [](SimArbiter::Access& a) { a.delay_high = Duration::millis(600); });
    case FaultKind::kRestoreFails:
      lab.restore_fails[index_of(standby)] = true;
      return;
    case FaultKind::kDiskSlowPrimary:
      return slow_disk(lab, primary, length);
    case FaultKind::kDiskSlowStandby:
      return slow_disk(lab, standby, length);
    case FaultKind::kDiskFailsPrimary:
      return failing_disk(lab, primary, length);
    case FaultKind::kDiskFailsStandby:
      return failing_disk(lab, standby, length);
    case FaultKind::kPowerOffBoth:
      crash(lab, primary, true, length);
      return crash(lab, standby, true, length);
    case FaultKind::kCount:
      return;
  }
}

void calm(Lab& lab) {
  lab.world.note(HostId::kNone, "faults stop");
  lab.network.mend();
  lab.arbiter.mend();
  lab.restore_fails = {};
  lab.data_cut = {};
  for (HostId id : kHosts) {
    lab.network.path(id) = Network::Path{};
    lab.host(id).disk_slow = {};
    lab.host(id).files().set_failures(0);
    lab.world.thaw(id);
    if (!lab.host(id).up() && !lab.judge->ended()) lab.host(id).stand_by();
  }
}

}  // namespace us::sim
