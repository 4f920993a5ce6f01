#include "sim/relay/run.h"

#include <fmt/format.h>

#include "sim/relay/judge.h"
#include "sim/relay/network.h"
#include "sim/relay/primary.h"
#include "sim/relay/standby.h"

namespace us::sim::relay {

Lab::Lab(const Story& of, uint64_t seed) : story(of), world(seed) {}
Lab::~Lab() = default;

namespace {

// After the last fault: timers that had backed off, twice over.
constexpr Duration kLivenessBound = Duration::seconds(90);

class Run {
 public:
  explicit Run(const RunSettings& settings) : settings_(settings), lab_(story_of(settings), settings.seed) {}

  Verdict go() {
    Verdict verdict;
    try {
      set_up();
      run_for(lab_.story.faults_for);
      calm();
      settle();
      verdict.passed = true;
    } catch (const Violation& violation) {
      verdict.violation = violation.what();
    }
    if (!verdict.passed || settings_.keep_trace) verdict.trace = lab_.trace.lines();
    verdict.steps = lab_.world.steps();
    verdict.time = lab_.now() - Instant();
    verdict.counts = lab_.counts;
    return verdict;
  }

 private:
  static Story story_of(const RunSettings& settings) {
    Story story = random_story(settings.seed);
    if (settings.change) settings.change(story);
    return story;
  }
  void set_up();
  Guest new_guest();
  void strike(const Fault& fault);
  void join_later();
  void lose_link(const Fault& fault);
  void drop_standby();
  void kill();
  void take_over(HostId id);
  void calm();
  bool over() const;
  void settle();
  void run_for(Duration length);

  RunSettings settings_;
  Lab lab_;
  bool deciding_ = false;  // the link is lost and nobody may speak, or a takeover is going on
};

Guest Run::new_guest() {
  Guest guest;
  for (size_t i = 0; i < lab_.connections(); ++i) {
    const Connection& c = lab_.story.connections[i];
    guest.ends.emplace_back(c.guest, c.guest_app, ByteStream(lab_.world.rng().next()), lab_.world.rng().next());
    guest.ends[i].expect(&lab_.network->client(i).stream());
    guest.told.emplace_back();
    guest.starts.push_back(c.guest_opens ? Instant() + c.start : Instant::far_future());
    if (!c.guest_opens) guest.ends[i].listen();
  }
  return guest;
}

void Run::set_up() {
  lab_.network = std::make_unique<Network>(lab_);
  lab_.judge = std::make_unique<Judge>(lab_);
  lab_.primary = std::make_unique<Primary>(lab_, HostId::kA, new_guest());
  lab_.primary->start();
  lab_.network->start();
  join_later();
  for (const Fault& fault : lab_.story.faults) lab_.world.after(fault.at, "fault", [this, fault] { strike(fault); });
}

void Run::join_later() {
  lab_.world.after(lab_.world.random(Duration(), lab_.story.join * 2), "standby joins", [this] {
    if (lab_.standby || deciding_ || !lab_.primary) return;
    lab_.trace.note(lab_.now(), "standby joins");
    lab_.standby = std::make_unique<Standby>(lab_, other(lab_.primary->id()));
    lab_.primary->protect();
  });
}

void Run::strike(const Fault& fault) {
  if (lab_.calm) return;
  lab_.trace.note(lab_.now(), "fault", static_cast<uint64_t>(fault.kind),
                  static_cast<uint64_t>(fault.length.to_millis()));
  switch (fault.kind) {
    case FaultKind::kKill:
      return kill();
    case FaultKind::kLinkLost:
      return lose_link(fault);
    case FaultKind::kLinkStalls:
      if (lab_.standby) lab_.standby->stall(fault.length);
      return;
    case FaultKind::kNetworkCut:
      return lab_.network->cut(fault.length);
    case FaultKind::kNetworkBad:
      return lab_.network->spoil(fault.length);
    case FaultKind::kGuestPaused:
      if (lab_.primary && !deciding_) lab_.primary->pause_guest(fault.length);
      return;
    case FaultKind::kOptions: {
      const uint64_t n = fault.number;
      if (lab_.primary) lab_.primary->set_options({(n & 1) != 0, (n & 2) != 0, (n & 4) != 0, (n & 8) != 0});
      return;
    }
    case FaultKind::kEnable:
      if (lab_.primary) lab_.primary->set_enabled((fault.number & 1) != 0);
      return;
  }
}

// A lone host that ends is the end of the VM: that is another simulation's business.
void Run::kill() {
  if (!lab_.standby || !lab_.standby->committed() || deciding_) return;
  lab_.trace.note(lab_.now(), "killed");
  lab_.world.kill(lab_.primary->id());
  lab_.primary.reset();
  take_over(lab_.standby->id());
}

void Run::take_over(HostId id) {
  deciding_ = true;
  if (lab_.world.rng().chance(0.5)) lab_.standby->drop_stream();
  lab_.world.after(lab_.world.random(Duration::millis(1), lab_.story.takeover), "takeover", [this, id] {
    ++lab_.counts.takeovers;
    lab_.trace.note(lab_.now(), "takes over");
    Guest guest = *lab_.standby->committed();
    for (TcpEnd& end : guest.ends) end.diverge(lab_.world.rng().next());
    lab_.judge->on_takeover(guest);
    const std::vector<RestoredFlow> flows = lab_.standby->restored();
    lab_.world.kill(id);
    lab_.primary = std::make_unique<Primary>(lab_, id, std::move(guest));
    lab_.primary->start_restored(flows);
    if (lab_.calm) lab_.primary->calm();
    deciding_ = false;
    lab_.standby.reset();  // whose bytes the restored flows were made from
    join_later();
  });
}

void Run::drop_standby() {
  lab_.standby->drop_stream();
  lab_.standby.reset();
}

void Run::lose_link(const Fault& fault) {
  if (!lab_.standby || deciding_ || !lab_.primary || !lab_.primary->linked()) return;
  lab_.primary->lose_link();
  if (lab_.primary->mode() == GateMode::kSolo) {
    drop_standby();
    return join_later();
  }
  deciding_ = true;
  if (fault.number % 2 == 0) lab_.standby->drop_stream();
  const bool taken_over = fault.number % 3 == 0 && lab_.standby->committed();
  lab_.world.after(fault.length, "decided", [this, taken_over] {
    if (taken_over) {
      const HostId id = lab_.standby->id();
      lab_.world.kill(lab_.primary->id());
      lab_.primary.reset();
      return take_over(id);
    }
    drop_standby();
    deciding_ = false;
    lab_.primary->go_on_alone();
    join_later();
  });
}

void Run::run_for(Duration length) {
  const Instant end = lab_.now() + length;
  while (lab_.now() < end && lab_.world.step()) {
  }
}

void Run::calm() {
  lab_.trace.note(lab_.now(), "calm");
  lab_.calm = true;
  lab_.network->calm();
  if (lab_.primary) lab_.primary->calm();
}

bool Run::over() const {
  if (!lab_.primary || deciding_) return false;
  for (size_t i = 0; i < lab_.connections(); ++i)
    if (!lab_.primary->guest().ends[i].over() || !lab_.network->client(i).over()) return false;
  return lab_.primary->relay().size() == 0;
}

void Run::settle() {
  const Instant end = lab_.now() + kLivenessBound;
  while (!over()) {
    if (lab_.now() >= end || !lab_.world.step()) {
      std::string states;
      for (size_t i = 0; i < lab_.connections(); ++i)
        states += fmt::format("\n  {} guest: {}\n  {} client: {}", i,
                              lab_.primary ? lab_.primary->guest().ends[i].describe() : "none", i,
                              lab_.network->client(i).describe());
      throw Violation(fmt::format("{} s after the last fault not everything has ended; {} flows{}",
                                  kLivenessBound.to_seconds(), lab_.primary ? lab_.primary->relay().size() : 0,
                                  states));
    }
  }
  lab_.judge->at_end();
}

}  // namespace

Verdict run(const RunSettings& settings) { return Run(settings).go(); }

}  // namespace us::sim::relay
