#include "cli/status_command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <thread>

#include "host/control_server.h"

namespace us {
namespace {

using Json = nlohmann::json;

std::string quantiles(const Json& h) {
  if (h.value("n", 0) == 0) return "-";
  return fmt::format("p50 {:.2f}  p99 {:.2f}  max {:.2f} ms", h.value("p50", 0.0), h.value("p99", 0.0),
                     h.value("max", 0.0));
}

void line(std::string& out, std::string_view label, const std::string& text) {
  out += fmt::format("  {:<14}{}\n", label, text);
}

void describe_primary(std::string& out, const Json& s) {
  line(out, "epoch",
       fmt::format("{} cut ({} early), {} committed; {} ms long, {}", s.value("epoch", 0), s.value("early_cuts", 0),
                   s.value("committed_epoch", 0), s.value("epoch_length_ms", 0.0),
                   s.value("epoch_policy", std::string())));
  line(out, "tcp", s.value("tcp_mode", std::string()));
  line(out, "pause", quantiles(s["pause_ms"]));
  for (const char* part : {"stop", "scan", "copy", "save", "cont"})
    line(out, fmt::format("  {}", part), quantiles(s["pause_parts_ms"][part]));
  line(out, "commit", quantiles(s["commit_ms"]));
  const Json& dirty = s["dirty"];
  line(out, "dirty pages",
       fmt::format("last {}  mean {:.0f}  max {}", dirty.value("pages_last", 0), dirty.value("pages_mean", 0.0),
                   dirty.value("pages_max", 0)));
  line(out, "  found by",
       s.value("dirty_tracker", std::string()) + " (" + s.value("dirty_tracker_reason", std::string()) + ")");
  const Json& gate = s["gate"];
  line(out, "gate",
       fmt::format("{} packets held now, {} at most, {} released", gate.value("packets", 0),
                   gate.value("packets_max", 0), gate.value("released_packets", 0)));
  line(out, "  wait", quantiles(gate["wait_ms"]));
  if (s["standby"].is_object())
    line(out, "standby",
         fmt::format("{}, heartbeat {:.2f} ms, {:.1f} MB sent", s["standby"].value("node", std::string()),
                     s["standby"].value("heartbeat_rtt_ms", 0.0), s["standby"].value("bytes_sent", 0.0) / 1e6));
  if (const Json& last = s["audit"]["last"]; last.is_object())
    line(out, "last audit",
         fmt::format("epoch {}: {} pages compared, {} differ; paused {:.0f} ms; {} audits done",
                     last.value("epoch", 0ull), last.value("pages", 0ull), last.value("differences", 0ull),
                     last.value("pause_ms", 0.0), s["audit"].value("done", 0ull)));
  line(out, "guest clock",
       fmt::format("{:.0f} ms behind through pauses on this host", s.value("guest_clock_lag_ms", 0.0)));
}

void describe_disk(std::string& out, const Json& disk) {
  std::string text = fmt::format("{}, {}", disk.value("storage", std::string()), disk.value("state", std::string()));
  if (const uint64_t bytes = disk.value("unconfirmed_bytes", 0ull); bytes > 0)
    text += fmt::format(", {:.1f} MB not on the standby's side yet", static_cast<double>(bytes) / 1e6);
  for (const char* trouble : {"error", "standby_error", "waits_for"})
    if (disk.contains(trouble)) text += "; " + disk.value(trouble, std::string());
  line(out, disk.value("name", std::string()), text);
}

std::string describe(const Json& s) {
  std::string state = s.value("state", std::string());
  if (s.contains("sync_progress")) state += fmt::format(" {:.0f} %", 100 * s.value("sync_progress", 0.0));
  std::string out =
      fmt::format("{}: {}, {}, generation {}, on {}\n", s.value("name", std::string()), s.value("role", std::string()),
                  state, s.value("generation", 0), s.value("node", std::string()));
  if (const std::string reason = s.value("reason", std::string()); !reason.empty()) line(out, "because", reason);
  if (s.contains("accelerator"))
    line(out, "accelerator",
         s.value("accelerator", std::string()) + " (" + s.value("accelerator_reason", std::string()) + ")");
  if (s.contains("disks"))
    for (const Json& disk : s["disks"]) describe_disk(out, disk);
  if (s.contains("pause_ms")) describe_primary(out, s);
  if (s.value("role", std::string()) == "standby")
    line(out, "received",
         fmt::format("{} epochs, {:.1f} MB from {}", s.value("epochs", 0), s.value("bytes_received", 0.0) / 1e6,
                     s.value("primary", std::string("nobody"))));
  for (const Json& t : s.value("takeovers", Json::array()))
    line(out, "takeover",
         fmt::format("generation {}{}: detection {:.0f}, arbitration {:.0f}, restore {:.0f}, announce {:.0f} ms",
                     t.value("generation", 0), t.value("planned", false) ? " (planned)" : "",
                     t.value("detection_ms", 0.0), t.value("arbitration_ms", 0.0), t.value("restore_ms", 0.0),
                     t.value("announce_ms", 0.0)));
  return out;
}

int show_once(const StatusOptions& options) {
  std::vector<std::string> names = control_names(options.runtime_directory);
  if (!options.name.empty()) names = {options.name};
  if (names.empty()) {
    std::fprintf(stderr, "understudy: no VM of this host has a node in %s\n", options.runtime_directory.c_str());
    return 1;
  }
  int result = 0;
  std::string text;
  for (const std::string& name : names) {
    const auto status = control_request(control_path(options.runtime_directory, name), {{"command", "status"}});
    if (!status) {
      std::fprintf(stderr, "understudy: %s: %s\n", name.c_str(), status.error().message.c_str());
      result = 1;
      continue;
    }
    text += options.json ? status->dump() + "\n" : describe(*status);
  }
  if (options.watch && !options.json && ::isatty(STDOUT_FILENO)) text = "\033[H\033[2J" + text;
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
  return result;
}

std::string describe_flow(const Json& f) {
  const std::string ends = fmt::format("{:<26}{:<26}", f.value("guest", std::string()), f.value("peer", std::string()));
  if (!f.value("relayed", true)) return fmt::format("{}not relayed: {}\n", ends, f.value("why", std::string()));
  std::string row = fmt::format("{}{:<8}{:>12}{:>12}", ends, f.value("state", std::string()),
                                f.value("egress_bytes", 0ull), f.value("ingress_bytes", 0ull));
  if (f.contains("cwnd"))
    row += fmt::format("{:>9.2f}{:>10}{:>12}{:>12}{:>9}", f.value("rtt_ms", 0.0), f.value("cwnd", 0ull),
                       f.value("uncommitted_bytes", 0ull), f.value("undurable_bytes", 0ull),
                       f.value("retransmitted_bytes", 0ull));
  return row + "\n";
}

}  // namespace

int show_flows(const StatusOptions& options) {
  const auto flows = control_request(control_path(options.runtime_directory, options.name), {{"command", "flows"}});
  if (!flows) {
    std::fprintf(stderr, "understudy: %s\n", flows.error().message.c_str());
    return 1;
  }
  if (options.json) {
    std::puts(flows->dump().c_str());
    return 0;
  }
  std::string text =
      fmt::format("{:<26}{:<26}{:<8}{:>12}{:>12}{:>9}{:>10}{:>12}{:>12}{:>9}\n", "GUEST", "PEER", "STATE", "TO PEER",
                  "TO GUEST", "RTT ms", "CWND", "UNCOMMITTED", "UNDURABLE", "RETRANS");
  for (const Json& f : *flows) text += describe_flow(f);
  std::fputs(text.c_str(), stdout);
  return 0;
}

int show_status(const StatusOptions& options) {
  for (;;) {
    const int result = show_once(options);
    if (!options.watch) return result;
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
}

}  // namespace us
