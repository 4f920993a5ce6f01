#include "sim/arbiter.h"

#include <utility>

namespace us::sim {
namespace {

constexpr Duration kHangRetry = Duration::millis(20);
constexpr Duration kLateMax = Duration::millis(800);

}  // namespace

Duration SimArbiter::delay(HostId who) {
  const Access& a = access_[index_of(who)];
  return world_.random(a.delay_low, a.delay_high);
}

void SimArbiter::claim(HostId who, Generation generation, std::function<void(const ClaimAnswer&)> answered) {
  world_.note(who, "asks the arbiter for generation", generation.value());
  ++outstanding_;
  answered = world_.while_alive(who, std::move(answered));
  world_.after(delay(who), "claim arrives", [this, who, generation, answered = std::move(answered)]() mutable {
    ask(who, generation, std::move(answered));
  });
}

void SimArbiter::ask(HostId who, Generation generation, std::function<void(const ClaimAnswer&)> answered) {
  const Access& a = access_[index_of(who)];
  const auto answer = [&](const ClaimAnswer& text) {
    world_.host_after(who, delay(who), "claim answered", [answered, text] { answered(text); });
  };
  ClaimAnswer none{generation, ClaimResult::kUnavailable, "", "simulated"};
  if (!a.reachable && a.hangs) {
    world_.after(kHangRetry, "claim hangs", [this, who, generation, answered] { ask(who, generation, answered); });
    return;
  }
  if (!a.reachable) {
    none.not_recorded = true;
    --outstanding_;
    return answer(none);
  }
  if (world_.rng().chance(a.recorded_late)) {
    world_.after(world_.random(Duration{}, kLateMax), "claim recorded late", [this, who, generation] {
      --outstanding_;
      decide(who, generation);
    });
    return answer(none);
  }
  --outstanding_;
  const ClaimAnswer decided = decide(who, generation);
  answer(world_.rng().chance(a.answer_lost) ? none : decided);
}

ClaimAnswer SimArbiter::decide(HostId who, Generation generation) {
  if (ended()) return {generation, ClaimResult::kTaken, "nobody", ""};
  if (newest() < generation) {
    holders_[generation] = who;
    world_.note(who, "claim recorded, generation", generation.value());
    on_recorded(who, generation);
  }
  if (newest() == generation && holder() == who) return {generation, ClaimResult::kGranted, to_string(who), ""};
  return {generation, ClaimResult::kTaken, to_string(holder()), ""};
}

void SimArbiter::mark_ended(HostId who, Generation generation, std::function<void(bool)> answered) {
  answered = world_.while_alive(who, std::move(answered));
  world_.after(delay(who), "end mark arrives", [this, who, generation, answered = std::move(answered)] {
    const bool marked = access_[index_of(who)].reachable;
    if (marked && generation == newest()) ended_ = generation;
    world_.host_after(who, delay(who), "end mark answered", [answered, marked] { answered(marked); });
  });
}

void SimArbiter::mend() {
  for (Access& access : access_) access = Access{};
}

}  // namespace us::sim
