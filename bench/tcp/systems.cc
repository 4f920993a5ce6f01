#include "tcp/systems.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "host/control_server.h"
#include "os/clock.h"

namespace us::bench {
namespace {

using demo::Cluster;
using nlohmann::json;

constexpr Duration kBoot = Duration::seconds(180);  // three guests on two processors that may be busy
// What a tick of the 25 ms default would cost the machine that is measured.
constexpr Duration kRestEpoch = Duration::seconds(1);
// For what the measurement before has left to come to an end.
constexpr Duration kSettle = Duration::millis(250);
constexpr const char* kMemory = "512M";

LinkConfig line_of(const Load& load, uint64_t seed) {
  return {.bits_per_second = static_cast<uint64_t>(load.mbit) * 1'000'000,
          .delay = Duration::micros(int64_t{500} * load.rtt_ms),
          .loss = load.loss,
          .queue_packets = static_cast<size_t>(load.queue_packets),
          .seed = seed};
}

Result<json> ask(const Cluster& cluster, const json& request) {
  const std::string runtime = (cluster.log_file(0).parent_path() / "runtime").string();
  return control_request(control_path(runtime, demo::kVmName), request);
}

}  // namespace

Systems::Systems(const Options& options, const std::atomic<bool>& interrupted,
                 std::function<void(const std::string&)> say)
    : options_(options), interrupted_(interrupted), say_(std::move(say)) {}

Client Systems::client(const Load& load) const { return {lab_->client(), demo::kGuestAddress, load.cc, interrupted_}; }

Status Systems::start(const std::vector<Setting>& settings) {
  const auto any = [&](const auto& holds) { return std::any_of(settings.begin(), settings.end(), holds); };
  const bool with_standby = any(is_protected);
  const bool with_stock = any([](const Setting& setting) { return setting.mode == "stock"; });
  const bool alone = with_stock || any([](const Setting& setting) { return setting.mode == "unprotected"; });
  say_("starting the machines");
  if (alone) {
    US_ASSIGN(solo_, begin_cluster("solo"));
  }
  if (with_standby) {
    US_ASSIGN(protected_, begin_cluster("protected"));
  }
  if (with_stock) US_TRY(begin_stock());
  if (alone) US_TRY(finish_cluster(*solo_, false));
  if (with_stock) US_TRY(finish_stock());
  if (!with_standby) return {};
  resting_ = false;
  return finish_cluster(*protected_, true);
}

Status Systems::prepare(const Load& load, const Setting& setting, uint64_t seed) {
  US_TRY(need(setting));
  if (!is_protected(setting)) US_TRY(rest());
  const bool stock = setting.mode == "stock";
  current_ = stock ? nullptr : is_protected(setting) ? protected_.get() : solo_.get();
  lab_ = stock ? &stock_->lab() : &current_->lab();
  US_TRY(lay(load, stock ? stock_line_ : is_protected(setting) ? protected_line_ : solo_line_, seed));
  if (!is_protected(setting)) return {};
  const bool adaptive = setting.epoch == "adaptive";
  US_TRY(set("tcp.mode=" + setting.mode));
  US_TRY(set(adaptive ? "epoch.policy=adaptive" : "epoch.policy=fixed"));
  if (!adaptive) US_TRY(set(fmt::format("epoch.length={}ms", setting.epoch)));
  // The epoch that was running when the length changed may have been a long one.
  return protected_->sleep(std::exchange(resting_, false) ? kRestEpoch + kSettle : kSettle);
}

Status Systems::need(const Setting& setting) {
  if (setting.mode != "stock") return need_cluster(is_protected(setting));
  if (stock_ && !stock_->poll_exit()) return {};
  say_("starting the stock machine");
  stock_.reset();
  US_TRY(need_cluster(false));
  US_TRY(begin_stock());
  return finish_stock();
}

Status Systems::need_cluster(bool with_standby) {
  auto& cluster = with_standby ? protected_ : solo_;
  const char* name = with_standby ? "protected" : "solo";
  if (cluster) {
    const auto status = cluster->status(0);
    if (status && status->state == name) return {};
    say_(fmt::format("the {} machine is lost ({})", name, status ? status->state : status.error().message));
    cluster.reset();
  }
  say_(fmt::format("starting the {} machine", name));
  US_ASSIGN(cluster, begin_cluster(name));
  (with_standby ? protected_line_ : solo_line_) = {};
  if (with_standby) resting_ = false;
  return finish_cluster(*cluster, with_standby);
}

Result<std::unique_ptr<Cluster>> Systems::begin_cluster(const char* name) {
  demo::ClusterOptions options;
  options.prefix = fmt::format("us-{}-{}", ::getpid(), name);
  options.program = options_.program;
  options.guest_dir = options_.guest_dir;
  options.memory = kMemory;
  options.detection = "2s";  // two hosts and two clients on a few processors: a busy standby is not a dead one
  options.wire = symmetric_wire({});
  options.interrupted = &interrupted_;
  US_ASSIGN(std::unique_ptr<Cluster> cluster, Cluster::create(options));
  if (options_.keep_files) cluster->keep_files();
  US_TRY(cluster->start_primary(0));
  return cluster;
}

Status Systems::finish_cluster(Cluster& cluster, bool with_standby) {
  US_TRY(cluster.wait_guest(kBoot));
  if (!with_standby) return {};
  US_TRY(cluster.start_standby(1));
  return cluster.wait_protected(0, kBoot);
}

Status Systems::begin_stock() {
  // The accelerator that understudy has chosen, which it does by trying.
  json status;
  US_TRY(solo_->wait_until("the choice of an accelerator", kBoot, [&]() -> Result<bool> {
    if (const Status running = solo_->daemon(0)->check_running(); !running) return tl::unexpected(running.error());
    US_ASSIGN(status, ask(*solo_, {{"command", "status"}}));
    return status.contains("accelerator");
  }));
  stock_line_ = {};
  US_ASSIGN(stock_, StockVm::start(fmt::format("us-{}-stock", ::getpid()), options_.guest_dir, kMemory,
                                   status.value("accelerator", "tcg"), symmetric_wire({})));
  return {};
}

Status Systems::finish_stock() {
  return solo_->wait_until("the guest of the stock machine", kBoot, [this]() -> Result<bool> {
    if (const auto exit = stock_->poll_exit()) return fail(ErrorKind::kRefused, *exit);
    return stock_->ready();
  });
}

Status Systems::lay(const Load& load, Line& line, uint64_t seed) {
  const auto wanted = load.wire ? demo::Lab::ClientLine::kWire : demo::Lab::ClientLine::kCable;
  lab_->wire()->configure(symmetric_wire(line_of(load, seed)));
  if (line.wire != load.wire) US_TRY(lab_->connect_client(wanted));
  // Programs that make their own sockets get it from the route.
  if (line.wire != load.wire || line.cc != load.cc) US_TRY(lab_->set_client_congestion_control(wanted, load.cc));
  line.wire = load.wire;
  line.cc = load.cc;
  if (line.mtu != load.mtu) {
    // The guest first or last, so that no packet is longer than a link on its way.
    if (load.mtu > line.mtu) US_TRY(lab_->set_mtu(load.mtu));
    US_TRY(run_in_guest(client(load), fmt::format("ip link set eth0 mtu {}", load.mtu)));
    if (load.mtu < line.mtu) US_TRY(lab_->set_mtu(load.mtu));
  }
  line.mtu = load.mtu;
  return {};
}

Status Systems::rest() {
  if (!protected_ || std::exchange(resting_, true)) return {};
  current_ = protected_.get();
  US_TRY(set("tcp.mode=buffered"));
  US_TRY(set("epoch.policy=fixed"));
  return set(fmt::format("epoch.length={}ms", kRestEpoch.to_millis()));
}

Status Systems::set(const std::string& assignment) const {
  US_TRY(ask(*current_, {{"command", "set"}, {"assignment", assignment}}));
  return {};
}

Result<json> Systems::status() const {
  if (current_ == nullptr) return json();
  return ask(*current_, {{"command", "status"}});
}

Result<json> Systems::flows() const {
  if (current_ == nullptr) return json();
  return ask(*current_, {{"command", "flows"}});
}

Status Systems::check() const {
  if (current_ == nullptr) return {};
  US_ASSIGN(const json now, status());
  const std::string wanted = current_ == protected_.get() ? "protected" : "solo";
  const std::string state = now.value("state", "");
  if (state == wanted) return {};
  return fail(ErrorKind::kSystem,
              fmt::format("the machine is {} now, not {}: {}", state, wanted, now.value("reason", "")));
}

}  // namespace us::bench
