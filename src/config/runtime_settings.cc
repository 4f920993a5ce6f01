#include "config/runtime_settings.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <optional>

#include "config/units.h"

namespace us {
namespace {

struct Mode {
  std::string_view name;
  TcpSettings settings;
};

constexpr std::array<Mode, 7> kModes = {{
    {"buffered", {}},
    {"ack-guest", {.relay = true, .ack_guest = true}},
    {"ack-peer", {.relay = true, .ack_peer = true}},
    {"recovery", {.relay = true, .recovery = true}},
    {"offload", {.relay = true, .offload = true}},
    {"cut-on-output", {.cut_on_output = true}},
    {"accelerated", {true, true, true, true, true, true}},
}};

struct Switch {
  std::string_view key;
  bool TcpSettings::*member;
};

constexpr std::array<Switch, 6> kSwitches = {{
    {"tcp.relay", &TcpSettings::relay},
    {"tcp.ack_guest", &TcpSettings::ack_guest},
    {"tcp.ack_peer", &TcpSettings::ack_peer},
    {"tcp.recovery", &TcpSettings::recovery},
    {"tcp.offload", &TcpSettings::offload},
    {"tcp.cut_on_output", &TcpSettings::cut_on_output},
}};

std::string mode_list() {
  std::string list;
  for (const Mode& mode : kModes) list += (list.empty() ? "" : ", ") + std::string(mode.name);
  return list;
}

std::optional<bool> parse_switch(std::string_view value) {
  if (value == "true" || value == "on") return true;
  if (value == "false" || value == "off") return false;
  return std::nullopt;
}

Status set_duration(std::string_view key, std::string_view value, Duration& out) {
  const auto parsed = config::parse_duration(value);
  if (!parsed || *parsed < Duration::millis(1) || *parsed > Duration::seconds(1))
    return fail(ErrorKind::kInput, fmt::format("{}: \"{}\" is not a duration from 1ms to 1s", key, value));
  out = *parsed;
  return {};
}

Status set_audit_every(std::string_view value, RuntimeSettings& settings) {
  int64_t every = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), every);
  if (error != std::errc{} || end != value.data() + value.size() || every < 0 || every > kAuditEveryMax)
    return fail(ErrorKind::kInput,
                fmt::format("audit.every: \"{}\" is not a number of epochs from 0 to {}", value, kAuditEveryMax));
  settings.audit_every = static_cast<uint64_t>(every);
  return {};
}

Status set_epoch(std::string_view key, std::string_view value, RuntimeSettings& settings) {
  if (key == "epoch.length") return set_duration(key, value, settings.epoch_length);
  if (key == "epoch.latency_target") return set_duration(key, value, settings.latency_target);
  if (key == "epoch.policy") {
    if (value != "fixed" && value != "adaptive")
      return fail(ErrorKind::kInput, fmt::format("epoch.policy: \"{}\" is not fixed or adaptive", value));
    settings.epoch_kind = value == "fixed" ? EpochKind::kFixed : EpochKind::kAdaptive;
    return {};
  }
  int percent = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), percent);
  if (error != std::errc{} || end != value.data() + value.size() || percent < 1 || percent > 90)
    return fail(ErrorKind::kInput, fmt::format("epoch.pause_budget: \"{}\" is not a percentage from 1 to 90", value));
  settings.pause_budget_percent = percent;
  return {};
}

}  // namespace

const std::vector<std::string_view>& tcp_mode_names() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> list;
    for (const Mode& mode : kModes) list.push_back(mode.name);
    return list;
  }();
  return names;
}

bool apply_tcp_mode(std::string_view mode, TcpSettings& settings) {
  for (const Mode& known : kModes) {
    if (known.name != mode) continue;
    settings = known.settings;
    return true;
  }
  return false;
}

std::string_view tcp_mode_name(const TcpSettings& settings) {
  for (const Mode& mode : kModes)
    if (mode.settings == settings) return mode.name;
  return "custom";
}

Status apply_setting(std::string_view assignment, RuntimeSettings& settings) {
  const size_t equals = assignment.find('=');
  if (equals == std::string_view::npos)
    return fail(ErrorKind::kInput, fmt::format("\"{}\": write KEY=VALUE, as in tcp.mode=accelerated", assignment));
  const std::string_view key = assignment.substr(0, equals), value = assignment.substr(equals + 1);
  if (key == "tcp.mode") {
    if (apply_tcp_mode(value, settings.tcp)) return {};
    return fail(ErrorKind::kInput, fmt::format("tcp.mode: \"{}\" is not one of {}", value, mode_list()));
  }
  for (const Switch& known : kSwitches) {
    if (known.key != key) continue;
    const std::optional<bool> on = parse_switch(value);
    if (!on) return fail(ErrorKind::kInput, fmt::format("{}: \"{}\" is not true or false", key, value));
    settings.tcp.*known.member = *on;
    return {};
  }
  if (key == "epoch.length" || key == "epoch.latency_target" || key == "epoch.policy" || key == "epoch.pause_budget")
    return set_epoch(key, value, settings);
  if (key == "audit.every") return set_audit_every(value, settings);
  return fail(
      ErrorKind::kInput,
      fmt::format(
          "\"{}\" cannot be changed while the VM runs; these can: epoch.length, epoch.policy, "
          "epoch.latency_target, epoch.pause_budget, audit.every, tcp.mode, tcp.relay, tcp.ack_guest, tcp.ack_peer, "
          "tcp.recovery, tcp.offload, tcp.cut_on_output",
          key));
}

}  // namespace us
