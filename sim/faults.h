// Faults: what can go wrong or be asked for, and how it is done to a lab.
#pragma once

#include <optional>
#include <string_view>

#include "sim/lab.h"

namespace us::sim {

enum class FaultKind : uint8_t {
  kKillPrimary,  // SIGKILL: the kernel closes the sockets
  kKillStandby,
  kPowerOffPrimary,  // the sockets just vanish
  kPowerOffStandby,
  kFreezePrimary,  // for a while, clocks go on
  kFreezeStandby,
  kFreezeBoth,
  kCutAll,  // nothing passes between the hosts, nobody is told
  kCutFromPrimary,
  kCutFromStandby,
  kCutStreams,
  kCutDatagrams,
  kResetStreams,
  kCutPrimaryOff,  // from the standby, the arbiter and the clients
  kCutStandbyOff,
  kArbiterGone,
  kArbiterGoneForPrimary,
  kArbiterGoneForStandby,
  kQemuFails,
  kStandbyStops,  // by its operator
  kSwitchover,
  kGuestShutsDown,
  // Only in random runs: they matter together with others.
  kDatagramsLost,
  kDatagramsLate,
  kLinkSlow,
  kArbiterHangs,
  kArbiterLosesAnswers,
  kArbiterRecordsLate,
  kArbiterSlow,
  kRestoreFails,
  kDiskSlowPrimary,
  kDiskSlowStandby,
  kDiskFailsPrimary,
  kDiskFailsStandby,
  kPowerOffBoth,
  kCount,
};
inline constexpr auto kExhaustiveFaults = static_cast<size_t>(FaultKind::kDatagramsLost);
inline constexpr auto kFaults = static_cast<size_t>(FaultKind::kCount);

std::string_view to_string(FaultKind kind);
std::optional<FaultKind> fault_from(std::string_view name);

// Does it to the lab now.  What lasts is over after `length`; a host that went down is started again as a standby then.
void strike(Lab& lab, FaultKind kind, Duration length);
// Every fault is over, and every host is up.
void calm(Lab& lab);

}  // namespace us::sim
