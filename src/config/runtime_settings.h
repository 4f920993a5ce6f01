// RuntimeSettings: what of a VM can be changed while it runs, in the VM file ([epoch], [tcp], [audit]) or with
// `understudy set`.
//
//   epoch.length          1ms..1s                 how long an epoch lasts at most (policy fixed)
//   epoch.policy          fixed | adaptive        adaptive: from the pauses, the latency target and the pause budget
//   epoch.latency_target  1ms..1s                 adaptive: the longest an output should wait for its cut
//   epoch.pause_budget    1..90 (percent)         share of time that early cuts may cost
//   audit.every           0..1000000000           audit every so many epochs; 0: only when asked for
//   tcp.mode              a name from the table below: sets all the switches
//   tcp.ack_guest … tcp.offload   true | false    one switch
//
//   mode            relay  ack_guest  ack_peer  recovery  offload  cut_on_output
//   buffered          -        -          -         -        -           -        plain output commit
//   ack-guest         x        x          -         -        -           -
//   ack-peer          x        -          x         -        -           -
//   recovery          x        -          -         x        -           -
//   offload           x        -          -         -        x           -
//   cut-on-output     -        -          -         -        -           x
//   accelerated       x        x          x         x        x           x
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace us {

enum class EpochKind { kFixed, kAdaptive };

struct TcpSettings {
  bool relay = false;
  bool ack_guest = false;
  bool ack_peer = false;
  bool recovery = false;
  bool offload = false;
  bool cut_on_output = false;
  bool operator==(const TcpSettings&) const = default;
};

inline constexpr int64_t kAuditEveryMax = 1'000'000'000;

struct RuntimeSettings {
  EpochKind epoch_kind = EpochKind::kFixed;
  Duration epoch_length = Duration::millis(25);
  Duration latency_target = Duration::millis(20);
  int pause_budget_percent = 50;
  uint64_t audit_every = 0;                             // epochs; 0: never by itself
  TcpSettings tcp{true, true, true, true, true, true};  // accelerated
  bool operator==(const RuntimeSettings&) const = default;
};

// The modes' names, in the order of the table above.
const std::vector<std::string_view>& tcp_mode_names();
// False: no such mode.
bool apply_tcp_mode(std::string_view mode, TcpSettings& settings);
// The mode whose switches these are, or "custom".
std::string_view tcp_mode_name(const TcpSettings& settings);

// "tcp.mode=accelerated", "epoch.length=50ms".  Errors (kInput) say what would be accepted; nothing is changed then.
Status apply_setting(std::string_view assignment, RuntimeSettings& settings);

}  // namespace us
