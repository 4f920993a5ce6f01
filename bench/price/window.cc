#include "price/window.h"

#include <algorithm>
#include <cstdlib>

#include "host/control_server.h"
#include "os/clock.h"
#include "price/host_load.h"

namespace us::bench {
namespace {

using nlohmann::json;

Result<json> ask(demo::Cluster& cluster, const char* command) {
  const std::string runtime = (cluster.log_file(0).parent_path() / "runtime").string();
  return control_request(control_path(runtime, demo::kVmName), {{"command", command}});
}

double replicated(const json& status) {
  return status["standby"].is_object() ? status["standby"].value("bytes_sent", 0.0) : 0;
}

}  // namespace

double mean_between(const json& before, const json& after) {
  const double n_before = before.value("n", 0.0), n_after = after.value("n", 0.0);
  if (n_after <= n_before) return 0;
  return (after.value("mean", 0.0) * n_after - before.value("mean", 0.0) * n_before) / (n_after - n_before);
}

double nearest_rank(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1) + 0.5)];
}

Result<Window> Window::begin(demo::Cluster& cluster) {
  US_ASSIGN(Moment moment, look(cluster));
  return Window(std::move(moment));
}

Result<Window::Moment> Window::look(demo::Cluster& cluster) {
  Moment out;
  const demo::Lab& lab = cluster.lab();
  // The shell in the guest takes about as long each time.
  US_ASSIGN(const std::string uptime, cluster.run_in_guest("read up rest </proc/uptime; echo $up"));
  out.guest_asked = clock_now();
  out.guest_uptime_s = std::strtod(uptime.c_str(), nullptr);
  US_ASSIGN(out.status, ask(cluster, "status"));
  out.at = clock_now();
  out.daemon_s = cpu_seconds(lab.host(0), "understudy");
  out.qemu_s = cpu_seconds(lab.host(0), "qemu");
  out.standby_daemon_s = cpu_seconds(lab.host(1), "understudy");
  out.standby_qemu_s = cpu_seconds(lab.host(1), "qemu");
  return out;
}

Result<Window::Spent> Window::end(demo::Cluster& cluster, bool guest_memory) const {
  US_ASSIGN(const Moment now, look(cluster));
  const double length_s = (now.at - begin_.at).to_seconds();
  Spent out;
  const auto add = [&out](const char* name, double value, const char* unit) {
    out.figures.push_back({name, value, unit});
  };
  const auto percent = [length_s](double before, double after) { return 100 * (after - before) / length_s; };
  add("cpu-daemon", percent(begin_.daemon_s, now.daemon_s), "%");
  add("cpu-qemu", percent(begin_.qemu_s, now.qemu_s), "%");
  const double behind_s =
      (now.guest_asked - begin_.guest_asked).to_seconds() - (now.guest_uptime_s - begin_.guest_uptime_s);
  add("clock-lag-guest", 1000 * behind_s / (now.guest_asked - begin_.guest_asked).to_seconds(), "ms/s");
  if (guest_memory) add("memory-primary", memory_mb(cluster.lab().host(0)), "MB");
  if (!cluster.daemon(1)) return out;
  add("cpu-standby-daemon", percent(begin_.standby_daemon_s, now.standby_daemon_s), "%");
  add("cpu-standby-qemu", percent(begin_.standby_qemu_s, now.standby_qemu_s), "%");
  if (guest_memory) add("memory-standby", memory_mb(cluster.lab().host(1)), "MB");
  const json &before = begin_.status, &after = now.status;
  out.replicated_bytes = replicated(after) - replicated(before);
  add("replication", out.replicated_bytes * 8 / length_s / 1e6, "Mbit/s");
  const double lag_ms = after.value("guest_clock_lag_ms", 0.0) - before.value("guest_clock_lag_ms", 0.0);
  add("clock-lag", lag_ms / length_s, "ms/s");
  add("paused", lag_ms / length_s / 10, "%");
  const double epochs = after.value("epochs", 0.0) - before.value("epochs", 0.0);
  add("epochs", epochs / length_s, "1/s");
  const double pages = after["dirty"].value("pages_total", 0.0) - before["dirty"].value("pages_total", 0.0);
  add("dirty-pages", epochs > 0 ? pages / epochs : 0, "pages");
  add("device-state", after.value("device_state_bytes", 0.0), "bytes");
  add("pause", mean_between(before["pause_ms"], after["pause_ms"]), "ms");
  for (const char* part : {"stop", "scan", "copy", "save", "cont"})
    add((std::string("pause-") + part).c_str(),
        mean_between(before["pause_parts_ms"][part], after["pause_parts_ms"][part]), "ms");
  add("commit", mean_between(before["commit_ms"], after["commit_ms"]), "ms");
  add_epochs(cluster, now.at, out);
  for (const auto& [name, values] :
       {std::pair<std::string, const std::vector<double>&>{"pause", out.pauses_ms}, {"commit", out.commits_ms}}) {
    if (values.empty()) continue;
    out.figures.push_back({name + "-p50", nearest_rank(values, 0.5), "ms"});
    out.figures.push_back({name + "-p99", nearest_rank(values, 0.99), "ms"});
    out.figures.push_back({name + "-max", nearest_rank(values, 1), "ms"});
  }
  return out;
}

void Window::add_epochs(demo::Cluster& cluster, Instant until, Spent& out) const {
  const auto list = ask(cluster, "epochs");
  if (!list || !list->is_array()) return;
  for (const json& epoch : *list) {
    if (!epoch["resumed_ns"].is_number() || !epoch["committed_ns"].is_number()) continue;
    const int64_t stopped = epoch.value("stopped_ns", int64_t{0});
    if (stopped < begin_.at.to_nanos() || stopped >= until.to_nanos()) continue;
    out.pauses_ms.push_back(static_cast<double>(epoch["resumed_ns"].get<int64_t>() - stopped) / 1e6);
    out.commits_ms.push_back(static_cast<double>(epoch["committed_ns"].get<int64_t>() - stopped) / 1e6);
  }
}

}  // namespace us::bench
