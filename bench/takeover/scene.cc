#include "takeover/scene.h"

#include <fmt/format.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "demo/clients.h"
#include "host/control_server.h"
#include "os/clock.h"

namespace us::bench {
namespace {

using demo::Cluster;
using nlohmann::json;

constexpr Duration kBoot = Duration::seconds(90);
constexpr Duration kTakeoverLimit = Duration::seconds(30);
constexpr Duration kFenceLimit = Duration::seconds(10);
constexpr Duration kPoll = Duration::millis(10);
// Protected for at least so long before the fault, and up to so much more.
constexpr int64_t kMomentMinUs = 300'000, kMomentRangeUs = 700'000;
// After every client goes on: what a late second silence would have to show itself in.
constexpr Duration kAftermath = Duration::millis(600);
constexpr Duration kIdleRedisPause = Duration::millis(20);

Result<json> status_of(Cluster& cluster, size_t host) {
  const std::string runtime = (cluster.log_file(host).parent_path() / "runtime").string();
  return control_request(control_path(runtime, demo::kVmName), {{"command", "status"}}, Duration::seconds(5));
}

// Without the programs that Cluster's own waits run: they would take the processor from what is being measured.
Status wait_for(const std::string& what, Duration limit, const std::atomic<bool>& interrupted,
                const std::function<Result<bool>()>& holds) {
  for (const Instant deadline = clock_now() + limit; clock_now() < deadline;) {
    US_ASSIGN(const bool now, holds());
    if (now) return {};
    if (interrupted) return fail(ErrorKind::kRefused, "interrupted");
    ::usleep(static_cast<useconds_t>(kPoll.to_micros()));
  }
  return fail(ErrorKind::kTimeout, what + " did not happen in time");
}

}  // namespace

Result<std::unique_ptr<Scene>> Scene::start(const SceneOptions& options) {
  demo::ClusterOptions cluster;
  cluster.prefix = fmt::format("us-{}-takeover", ::getpid());
  cluster.program = options.program;
  cluster.guest_dir = options.guest_dir;
  cluster.memory = options.memory;
  cluster.epoch = fmt::format("{}ms", options.epoch_ms);
  cluster.interrupted = &options.interrupted;
  cluster.wire = symmetric_wire({.bits_per_second = static_cast<uint64_t>(options.mbit) * 1'000'000});
  US_ASSIGN(auto made, Cluster::create(cluster));
  std::unique_ptr<Scene> scene(new Scene(options, std::move(made)));
  US_TRY(scene->cluster_->start_primary(0));
  US_TRY(scene->cluster_->wait_guest(kBoot));
  US_TRY(scene->cluster_->start_standby(1));
  US_TRY(scene->wait_protected());
  for (StallClient* client : scene->clients()) client->start(scene->cluster_->lab().client());
  return scene;
}

Scene::Scene(const SceneOptions& options, std::unique_ptr<Cluster> cluster)
    : options_(options),
      rng_(options.seed),
      cluster_(std::move(cluster)),
      ping_(demo::kGuestAddress),
      redis_(demo::kGuestAddress, "takeover", options.loaded ? Duration::nanos(0) : kIdleRedisPause) {
  if (options.loaded) bulk_.emplace(demo::kGuestAddress, options.seed);
}

Scene::~Scene() {
  for (StallClient* client : clients()) client->finish(Duration::nanos(0));
}

std::vector<StallClient*> Scene::clients() {
  std::vector<StallClient*> all = {&ping_, &redis_};
  if (bulk_) all.push_back(&*bulk_);
  return all;
}

Status Scene::check_clients() {
  for (StallClient* client : clients())
    if (const auto why = client->failure())
      return fail(ErrorKind::kProtocol, fmt::format("{}: {}", client->name(), *why));
  return {};
}

Status Scene::wait_protected() {
  return wait_for("protection", kBoot, options_.interrupted, [this]() -> Result<bool> {
    for (size_t host = 0; host < demo::kHosts; ++host)
      if (cluster_->daemon(host)) US_TRY(cluster_->daemon(host)->check_running());
    const auto status = status_of(*cluster_, primary_);
    return status && status->value("state", "") == "protected";
  });
}

Result<Takeover> Scene::take_over() {
  US_TRY(cluster_->sleep(
      Duration::micros(kMomentMinUs + static_cast<int64_t>(rng_.below(static_cast<uint64_t>(kMomentRangeUs))))));
  US_TRY(check_clients());
  for (StallClient* client : clients()) client->arrivals().begin_anew();
  // What the plot of a stall shows before it.
  US_TRY(cluster_->sleep(Duration::millis(310)));
  Takeover out;
  out.struck = clock_now();
  US_TRY(options_.fault == Fault::kKill ? cluster_->power_off(primary_) : cluster_->pull_cables(primary_));
  // Longer than it takes to notice the fault: what arrives after that, the other host has sent.
  const Instant after = out.struck + Duration::millis(60);
  const Status going = wait_for("every client going on", kTakeoverLimit, options_.interrupted, [&]() -> Result<bool> {
    US_TRY(check_clients());
    for (StallClient* client : clients())
      if (!client->arrivals().any_since(after)) return false;
    return true;
  });
  if (!going) return tl::unexpected(going.error());
  US_TRY(cluster_->sleep(kAftermath));
  primary_ = 1 - primary_;
  US_ASSIGN(out.daemon, ask_new_primary());
  const Instant now = clock_now();
  for (StallClient* client : clients()) {
    const Arrivals& arrivals = client->arrivals();
    out.seen.push_back({client->name(), arrivals.longest(out.struck, now), arrivals.all()});
  }
  return out;
}

Result<DaemonTimes> Scene::ask_new_primary() {
  US_ASSIGN(const json status, status_of(*cluster_, primary_));
  const json list = status.value("takeovers", json::array());
  if (list.empty() || !list.back().contains("at_ns"))
    return fail(ErrorKind::kProtocol, "the new primary does not tell of its takeover");
  const json& at = list.back()["at_ns"];
  const auto instant = [&at](const char* name) { return Instant::from_nanos(at.value(name, int64_t{0})); };
  return DaemonTimes{instant("last_heard"), instant("decided"),   instant("granted"),
                     instant("restored"),   instant("announced"), instant("resumed")};
}

Status Scene::protect_again() {
  const size_t old = 1 - primary_;
  if (options_.fault == Fault::kCutNetwork) {
    US_TRY(cluster_->wait_role(old, "fenced", kFenceLimit));
    US_TRY(cluster_->power_off(old));
  }
  US_TRY(cluster_->power_on(old));
  US_TRY(cluster_->start_standby(old));
  return wait_protected();
}

Status Scene::finish() {
  US_TRY(check_clients());
  for (StallClient* client : clients()) client->finish(Duration::seconds(10));
  US_TRY(check_clients());
  US_ASSIGN(const uint64_t counted,
            demo::read_redis_counter(cluster_->lab().client(), demo::kGuestAddress, redis_.key()));
  if (counted < redis_.acknowledged())
    return fail(ErrorKind::kProtocol, fmt::format("{} acknowledged writes are gone", redis_.acknowledged() - counted));
  return {};
}

}  // namespace us::bench
