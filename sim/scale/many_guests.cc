#include "sim/scale/many_guests.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <memory>

#include "base/check.h"
#include "core/epoch/epoch_policy.h"
#include "core/replica/primary_core.h"
#include "sim/scale/server.h"
#include "sim/world.h"

namespace us::sim::scale {
namespace {

constexpr double kSegmentBytes = 65160;  // what the relay handles at a time, with offloads
constexpr Duration kHalfRoundTrip = Duration::micros(25);
// Of the shares that traffic takes beforehand, at most this much: what is left must be more than nothing.
constexpr double kShareMax = 0.98;

Duration seconds(double s) { return Duration::nanos(static_cast<int64_t>(s * 1e9)); }

// What all guests of a host share.
struct Host {
  Pool cores;
  Line link;
  Pool standby;
};

class Guest {
 public:
  Guest(const Parameters& costs, const Load& load, World& world, Host& host, HostResult& result)
      : costs_(costs), load_(load), world_(world), host_(host), result_(result), core_({}, Generation{1}) {
    EpochPolicyConfig config;
    config.length = seconds(load.epoch_ms / 1e3);
    config.cut_on_output = load.cut_on_output;
    policy_ = std::make_unique<EpochPolicy>(config);
    core_.on_link_up(world.now());
  }

  void start() {
    // Guests do not begin in step.
    world_.after(world_.random(Duration(), seconds(load_.epoch_ms / 1e3)), "first", [this] { stop(); });
    next_request();
  }
  Duration paused() const { return paused_; }
  uint64_t epochs() const { return next_.value() - 1; }
  // How long output waits, in the mean over bytes that come evenly.
  double mean_wait_s() const { return ran_s_ > 0 ? waited_s2_ / ran_s_ : 0; }

 private:
  void next_request() {
    if (load_.requests <= 0) return;
    const double gap = -std::log(1 - uniform()) / load_.requests;
    world_.after(seconds(gap), "request", [this] {
      if (stopped_)
        late_.push_back(world_.now());  // it arrives while the guest stands, and is answered when it runs on
      else
        answer(world_.now());
      next_request();
    });
  }

  double uniform() { return static_cast<double>(world_.rng().below(1u << 30)) / (1u << 30); }

  void answer(Instant asked) {
    answers_.push_back({next_, asked});
    const Instant now = world_.now();
    if (!waiting_.any) waiting_.first = now;
    waiting_.any = true;
    waiting_.last = now;
    plan_cut();
  }

  void plan_cut() {
    const uint64_t plan = ++plan_;
    const Instant at = policy_->next_cut(waiting_);
    world_.after(std::max(Duration(), at - world_.now()), "cut", [this, plan] {
      if (plan == plan_ && !stopped_) stop();
    });
  }

  double dirty_pages() const {
    const double ran = (world_.now() - resumed_).to_seconds();
    const double rate = costs_.idle_pages_per_second + load_.pages + load_.mbit / 8 * costs_.pages_per_mbyte;
    // Pages are written again: the set of those written grows ever slower.
    return load_.working_set * (1 - std::exp(-rate * ran / load_.working_set));
  }

  void stop() {
    if (!core_.may_cut()) {
      blocked_ = true;
      return;
    }
    stopped_ = true;
    const double pages = dirty_pages();
    const Instant begun = world_.now();
    const Instant done = host_.cores.serve(begun, micros(costs_.pause_base_ms * 1e3 + costs_.pause_page_us * pages));
    world_.after(done - begun, "captured", [this, begun, pages] { run_on(begun, pages); });
  }

  void run_on(Instant begun, double pages) {
    const Instant now = world_.now();
    core_.on_cut(next_, now);
    policy_->on_cut(begun);
    policy_->on_resumed(now, now - begun);
    paused_ += now - begun;
    ship(next_, {begun, begun - resumed_, pages});
    ++next_;
    stopped_ = false;
    waiting_ = {};
    resumed_ = now;
    plan_cut();
    for (const Instant asked : late_) answer(asked);
    late_.clear();
  }

  struct Cut {
    Instant at;
    Duration ran;  // the guest, since it was stopped before
    double pages;
  };

  void ship(Epoch epoch, const Cut& cut) {
    const Instant encoded = host_.cores.serve(world_.now(), micros(costs_.encode_page_us * cut.pages));
    world_.after(encoded - world_.now(), "encoded", [this, epoch, cut] {
      const double bytes = costs_.device_state_bytes + costs_.page_wire_bytes * cut.pages;
      const Instant sent = host_.link.send(world_.now(), bytes) + kHalfRoundTrip;
      world_.after(sent - world_.now(), "received", [this, epoch, cut] {
        const Instant applied = host_.standby.serve(world_.now(), micros(costs_.apply_page_us * cut.pages));
        const Duration rest = applied - world_.now() + seconds(costs_.commit_fixed_ms / 1e3) + kHalfRoundTrip;
        world_.after(rest, "acknowledged", [this, epoch, cut] { commit(epoch, cut); });
      });
    });
  }

  void commit(Epoch epoch, const Cut& cut) {
    const Instant now = world_.now();
    core_.on_heard(now, now - kHalfRoundTrip * 2);
    US_CHECK(core_.on_ack(epoch, now));
    const Duration took = now - cut.at;
    result_.commit_ms.push_back(took.to_millis_f());
    // What was said during the epoch waits for the rest of it, and for this.
    ran_s_ += cut.ran.to_seconds();
    waited_s2_ += cut.ran.to_seconds() * (cut.ran.to_seconds() / 2 + took.to_seconds());
    while (!answers_.empty() && answers_.front().epoch <= epoch) {
      result_.hold_ms.push_back((now - answers_.front().asked).to_millis_f());
      answers_.pop_front();
    }
    if (std::exchange(blocked_, false)) stop();
  }

  struct Answer {
    Epoch epoch;
    Instant asked;
  };

  const Parameters& costs_;
  const Load& load_;
  World& world_;
  Host& host_;
  HostResult& result_;
  PrimaryCore core_;
  std::unique_ptr<EpochPolicy> policy_;
  Epoch next_{1};
  bool stopped_ = false, blocked_ = false;
  uint64_t plan_ = 0;
  Instant resumed_;
  Duration paused_;
  double ran_s_ = 0, waited_s2_ = 0;
  EpochPolicy::Waiting waiting_;
  std::deque<Answer> answers_;
  std::vector<Instant> late_;
};

}  // namespace

HostResult run_host(const Parameters& costs, const Load& load) {
  HostResult result;
  const double traffic = load.guests * load.mbit / 8 * 1e6;  // bytes a second
  const double log_share = traffic * costs.log_byte_ratio * 8 / (load.link_gbit * 1e9);
  const double relay_share =
      traffic * (costs.relay_byte_ns * 1e-9 + costs.relay_frame_us * 1e-6 / kSegmentBytes) / load.cores;
  result.overloaded = log_share > kShareMax || relay_share > kShareMax;
  World world(load.seed);
  // Cores that the relays take are not there for the epochs; the link likewise.
  const auto cores = std::max(1.0, std::floor(load.cores * (1 - std::min(relay_share, kShareMax)) + 0.5));
  Host host{Pool(static_cast<size_t>(cores)), Line(load.link_gbit * (1 - std::min(log_share, kShareMax))),
            Pool(static_cast<size_t>(load.cores))};
  std::vector<std::unique_ptr<Guest>> guests;
  for (int i = 0; i < load.guests; ++i) {
    guests.push_back(std::make_unique<Guest>(costs, load, world, host, result));
    guests.back()->start();
  }
  const Instant end = world.now() + seconds(load.seconds);
  while (world.now() < end && world.step()) {
  }
  double paused = 0, epochs = 0;
  for (const auto& guest : guests) {
    paused += guest->paused().to_seconds();
    epochs += static_cast<double>(guest->epochs());
    result.waiting_mb += load.mbit / 8 * guest->mean_wait_s();
  }
  result.pause_share = paused / load.seconds / load.guests;
  result.epochs_per_second = epochs / load.seconds / load.guests;
  const double left = std::max(0.0, 1 - log_share);
  result.link_share = std::min(1.0, log_share + host.link.busy().to_seconds() / load.seconds * left);
  result.core_share = std::min(1.0, relay_share + host.cores.busy().to_seconds() / load.seconds / load.cores);
  return result;
}

}  // namespace us::sim::scale
