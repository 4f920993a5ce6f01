#include "tcp/plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "config/runtime_settings.h"

namespace us::bench {
namespace {

constexpr int kEpochs[] = {10, 25, 50, 100};
constexpr int kQuickEpochs[] = {25, 100};
constexpr const char* kQuickModes[] = {"stock", "buffered", "accelerated"};

// One connection meets a handful of losses in the time there is, and its rate is a matter of luck.  So many together
// meet enough of them, and leave the line so far below its rate that nothing but the losses holds them back.
int flows_for(int rtt_ms, double loss) {
  if (loss == 0) return 1;
  return loss < 0.005 && rtt_ms <= 20 ? 4 : 12;
}

Load bulk(const char* scenario, Direction direction, bool wire, int rtt_ms, double loss) {
  // A round trip of 80 ms needs its time to fill the line, and losses theirs to average out.
  const bool wide = rtt_ms > 0;
  return {.scenario = scenario,
          .kind = Kind::kBulk,
          .direction = direction,
          .wire = wire,
          .rtt_ms = rtt_ms,
          .loss = loss,
          .flows = flows_for(rtt_ms, loss),
          .skip_s = wide ? 3.0 : 2.0,
          .length_s = wide ? 9.0 : 5.0};
}

void add_bulk(std::vector<Load>& loads, const char* scenario, bool wire, int rtt_ms, double loss) {
  for (const Direction direction : {Direction::kFromGuest, Direction::kToGuest})
    loads.push_back(bulk(scenario, direction, wire, rtt_ms, loss));
}

std::vector<Load> all_loads(bool quick) {
  std::vector<Load> loads;
  add_bulk(loads, "bulk", true, 0, 0);
  for (const auto& [name, bytes] : {std::pair{"fetch-10K", 10'000}, {"fetch-100K", 100'000}, {"fetch-1M", 1'000'000}})
    if (!quick || bytes == 100'000)
      loads.push_back({.scenario = name, .kind = Kind::kFetch, .bytes = static_cast<size_t>(bytes)});
  loads.push_back({.scenario = "request", .kind = Kind::kRequest});
  for (const int rtt_ms : {20, 80})
    for (const double loss : {0.0, 0.001, 0.01})
      if (!quick || (rtt_ms == 80 && loss == 0)) add_bulk(loads, "wide-area", true, rtt_ms, loss);
  if (!quick) add_bulk(loads, "bulk-unlimited", false, 0, 0);
  if (!quick) loads.push_back({.scenario = "idle-flows", .kind = Kind::kIdleFlows, .wire = false});
  return loads;
}

template <typename T>
bool wanted(const std::vector<T>& chosen, const T& value) {
  return chosen.empty() || std::find(chosen.begin(), chosen.end(), value) != chosen.end();
}

// The optimizations one by one are measured where nothing else plays a part; wide-area lines and the machine's limit
// show what is lost and what all of them together give back.
bool belongs(const Load& load, const std::string& mode, const Options& options) {
  if (!wanted(options.modes, mode)) return false;
  if (!options.modes.empty()) return true;
  if (load.kind == Kind::kIdleFlows) return mode == "accelerated";
  const bool all_modes = !options.quick && load.wire && load.rtt_ms == 0;
  return all_modes || std::find(std::begin(kQuickModes), std::end(kQuickModes), mode) != std::end(kQuickModes);
}

std::vector<Setting> settings_for(const Load& load, const Options& options) {
  std::vector<Setting> settings = {{"unprotected", 0}};
  if (load.kind == Kind::kIdleFlows) return {{"accelerated", 25}};
  if (belongs(load, "stock", options)) settings.push_back({"stock", 0});
  std::vector<int> epochs(std::begin(kEpochs), std::end(kEpochs));
  if (options.quick) epochs.assign(std::begin(kQuickEpochs), std::end(kQuickEpochs));
  if (!options.epochs_ms.empty()) epochs = options.epochs_ms;
  for (const std::string_view mode : tcp_mode_names())
    if (belongs(load, std::string(mode), options))
      for (const int epoch_ms : epochs) settings.push_back({std::string(mode), epoch_ms});
  return settings;
}

}  // namespace

std::vector<std::string> scenario_names() {
  std::vector<std::string> names;
  for (const Load& load : all_loads(false))
    if (std::find(names.begin(), names.end(), load.scenario) == names.end()) names.push_back(load.scenario);
  return names;
}

std::vector<std::string> mode_names() {
  std::vector<std::string> names = {"unprotected", "stock"};
  for (const std::string_view mode : tcp_mode_names()) names.emplace_back(mode);
  return names;
}

Result<std::vector<Step>> make_plan(const Options& options) {
  std::vector<Step> steps;
  // A scenario that is asked for by name is measured in full even in a quick run.
  for (const Load& load : all_loads(options.quick && options.scenarios.empty()))
    if (wanted(options.scenarios, load.scenario) && wanted(options.rtts_ms, load.rtt_ms))
      steps.push_back({load, settings_for(load, options)});
  if (steps.empty()) return fail(ErrorKind::kInput, "nothing to measure: no scenario fits the options");
  return steps;
}

double estimated_seconds(const Load& load, const Setting& setting) {
  const double epoch_s = setting.epoch_ms / 1000.0;
  switch (load.kind) {
    case Kind::kBulk:
      return load.skip_s + load.length_s + 1 + 10 * epoch_s;
    case Kind::kFetch:
    case Kind::kRequest:
      return 2 + 20 * epoch_s;
    case Kind::kIdleFlows:
      return 40;
  }
  return 0;
}

std::string to_text(Direction direction) {
  return direction == Direction::kFromGuest ? "guest to client" : "client to guest";
}

std::string describe(const Load& load) {
  std::string text = load.scenario;
  if (load.kind == Kind::kBulk) text += ", " + to_text(load.direction);
  if (load.rtt_ms > 0) text += fmt::format(", round trip {} ms, loss {:g} %", load.rtt_ms, load.loss * 100);
  if (load.flows > 1) text += fmt::format(", {} flows", load.flows);
  return text;
}

}  // namespace us::bench
