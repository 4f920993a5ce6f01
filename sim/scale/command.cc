#include "sim/scale/command.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/scale/many_guests.h"
#include "sim/scale/one_flow.h"

namespace us::sim::scale {
namespace {

using bench::Key;
using bench::Results;

struct Profile {
  const char* name;
  double requests, mbit, pages, working_set;
};

// What the guests do.  `web`: short answers.  `bulk`: a gigabit of traffic.  `memory`: writes much, says little.
constexpr Profile kProfiles[] = {{"idle", 0, 0, 0, 4096},
                                 {"web", 100, 50, 2000, 16384},
                                 {"bulk", 10, 1000, 2000, 16384},
                                 {"memory", 10, 10, 40000, 65536}};

double quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1) + 0.5)];
}

void flow(const Parameters& costs, const FlowLoad& load, const char* what, Results& results) {
  const FlowResult r = run_flow(costs, load);
  Key key;
  key.scenario = "scale-flow";
  key.params = fmt::format("vary={};line={:g};replication={:g};buffer={:g}M", what, load.gbit, load.replication_gbit,
                           load.buffer_mb);
  key.mode = load.is_protected ? "accelerated" : "unprotected";
  if (load.is_protected) key.epoch = fmt::format("{:g}", load.epoch_ms);
  key.direction = "guest-to-client";
  key.rtt_ms = load.rtt_ms;
  results.row(key, "throughput", r.gbit * 1000, "Mbit/s");
  results.row(key, "buffer", r.buffer_mb, "MB");
  results.row(key, "log-backlog", r.log_backlog_mb, "MB");
  results.row(key, "core", r.core_share * 100, "%");
  results.row(key, "replication-link", r.replication_share * 100, "%");
  results.row(key, "paused", r.pause_share * 100, "%");
  results.row(key, "epochs", r.epochs_per_second, "1/s");
  results.row(key, "commit", r.commit_ms, "ms");
  fmt::print(
      "flow {} {} {}: {:.1f} Gbit/s, buffer {:.0f} MB, core {:.0f} %, link {:.0f} %, {:.0f} epochs/s, paused "
      "{:.1f} %, commit {:.2f} ms\n",
      key.params, key.mode, key.epoch, r.gbit, r.buffer_mb, r.core_share * 100, r.replication_share * 100,
      r.epochs_per_second, r.pause_share * 100, r.commit_ms);
}

void flows(const Parameters& costs, bool quick, Results& results) {
  for (const double gbit : {10.0, 40.0, 100.0}) {
    FlowLoad load;
    load.gbit = gbit;
    load.replication_gbit = gbit * 1.25;
    load.seconds = quick ? 0.1 : 0.25;
    load.is_protected = false;
    load.buffer_mb = 256;
    flow(costs, load, "line", results);
    load.is_protected = true;
    for (const double buffer_mb : {8.0, 32.0, 128.0, 512.0}) {
      load.buffer_mb = buffer_mb;
      flow(costs, load, "line", results);
    }
    // A replication link that is no faster than the line, or that is 10 Gbit/s.
    load.replication_gbit = gbit;
    flow(costs, load, "replication", results);
    if (gbit > 10) {
      load.replication_gbit = 10;
      flow(costs, load, "replication", results);
    }
    load.replication_gbit = gbit * 1.25;
    if (quick) continue;
    for (const double epoch_ms : {10.0, 50.0, 100.0}) {
      load.epoch_ms = epoch_ms;
      load.seconds = 0.4;
      flow(costs, load, "epoch", results);
    }
  }
}

void host(const Parameters& costs, const Load& load, const Profile& profile, Results& results) {
  const HostResult r = run_host(costs, load);
  Key key;
  key.scenario = "scale-host";
  key.params = fmt::format("profile={};guests={};replication={:g};cores={}", profile.name, load.guests, load.link_gbit,
                           load.cores);
  key.mode = "accelerated";
  key.epoch = fmt::format("{:g}", load.epoch_ms);
  results.row(key, "commit-p50", quantile(r.commit_ms, 0.5), "ms");
  results.row(key, "commit-p99", quantile(r.commit_ms, 0.99), "ms");
  if (!r.hold_ms.empty()) {
    results.row(key, "hold-p50", quantile(r.hold_ms, 0.5), "ms");
    results.row(key, "hold-p99", quantile(r.hold_ms, 0.99), "ms");
  }
  results.row(key, "paused", r.pause_share * 100, "%");
  results.row(key, "epochs", r.epochs_per_second, "1/s");
  results.row(key, "replication-link", r.link_share * 100, "%");
  results.row(key, "cores-busy", r.core_share * 100, "%");
  results.row(key, "waiting", r.waiting_mb, "MB");
  results.row(key, "overloaded", r.overloaded ? 1 : 0, "1");
  fmt::print(
      "host {}: commit {:.2f} / {:.2f} ms, answers held {:.2f} / {:.2f} ms, paused {:.1f} %, {:.0f} epochs/s, link "
      "{:.0f} %, cores {:.0f} %, waiting {:.1f} MB{}\n",
      key.params, quantile(r.commit_ms, 0.5), quantile(r.commit_ms, 0.99), quantile(r.hold_ms, 0.5),
      quantile(r.hold_ms, 0.99), r.pause_share * 100, r.epochs_per_second, r.link_share * 100, r.core_share * 100,
      r.waiting_mb, r.overloaded ? " OVERLOADED" : "");
}

void hosts(const Parameters& costs, bool quick, Results& results) {
  for (const Profile& profile : kProfiles)
    for (const double link_gbit : {10.0, 40.0, 100.0})
      for (const int guests : {1, 2, 5, 10, 20, 35, 50, 75, 100}) {
        if (quick && guests != 1 && guests != 10 && guests != 100) continue;
        Load load;
        load.guests = guests;
        load.cores = 16;
        load.link_gbit = link_gbit;
        load.requests = profile.requests;
        load.mbit = profile.mbit;
        load.pages = profile.pages;
        load.working_set = profile.working_set;
        load.seconds = quick ? 1 : 3;
        host(costs, load, profile, results);
      }
}

}  // namespace

void run_all(const Parameters& costs, bool quick, Results& results) {
  flows(costs, quick, results);
  hosts(costs, quick, results);
}

}  // namespace us::sim::scale
