#include "tcp/measure.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "os/clock.h"
#include "tcp/load.h"

namespace us::bench {
namespace {

using nlohmann::json;

constexpr int kFetches = 30;
constexpr Duration kFetchLimit = Duration::seconds(5);
constexpr int kRequests = 500;
constexpr Duration kRequestLimit = Duration::seconds(4);
constexpr int kIdleFlows = 10'000;
constexpr uint16_t kIdlePort = 6380;
constexpr useconds_t kIdleWatchUs = 5'000'000;

double quantile(std::vector<Duration> times, double share) {
  std::sort(times.begin(), times.end());
  const auto at = static_cast<size_t>(share * static_cast<double>(times.size() - 1) + 0.5);
  return times[at].to_millis_f();
}

// Of the epochs between two status reports, from histograms that hold everything since the start.
struct EpochCosts {
  double pause_ms = 0;
  double commit_ms = 0;  // from the cut to the standby's acknowledgement
  double pause_sum_ms = 0;
};

double mean_between(const json& before, const json& after, double* sum = nullptr) {
  const auto total = [](const json& h) { return h.value("n", 0.0) * h.value("mean", 0.0); };
  const double n = after.value("n", 0.0) - before.value("n", 0.0);
  const double difference = total(after) - total(before);
  if (sum != nullptr) *sum = difference;
  return n <= 0 ? 0 : difference / n;
}

EpochCosts costs_between(const json& before, const json& after) {
  EpochCosts costs;
  costs.pause_ms = mean_between(before["pause_ms"], after["pause_ms"], &costs.pause_sum_ms);
  costs.commit_ms = mean_between(before["commit_ms"], after["commit_ms"]);
  return costs;
}

void add_costs(std::vector<Quantity>& out, const json& before, const json& after) {
  if (!before.is_object() || before.value("state", "") != "protected") return;
  const EpochCosts costs = costs_between(before, after);
  out.push_back({"-pause", "ms", costs.pause_ms});
  out.push_back({"-commit", "ms", costs.commit_ms});
}

Result<std::vector<Quantity>> bulk(Systems& systems, const Client& client, const Load& load) {
  US_ASSIGN(const json before, systems.status());
  const Instant begin = clock_now();
  US_ASSIGN(const double rate,
            measure_bulk(client, load.direction == Direction::kFromGuest, load.flows, load.skip_s, load.length_s));
  std::vector<Quantity> out = {{"", "Mbit/s", rate / 1e6}};
  US_ASSIGN(const json after, systems.status());
  if (before.is_object() && before.value("state", "") == "protected" && !load.wire) {
    const double elapsed_ms = (clock_now() - begin).to_millis_f();
    out.push_back({"-paused", "% of the time", costs_between(before, after).pause_sum_ms / elapsed_ms * 100});
  }
  return out;
}

Result<std::vector<Quantity>> fetches(Systems& systems, const Client& client, size_t bytes) {
  US_ASSIGN(const json before, systems.status());
  US_ASSIGN(const std::vector<Duration> times, measure_fetches(client, bytes, kFetches, kFetchLimit));
  US_ASSIGN(const json after, systems.status());
  std::vector<Quantity> out = {{"", "ms", quantile(times, 0.5)}};
  add_costs(out, before, after);
  return out;
}

Result<std::vector<Quantity>> requests(Systems& systems, const Client& client) {
  US_ASSIGN(const json before, systems.status());
  US_ASSIGN(const std::vector<Duration> times, measure_requests(client, kRequests, kRequestLimit));
  US_ASSIGN(const json after, systems.status());
  std::vector<Quantity> out = {{"-p50", "ms", quantile(times, 0.5)}, {"-p99", "ms", quantile(times, 0.99)}};
  add_costs(out, before, after);
  return out;
}

Result<double> mean_pause(Systems& systems) {
  US_ASSIGN(const json before, systems.status());
  ::usleep(kIdleWatchUs);
  US_ASSIGN(const json after, systems.status());
  return costs_between(before, after).pause_ms;
}

// The second redis of the guest takes more connections than init's limits allow the first.
Result<std::vector<Quantity>> idle_flows(Systems& systems, const Client& client) {
  US_TRY(systems.run_in_guest(
      fmt::format("ulimit -n 20000; redis-server --port {} --maxclients 15000 --save '' --protected-mode no "
                  "--tcp-backlog 511 --daemonize yes --logfile /dev/null; sleep 1",
                  kIdlePort)));
  US_ASSIGN(const double without, mean_pause(systems));
  US_ASSIGN(const auto flows, IdleFlows::open(client, kIdlePort, kIdleFlows));
  US_ASSIGN(const json list, systems.flows());
  ::usleep(kIdleWatchUs);  // the epochs of the handshakes have committed
  US_ASSIGN(const double with, mean_pause(systems));
  return std::vector<Quantity>{{"-pause-without", "ms", without},
                               {"-pause-with", "ms", with},
                               {"-relayed", "flows", static_cast<double>(list.size())}};
}

}  // namespace

Result<std::vector<Quantity>> measure(Systems& systems, const Load& load, const Options& options,
                                      const std::atomic<bool>& interrupted) {
  const Client client{systems.lab().client(), demo::kGuestAddress, options.cc, interrupted};
  US_ASSIGN(const uint64_t overruns, systems.lab().wire_overruns());
  Result<std::vector<Quantity>> out;
  switch (load.kind) {
    case Kind::kBulk:
      out = bulk(systems, client, load);
      break;
    case Kind::kFetch:
      out = fetches(systems, client, load.bytes);
      break;
    case Kind::kRequest:
      out = requests(systems, client);
      break;
    case Kind::kIdleFlows:
      out = idle_flows(systems, client);
      break;
  }
  if (!out) return out;
  US_TRY(systems.check());
  US_ASSIGN(const uint64_t now, systems.lab().wire_overruns());
  if (now != overruns)
    return fail(ErrorKind::kSystem,
                fmt::format("this machine was too slow for the wire: {} frames did not reach it", now - overruns));
  return out;
}

}  // namespace us::bench
