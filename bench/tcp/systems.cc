#include "tcp/systems.h"

#include <fmt/format.h>
#include <unistd.h>

#include <utility>

#include "base/check.h"
#include "host/control_server.h"
#include "os/clock.h"

namespace us::bench {
namespace {

using demo::Cluster;
using nlohmann::json;

constexpr Duration kBoot = Duration::seconds(90);
// What a tick of the 25 ms default would cost the machine that is measured.
constexpr const char* kRestEpoch = "epoch.length=1s";
constexpr const char* kMemory = "512M";

LinkConfig line_of(const Load& load, const Options& options, uint64_t seed) {
  return {.bits_per_second = static_cast<uint64_t>(options.mbit) * 1'000'000,
          .delay = Duration::micros(int64_t{500} * load.rtt_ms),
          .loss = load.loss,
          .queue_packets = static_cast<size_t>(options.queue_packets),
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

Status Systems::prepare(const Load& load, const Setting& setting, uint64_t seed) {
  US_TRY(need(setting));
  if (!is_protected(setting)) US_TRY(rest());
  current_ = setting.mode == "stock" ? nullptr : is_protected(setting) ? protected_.get() : solo_.get();
  lab_ = current_ == nullptr ? &stock_->lab() : &current_->lab();
  US_TRY(lay(load, seed));
  if (!is_protected(setting)) return {};
  resting_ = false;
  US_TRY(set("tcp.mode=" + setting.mode));
  US_TRY(set(fmt::format("epoch.length={}ms", setting.epoch_ms)));
  // The epoch that was running when the length changed may have been a long one.
  return protected_->sleep(Duration::millis(1100));
}

Status Systems::need(const Setting& setting) {
  if (setting.mode == "stock") return stock_ && !stock_->poll_exit() ? Status{} : start_stock();
  auto& cluster = is_protected(setting) ? protected_ : solo_;
  if (cluster) {
    const auto status = cluster->status(0);
    if (status && status->state == (is_protected(setting) ? "protected" : "solo")) return {};
    say_(fmt::format("the {} machine is lost ({}); starting it again", is_protected(setting) ? "protected" : "solo",
                     status ? status->state : status.error().message));
    cluster.reset();
  }
  US_ASSIGN(cluster, start_cluster(is_protected(setting) ? "protected" : "solo", is_protected(setting)));
  if (is_protected(setting)) resting_ = false;
  return {};
}

Result<std::unique_ptr<Cluster>> Systems::start_cluster(const char* name, bool with_standby) {
  say_(fmt::format("starting the {} machine", name));
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
  US_TRY(cluster->wait_guest(kBoot));
  if (!with_standby) return cluster;
  US_TRY(cluster->start_standby(1));
  US_TRY(cluster->wait_protected(0, kBoot));
  return cluster;
}

Status Systems::start_stock() {
  say_("starting the stock machine");
  stock_.reset();
  // The accelerator that understudy has chosen, which it does by trying.
  US_TRY(need({"unprotected", 0}));
  US_ASSIGN(const json status, ask(*solo_, {{"command", "status"}}));
  US_ASSIGN(stock_, StockVm::start(fmt::format("us-{}-stock", ::getpid()), options_.guest_dir, kMemory,
                                   status.value("accelerator", "tcg"), symmetric_wire({})));
  return solo_->wait_until("the guest of the stock machine", kBoot, [this]() -> Result<bool> {
    if (const auto exit = stock_->poll_exit()) return fail(ErrorKind::kRefused, *exit);
    return stock_->ready();
  });
}

Status Systems::lay(const Load& load, uint64_t seed) {
  lab_->wire()->configure(symmetric_wire(line_of(load, options_, seed)));
  return lab_->connect_client(load.wire ? demo::Lab::ClientLine::kWire : demo::Lab::ClientLine::kCable);
}

Status Systems::rest() {
  if (!protected_ || std::exchange(resting_, true)) return {};
  current_ = protected_.get();
  US_TRY(set("tcp.mode=buffered"));
  return set(kRestEpoch);
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

Result<std::string> Systems::run_in_guest(const std::string& line) {
  US_CHECK(current_ != nullptr);
  return current_->run_in_guest(line);
}

}  // namespace us::bench
