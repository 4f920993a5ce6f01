#include "tcp/measure.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "common/statistics.h"
#include "os/clock.h"
#include "tcp/datagrams.h"
#include "tcp/exchanges.h"
#include "tcp/redis_benchmark.h"
#include "tcp/streams.h"

namespace us::bench {
namespace {

using nlohmann::json;

constexpr int kFetchesMin = 5;
constexpr int kRoundsMin = 3;  // of incast
constexpr int kAnswersMax = 100'000;
// Five rounds of them are enough for a 99.9 % quantile (common/statistics.h).
constexpr int kRequestsMax = 1100;
constexpr uint16_t kIdlePort = 6380;
constexpr useconds_t kIdleWatchUs = 5'000'000;

Duration seconds(double value) { return Duration::micros(static_cast<int64_t>(value * 1e6)); }

std::vector<double> in_millis(const std::vector<Duration>& times) {
  std::vector<double> list;
  for (const Duration time : times) list.push_back(time.to_millis_f());
  return list;
}

// The median, and those quantiles for which there are enough samples.
void add_times(Measured& out, const std::string& name, const std::vector<Duration>& times) {
  const std::vector<double> values = in_millis(times);
  out.samples.push_back({name, "ms", values});
  if (values.empty()) return;
  out.quantities.push_back({name + "-p50", "ms", median(values)});
  for (const auto& [suffix, share] : {std::pair{"-p99", 0.99}, {"-p99.9", 0.999}})
    if (const auto value = quantile(values, share)) out.quantities.push_back({name + suffix, "ms", *value});
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

Result<Measured> streams(const Client& client, const Load& load) {
  const int flows = load.flows;
  US_ASSIGN(const StreamRates rates,
            measure_streams(client, {.from_guest = load.direction != Direction::kToGuest ? flows : 0,
                                     .to_guest = load.direction != Direction::kFromGuest ? flows : 0,
                                     .skip = seconds(load.skip_s),
                                     .length = seconds(load.length_s)}));
  const double down = sum(rates.from_guest) / 1e6, up = sum(rates.to_guest) / 1e6;
  Measured out{{{"throughput", "Mbit/s", down + up}}, {}};
  if (load.direction == Direction::kBoth) {
    out.quantities.push_back({"throughput-from-guest", "Mbit/s", down});
    out.quantities.push_back({"throughput-to-guest", "Mbit/s", up});
  }
  if (flows == 1) return out;
  std::vector<double> each = rates.from_guest;
  each.insert(each.end(), rates.to_guest.begin(), rates.to_guest.end());
  out.quantities.push_back({"fairness", "1", fairness(each)});
  for (double& rate : each) rate /= 1e6;
  out.samples.push_back({"throughput-of-one", "Mbit/s", each});
  return out;
}

Result<Measured> fetches(const Client& client, const Load& load) {
  US_ASSIGN(const auto times,
            measure_fetches(client, load.bytes, load.kept, {kAnswersMax, kFetchesMin, seconds(load.length_s)}));
  Measured out;
  add_times(out, "latency", times);
  return out;
}

Result<Measured> requests(const Client& client, const Load& load) {
  US_ASSIGN(const auto times, measure_requests(client, load.bytes, {kRequestsMax, 1, seconds(load.length_s), true}));
  Measured out;
  add_times(out, "latency", times);
  return out;
}

Result<Measured> incast(const Client& client, const Load& load) {
  const Incast wanted{load.flows, load.bytes, load.direction == Direction::kFromGuest};
  US_ASSIGN(const auto times, measure_incast(client, wanted, {kAnswersMax, kRoundsMin, seconds(load.length_s)}));
  double total = 0;
  for (const Duration time : times) total += time.to_seconds();
  const double bits = static_cast<double>(load.bytes) * load.flows * 8 * static_cast<double>(times.size());
  Measured out{{{"throughput", "Mbit/s", bits / total / 1e6}}, {}};
  add_times(out, "latency", times);
  return out;
}

Result<Measured> redis(const Client& client, const Load& load) {
  US_ASSIGN(const auto figures, measure_redis(client, load.pipeline, seconds(load.length_s)));
  Measured out;
  for (const RedisFigures& figure : figures) {
    out.quantities.push_back({figure.test + "-rate", "1/s", figure.requests_per_second});
    out.quantities.push_back({figure.test + "-latency-p50", "ms", figure.p50_ms});
    out.quantities.push_back({figure.test + "-latency-p99", "ms", figure.p99_ms});
  }
  return out;
}

Result<Measured> datagrams(const Client& client, const Load& load) {
  US_ASSIGN(const DatagramResult result, measure_datagrams(client, {.icmp = load.icmp,
                                                                    .bytes = load.bytes,
                                                                    .per_second = load.per_second,
                                                                    .length = seconds(load.length_s)}));
  const auto share = [&](uint64_t n) { return 100 * static_cast<double>(n) / static_cast<double>(result.sent); };
  Measured out{{{"lost", "%", share(result.lost)},
                {"reordered", "%", share(result.reordered)},
                {"duplicated", "%", share(result.duplicated)}},
               {}};
  add_times(out, "latency", result.round_trips);
  return out;
}

Result<double> mean_pause(const Systems& systems) {
  US_ASSIGN(const json before, systems.status());
  ::usleep(kIdleWatchUs);
  US_ASSIGN(const json after, systems.status());
  return costs_between(before, after).pause_ms;
}

// The second redis of the guest takes more connections than init's limits allow the first.
Result<Measured> idle_flows(const Systems& systems, const Client& client, int count) {
  US_TRY(run_in_guest(
      client, fmt::format("netstat -ltn | grep -q :{0} || {{ ulimit -n 20000; redis-server --port {0} --maxclients "
                          "15000 --save '' --protected-mode no --tcp-backlog 511 --daemonize yes --logfile /dev/null; "
                          "sleep 1; }}",
                          kIdlePort)));
  US_ASSIGN(const double without, mean_pause(systems));
  US_ASSIGN(const auto flows, open_idle_flows(client, kIdlePort, count));
  US_ASSIGN(const json list, systems.flows());
  ::usleep(kIdleWatchUs);  // the epochs of the handshakes have committed
  US_ASSIGN(const double with, mean_pause(systems));
  return Measured{{{"pause-without", "ms", without},
                   {"pause-with", "ms", with},
                   {"relayed", "flows", static_cast<double>(list.size())}},
                  {}};
}

Result<Measured> run(const Systems& systems, const Client& client, const Load& load) {
  switch (load.kind) {
    case Kind::kStreams:
      return streams(client, load);
    case Kind::kFetch:
      return fetches(client, load);
    case Kind::kRequest:
      return requests(client, load);
    case Kind::kIncast:
      return incast(client, load);
    case Kind::kRedis:
      return redis(client, load);
    case Kind::kDatagrams:
      return datagrams(client, load);
    case Kind::kIdleFlows:
      return idle_flows(systems, client, load.flows);
  }
  return Measured{};
}

}  // namespace

Result<Measured> measure(Systems& systems, const Load& load) {
  US_ASSIGN(const uint64_t overruns, systems.lab().wire_overruns());
  US_ASSIGN(const json before, systems.status());
  const Instant begin = clock_now();
  auto out = run(systems, systems.client(load), load);
  if (!out) return out;
  const double elapsed_ms = (clock_now() - begin).to_millis_f();
  US_ASSIGN(const json after, systems.status());
  US_TRY(systems.check());
  if (before.is_object() && before.value("state", "") == "protected" && load.kind != Kind::kIdleFlows) {
    const EpochCosts costs = costs_between(before, after);
    out->quantities.push_back({"pause", "ms", costs.pause_ms});
    out->quantities.push_back({"commit", "ms", costs.commit_ms});
    out->quantities.push_back({"paused", "%", costs.pause_sum_ms / elapsed_ms * 100});
  }
  US_ASSIGN(const uint64_t now, systems.lab().wire_overruns());
  if (now == overruns) return out;
  return fail(ErrorKind::kSystem,
              fmt::format("this machine was too slow for the wire: {} frames did not reach it", now - overruns));
}

}  // namespace us::bench
