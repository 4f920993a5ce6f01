#include "tcp/plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "config/runtime_settings.h"

namespace us::bench {
namespace {

const std::vector<std::string> kLengths = {"10", "25", "50", "100"};
const std::vector<std::string> kAllEpochs = {"10", "25", "50", "100", "adaptive"};
const std::vector<std::string> kTwoEpochs = {"25", "100"};
const std::vector<std::string> kLongEpoch = {"100"};
const std::vector<std::string> kOneEpoch = {"25"};
constexpr Direction kDirections[] = {Direction::kFromGuest, Direction::kToGuest};

constexpr double kStartSeconds = 15;    // of the three machines
constexpr double kSwitchSeconds = 0.5;  // from one setting to the next
constexpr double kQuick = 0.5;          // of the time that a measurement takes otherwise
constexpr int kStandardMtu = 1500;
// Of a stream under epochs, beyond the time without: nine epochs of slow start, a recovery, and some saw teeth.
constexpr double kSkippedEpochs = 20, kCountedEpochs = 10;
// A switch with a shallow buffer for each port: 150 KB.
constexpr int kIncastQueue = 100;

// One connection meets a handful of losses in the time there is, and its rate is a matter of luck.  So many together
// meet enough of them, and leave the line so far below its rate that nothing but the losses holds them back.
int flows_for(int rtt_ms, double loss) {
  if (loss == 0) return 1;
  return loss < 0.005 && rtt_ms <= 20 ? 4 : 12;
}

void add_streams(std::vector<Load>& loads) {
  for (const Direction direction : kDirections)
    loads.push_back(
        {.scenario = "bulk", .slice = Slice::kBulk, .direction = direction, .skip_s = 1.0, .length_s = 1.5});
  loads.push_back({.scenario = "both-ways", .direction = Direction::kBoth, .skip_s = 2, .length_s = 3});
  for (const Direction direction : kDirections)
    loads.push_back(
        {.scenario = "connections-100", .direction = direction, .flows = 100, .skip_s = 1.5, .length_s = 2.5});
  for (const Direction direction : kDirections)
    loads.push_back({.scenario = "bulk-unlimited", .direction = direction, .wire = false, .skip_s = 1, .length_s = 2});
}

// A round trip of 80 ms needs its time to fill the line, and losses theirs to average out.
void add_wide_area(std::vector<Load>& loads) {
  for (const int rtt_ms : {20, 80})
    for (const double loss : {0.0, 0.001, 0.01})
      for (const Direction direction : kDirections)
        loads.push_back({.scenario = "wide-area",
                         .slice = Slice::kWide,
                         .direction = direction,
                         .rtt_ms = rtt_ms,
                         .loss = loss,
                         .flows = flows_for(rtt_ms, loss),
                         .skip_s = rtt_ms == 20 ? 1.0 : 2.0,
                         .length_s = loss == 0 ? 1.5 : 2.0});
}

void add_exchanges(std::vector<Load>& loads) {
  loads.push_back({.scenario = "request-1", .kind = Kind::kRequest, .slice = Slice::kMain, .bytes = 1, .length_s = 3});
  loads.push_back({.scenario = "request-1K", .kind = Kind::kRequest, .bytes = 1024, .length_s = 4});
  for (const bool kept : {false, true})
    for (const auto& [name, bytes] : {std::pair{"10K", 10'000}, {"100K", 100'000}, {"1M", 1'000'000}})
      loads.push_back({.scenario = fmt::format("fetch-{}{}", name, kept ? "-kept" : ""),
                       .kind = Kind::kFetch,
                       .slice = kept               ? Slice::kPair
                                : bytes == 100'000 ? Slice::kMain
                                                   : Slice::kFew,
                       .direction = Direction::kFromGuest,
                       .bytes = static_cast<size_t>(bytes),
                       .kept = kept,
                       .length_s = 1.2});
  for (const Direction direction : kDirections)
    loads.push_back({.scenario = "incast",
                     .kind = Kind::kIncast,
                     .direction = direction,
                     .queue_packets = kIncastQueue,
                     .flows = 20,
                     .bytes = 64 * 1024,
                     .length_s = 2.5});
  for (const int pipeline : {1, 16})
    loads.push_back({.scenario = pipeline == 1 ? "redis" : "redis-pipelined",
                     .kind = Kind::kRedis,
                     .flows = 50,
                     .pipeline = pipeline,
                     .length_s = 1.5});
}

void add_others(std::vector<Load>& loads) {
  loads.push_back({.scenario = "udp", .kind = Kind::kDatagrams, .bytes = 64, .per_second = 500, .length_s = 1.5});
  loads.push_back(
      {.scenario = "udp-load", .kind = Kind::kDatagrams, .bytes = 1400, .per_second = 2000, .length_s = 1.5});
  loads.push_back(
      {.scenario = "icmp", .kind = Kind::kDatagrams, .bytes = 56, .icmp = true, .per_second = 100, .length_s = 2});
  loads.push_back({.scenario = "idle-flows", .kind = Kind::kIdleFlows, .wire = false, .flows = 10'000});
}

std::vector<Load> all_loads() {
  std::vector<Load> loads;
  add_streams(loads);
  add_exchanges(loads);
  add_wide_area(loads);
  add_others(loads);
  return loads;
}

template <typename T>
bool wanted(const std::vector<T>& chosen, const T& value) {
  return chosen.empty() || std::find(chosen.begin(), chosen.end(), value) != chosen.end();
}

bool wanted(const Load& load, const Options& options) {
  return wanted(options.scenarios, load.scenario) && wanted(options.rtts_ms, load.rtt_ms) &&
         wanted(options.losses, load.loss) && wanted(options.directions, to_text(load.direction));
}

double epoch_seconds(const Setting& setting) {
  return setting.epoch.empty() || setting.epoch == "adaptive" ? 0.025 : std::stod(setting.epoch) / 1e3;
}

bool is_single(std::string_view mode) { return mode != "buffered" && mode != "accelerated"; }

const std::vector<std::string>& epochs_of(Slice slice, bool single) {
  static const std::vector<std::string> none;
  switch (slice) {
    case Slice::kAll:
      return single ? kLengths : kAllEpochs;
    case Slice::kMain:
      return single ? kOneEpoch : kAllEpochs;
    case Slice::kBulk:
      return single ? kLongEpoch : kAllEpochs;
    case Slice::kFew:
      return single ? none : kTwoEpochs;
    case Slice::kPair:
    case Slice::kWide:
      return single ? none : kOneEpoch;
  }
  return none;
}

Slice slice_of(const Load& load, const Options& options) {
  if (!options.slice.empty()) {
    const auto names = slice_names();
    return static_cast<Slice>(std::find(names.begin(), names.end(), options.slice) - names.begin());
  }
  // Who names modes or lengths means any of them.
  if (!options.modes.empty() || !options.epochs.empty()) return Slice::kAll;
  if (options.quick) return load.scenario == "bulk" ? Slice::kFew : Slice::kPair;
  return load.slice;
}

std::vector<Setting> settings_for(const Load& load, const Options& options) {
  if (load.kind == Kind::kIdleFlows) return {{"accelerated", "25"}};
  const Slice slice = slice_of(load, options);
  std::vector<Setting> settings = {{"unprotected", ""}};
  if (slice != Slice::kWide && wanted(options.modes, std::string("stock"))) settings.push_back({"stock", ""});
  for (const std::string_view mode : tcp_mode_names()) {
    if (!wanted(options.modes, std::string(mode))) continue;
    for (const std::string& epoch : epochs_of(slice, is_single(mode)))
      if (wanted(options.epochs, epoch)) settings.push_back({std::string(mode), epoch});
  }
  return settings;
}

Load adapted(Load load, const Options& options) {
  load.mtu = options.mtu;
  load.cc = options.cc;
  load.mbit = options.mbit;
  if (load.queue_packets == 0) load.queue_packets = options.queue_packets;
  // As many bytes, whatever the packets' size.
  load.queue_packets = std::max(1, load.queue_packets * kStandardMtu / load.mtu);
  if (options.quick) {
    load.skip_s *= kQuick;
    load.length_s *= kQuick;
  }
  return load;
}

}  // namespace

std::vector<std::string> scenario_names() {
  std::vector<std::string> names;
  for (const Load& load : all_loads())
    if (std::find(names.begin(), names.end(), load.scenario) == names.end()) names.push_back(load.scenario);
  return names;
}

std::vector<std::string> mode_names() {
  std::vector<std::string> names = {"unprotected", "stock"};
  for (const std::string_view mode : tcp_mode_names()) names.emplace_back(mode);
  return names;
}

std::vector<std::string> slice_names() { return {"all", "main", "bulk", "few", "pair", "wide"}; }

Result<std::vector<Step>> make_plan(const Options& options) {
  std::vector<Step> steps;
  for (const Load& load : all_loads())
    if (wanted(load, options)) steps.push_back({adapted(load, options), settings_for(load, options)});
  if (steps.empty()) return fail(ErrorKind::kInput, "nothing to measure: no scenario fits the options");
  return steps;
}

Load timed_for(Load load, const Setting& setting) {
  if (load.kind != Kind::kStreams || !is_protected(setting)) return load;
  load.skip_s += kSkippedEpochs * epoch_seconds(setting);
  load.length_s += kCountedEpochs * epoch_seconds(setting);
  return load;
}

double estimated_seconds(const Load& untimed, const Setting& setting) {
  const Load load = timed_for(untimed, setting);
  const double epoch_s = epoch_seconds(setting);
  const bool slow = is_protected(setting);
  switch (load.kind) {
    case Kind::kStreams:
      return kSwitchSeconds + load.skip_s + load.length_s + 3 * epoch_s;
    case Kind::kFetch:
    case Kind::kIncast:
      return kSwitchSeconds + load.length_s + (slow ? 15 * epoch_s : 0);
    case Kind::kRequest: {
      // Without epochs, and with a cut for each answer, there soon are enough (measure.cc).
      const bool cuts = setting.mode == "accelerated" || setting.mode == "cut-on-output";
      return kSwitchSeconds + load.length_s * (!slow ? 0.25 : cuts ? 1 : 0.6);
    }
    case Kind::kRedis:
      return kSwitchSeconds + 2 * load.length_s + (slow ? 0.5 + 40 * epoch_s : 0.5);
    case Kind::kDatagrams:
      return kSwitchSeconds + load.length_s;
    case Kind::kIdleFlows:
      return 40;
  }
  return 0;
}

double estimated_seconds(const std::vector<Step>& plan, int rounds) {
  double round = 0;
  for (const Step& step : plan) {
    round += 1;  // the protected machine is woken once
    for (const Setting& setting : step.settings) round += estimated_seconds(step.load, setting);
  }
  return kStartSeconds + round * rounds;
}

std::string to_text(Direction direction) {
  switch (direction) {
    case Direction::kNone:
      return "";
    case Direction::kFromGuest:
      return "guest-to-client";
    case Direction::kToGuest:
      return "client-to-guest";
    case Direction::kBoth:
      return "both";
  }
  return "";
}

std::string describe(const Load& load) {
  std::string text = load.scenario;
  if (load.direction != Direction::kNone && load.kind != Kind::kFetch) text += ", " + to_text(load.direction);
  if (load.rtt_ms > 0) text += fmt::format(", round trip {} ms, loss {:g} %", load.rtt_ms, load.loss * 100);
  if (load.flows > 1) text += fmt::format(", {} connections", load.flows);
  if (load.mtu != kStandardMtu) text += fmt::format(", MTU {}", load.mtu);
  if (load.cc != "cubic") text += ", client " + load.cc;
  return text;
}

Key key_of(const Load& load, const Setting& setting, int round) {
  std::string params;
  const auto add = [&params](const std::string& text) { params += (params.empty() ? "" : ";") + text; };
  if (load.flows > 1) add(fmt::format("flows={}", load.flows));
  if (load.bytes > 0) add(fmt::format("bytes={}", load.bytes));
  if (load.per_second > 0) add(fmt::format("rate={}", load.per_second));
  if (load.pipeline > 1) add(fmt::format("pipeline={}", load.pipeline));
  add(load.wire ? fmt::format("line=wire;mbit={};queue={}", load.mbit, load.queue_packets) : "line=cable");
  return {.scenario = load.scenario,
          .params = params,
          .mode = setting.mode,
          .epoch = setting.epoch,
          .direction = to_text(load.direction),
          .mtu = load.mtu,
          .rtt_ms = static_cast<double>(load.rtt_ms),
          .loss = load.loss,
          .cc = load.cc,
          .round = round};
}

}  // namespace us::bench
