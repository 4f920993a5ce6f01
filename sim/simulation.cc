#include "sim/simulation.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "sim/host.h"
#include "sim/judge.h"

namespace us::sim {
namespace {

constexpr std::array<std::string_view, 4> kStories = {"plain", "switchover", "shutdown", "takeover"};

constexpr Duration kRandomFaults = Duration::millis(1400);  // the time in which faults strike
constexpr Duration kStoryFaults = Duration::millis(900);
constexpr Duration kStoryAt = Duration::millis(160);
// After the last fault: a standby that had not noticed a dead stream, the arbiter, a synchronisation, twice over.
constexpr Duration kLivenessBound = Duration::seconds(8);
constexpr Duration kLinger = Duration::millis(150);

class Run {
 public:
  explicit Run(const RunOptions& options) : options_(options), lab_(options.seed) {}

  RunResult go() {
    RunResult result;
    try {
      set_up();
      if (options_.random)
        plan_random_faults();
      else
        plan_story();
      run_for(options_.random ? kRandomFaults : kStoryFaults);
      result.fault_steps = lab_.world.steps();
      calm(lab_);
      settle_down();
      lab_.judge->check_starts();
      result.passed = true;
    } catch (const Violation& violation) {
      result.violation = violation.what();
    }
    if (!result.passed || options_.keep_trace) result.trace = lab_.world.trace();
    result.steps = lab_.world.steps();
    result.releases = lab_.judge->releases();
    result.takeovers = lab_.judge->takeovers();
    result.commits = lab_.judge->commits();
    result.lost = lab_.judge->lost();
    result.ended = lab_.judge->ended();
    return result;
  }

 private:
  void set_up();
  void vary();
  void plan_random_faults();
  void plan_story();
  void step();
  void run_for(Duration length);
  void settle_down();
  void restart_what_is_down();
  bool settled();

  RunOptions options_;
  Lab lab_;
  std::array<uint64_t, kClients> answered_at_calm_{};
  uint64_t commits_at_calm_ = 0;
};

void Run::set_up() {
  lab_.judge = std::make_unique<Judge>(lab_);
  lab_.failover.ack_timeout = Duration::seconds(1);
  lab_.failover.sync_timeout = Duration::millis(600);
  lab_.shared_disk = options_.shared_disk || (options_.random && options_.seed % 3 == 0);
  if (lab_.shared_disk) lab_.shared_files = std::make_unique<DiskFiles>(options_.seed, 1, false);
  if (options_.random) vary();
  Rng& rng = lab_.world.rng();
  for (HostId id : kHosts) {
    const HostClock clock(Duration::seconds(rng.between(1, 1'000'000)), static_cast<int>(rng.between(-200, 200)));
    lab_.hosts[index_of(id)] = std::make_unique<Host>(lab_, id, clock);
  }
  lab_.network.accept = [this](HostId id, std::shared_ptr<Connection> c) { return lab_.host(id).accept(std::move(c)); };
  lab_.network.datagram = [this](HostId id, Bytes bytes) { lab_.host(id).on_datagram(std::move(bytes)); };
  lab_.network.powered = [this](HostId id) { return lab_.host(id).powered(); };
  lab_.arbiter.on_recorded = [this](HostId id, Generation g) { lab_.judge->on_recorded(id, g); };
  for (uint32_t i = 0; i < kClients; ++i) {
    lab_.clients[i] = std::make_unique<Client>(lab_, i);
    lab_.clients[i]->start();
  }
  lab_.arbiter.start(HostId::kA, Generation{1});
  lab_.host(HostId::kB).stand_by();
  lab_.host(HostId::kA).boot(Generation{1});
  lab_.judge->after_step();
}

void Run::vary() {
  Rng& rng = lab_.world.rng();
  constexpr std::array detections = {Duration::millis(60), Duration::millis(100), Duration::millis(200)};
  constexpr std::array epochs = {Duration::millis(5), Duration::millis(25), Duration::millis(50)};
  lab_.audit_disks = true;
  FailoverConfig& f = lab_.failover;
  f.detection = detections[rng.below(detections.size())];
  f.heartbeat = f.detection / 5;
  f.primary_delay = Duration::millis(rng.between(0, 400));
  f.claim_retry = Duration::millis(rng.between(20, 250));
  f.epochs_in_flight_max = static_cast<int>(rng.between(1, 3));
  lab_.times.epoch = epochs[rng.below(epochs.size())];
  lab_.times.busy = rng.chance(0.3) ? 0.02 : 0.001;
  if (rng.chance(0.2)) lab_.times.busy_by = Duration::millis(80);
}

void Run::plan_random_faults() {
  Rng& rng = lab_.world.rng();
  for (uint64_t n = rng.below(6); n > 0; --n) {
    const auto kind = static_cast<FaultKind>(rng.below(kFaults));
    const Duration length =
        lab_.world.random(Duration::millis(1), rng.chance(0.5) ? Duration::millis(150) : Duration::millis(900));
    // Often close together: trouble comes in company.
    const Duration at = rng.chance(0.5) ? lab_.world.random(Duration::millis(250), Duration::millis(500))
                                        : lab_.world.random(Duration::millis(1), kRandomFaults);
    lab_.world.after(at, "fault", [this, kind, length] { strike(lab_, kind, length); });
  }
}

void Run::plan_story() {
  if (options_.script) options_.script(lab_);
  const auto at = [this](FaultKind kind) {
    lab_.world.after(kStoryAt, "story", [this, kind] { strike(lab_, kind, Duration::millis(250)); });
  };
  switch (options_.story) {
    case Story::kPlain:
      return;
    case Story::kSwitchover:
      return at(FaultKind::kSwitchover);
    case Story::kShutdown:
      return at(FaultKind::kGuestShutsDown);
    case Story::kTakeover:
      return at(FaultKind::kCutAll);
  }
}

void Run::step() {
  if (!lab_.world.step()) lab_.judge->violation("nothing is left that could happen");
  lab_.judge->after_step();
  for (const PlacedFault& fault : options_.faults) {
    if (fault.step != lab_.world.steps()) continue;
    strike(lab_, fault.kind, fault.length);
    lab_.judge->after_step();
  }
}

void Run::run_for(Duration length) {
  const Instant end = lab_.world.now() + length;
  while (lab_.world.now() < end) step();
}

bool Run::settled() {
  if (lab_.judge->ended() || lab_.judge->lost()) {
    return std::none_of(kHosts.begin(), kHosts.end(), [this](HostId id) { return lab_.host(id).primary() != nullptr; });
  }
  if (lab_.judge->protected_primary() == nullptr || lab_.judge->commits() < commits_at_calm_ + 4) return false;
  for (uint32_t i = 0; i < kClients; ++i)
    if (lab_.clients[i]->answered() < answered_at_calm_[i] + 2) return false;
  return true;
}

// Processes that end late, of something that was asked before.
void Run::restart_what_is_down() {
  for (HostId id : kHosts)
    if (!lab_.host(id).up() && !lab_.judge->ended()) lab_.host(id).stand_by();
}

void Run::settle_down() {
  commits_at_calm_ = lab_.judge->commits();
  for (uint32_t i = 0; i < kClients; ++i) answered_at_calm_[i] = lab_.clients[i]->answered();
  const Instant end = lab_.world.now() + kLivenessBound;
  while (!settled()) {
    if (lab_.world.now() >= end) {
      std::string states;
      for (HostId id : kHosts) {
        Host& host = lab_.host(id);
        states += fmt::format(" {}: {}", to_string(id),
                              host.primary()   ? us::to_string(host.primary()->core().state())
                              : host.standby() ? us::to_string(host.standby()->core().state())
                                               : "down");
      }
      lab_.judge->violation(fmt::format("{} s after the last fault the VM is not back to normal:{}",
                                        kLivenessBound.to_seconds(), states));
    }
    step();
    restart_what_is_down();
  }
  run_for(kLinger);
}

}  // namespace

std::string_view to_string(Story story) { return kStories[static_cast<size_t>(story)]; }

std::optional<Story> story_from(std::string_view name) {
  for (size_t i = 0; i < kStories.size(); ++i)
    if (kStories[i] == name) return static_cast<Story>(i);
  return std::nullopt;
}

RunResult run(const RunOptions& options) { return Run(options).go(); }

std::string repeat_command(const RunOptions& options) {
  std::string command = fmt::format("understudy_sim --runs 1 --seed {}", options.seed);
  if (options.shared_disk) command += " --shared-disk";
  if (options.random) return command;
  command += fmt::format(" --story {}", to_string(options.story));
  for (const PlacedFault& f : options.faults)
    command += fmt::format(" --fault {}@{}:{}", to_string(f.kind), f.step, f.length.to_millis());
  return command;
}

}  // namespace us::sim
