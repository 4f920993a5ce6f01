#include "disk/systems.h"

#include <fmt/format.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "disk/load.h"
#include "host/control_server.h"

namespace us::bench {
namespace {

using demo::Cluster;
using nlohmann::json;

constexpr Duration kBoot = Duration::seconds(120);
constexpr Duration kSync = Duration::seconds(180);
constexpr Duration kSettle = Duration::millis(1500);
constexpr const char* kRestEpoch = "1s";
constexpr const char* kMemory = "512M";

Result<json> ask(const Cluster& cluster, const json& request) {
  const std::string runtime = (cluster.log_file(0).parent_path() / "runtime").string();
  return control_request(control_path(runtime, demo::kVmName), request);
}

}  // namespace

const std::vector<std::string>& disk_modes() {
  static const std::vector<std::string> kModes = {"stock", "unprotected", "replicated", "shared"};
  return kModes;
}

DiskSystems::DiskSystems(const DiskOptions& options, const std::atomic<bool>& interrupted,
                         std::function<void(const std::string&)> say)
    : options_(options), interrupted_(interrupted), say_(std::move(say)) {}

Status DiskSystems::start(const std::vector<std::string>& modes) {
  US_ASSIGN(clusters_["unprotected"], start_cluster("unprotected"));
  for (const std::string& mode : modes) {
    if (mode == "stock") US_TRY(start_stock());
    if (!is_protected_mode(mode)) continue;
    US_ASSIGN(clusters_[mode], start_cluster(mode));
    US_TRY(set_epoch(mode, kRestEpoch));
  }
  for (const std::string& mode : modes) {
    current_ = mode;
    say_(fmt::format("{}: writing fio's file", mode));
    US_TRY(run(fio_file_commands()));
  }
  return {};
}

Result<std::unique_ptr<Cluster>> DiskSystems::start_cluster(const std::string& mode) {
  say_(fmt::format("{}: starting", mode));
  demo::ClusterOptions options;
  options.prefix = fmt::format("us-{}-{}", ::getpid(), mode);
  options.program = options_.program;
  options.guest_dir = options_.guest_dir;
  options.disk_image = options_.disk_image;
  options.disk_is_shared = mode == "shared";
  // A shared disk goes past the page cache in any case.
  if (!options.disk_is_shared) options.disk_keys = fmt::format("cache = \"{}\"\n", options_.cache);
  options.memory = kMemory;
  options.detection = "2s";  // several hosts on a few processors: a busy standby is not a dead one
  options.interrupted = &interrupted_;
  US_ASSIGN(std::unique_ptr<Cluster> cluster, Cluster::create(options));
  if (options_.keep_files) cluster->keep_files();
  US_TRY(cluster->start_primary(0));
  US_TRY(cluster->wait_guest(kBoot));
  if (!is_protected_mode(mode)) return cluster;
  say_(fmt::format("{}: first synchronisation", mode));
  US_TRY(cluster->start_standby(1));
  US_TRY(cluster->wait_protected(0, kSync));
  return cluster;
}

// With the accelerator that understudy has chosen, which it does by trying.
Status DiskSystems::start_stock() {
  say_("stock: starting");
  Cluster& beside = *clusters_.at("unprotected");
  US_ASSIGN(const json status, ask(beside, {{"command", "status"}}));
  US_ASSIGN(stock_, StockVm::start(fmt::format("us-{}-stock", ::getpid()), options_.guest_dir, kMemory,
                                   status.value("accelerator", "tcg"), symmetric_wire({}),
                                   {.image = options_.disk_image, .cache_is_direct = options_.cache == "none"}));
  US_TRY(stock_->lab().connect_client(demo::Lab::ClientLine::kCable));
  return beside.wait_until("the guest of the stock machine", kBoot, [this]() -> Result<bool> {
    if (const auto exit = stock_->poll_exit()) return fail(ErrorKind::kRefused, *exit);
    return stock_->ready();
  });
}

Status DiskSystems::prepare(const std::string& mode) {
  for (const auto& [other, cluster] : clusters_)
    if (is_protected_mode(other)) US_TRY(set_epoch(other, other == mode ? options_.epoch : kRestEpoch));
  current_ = mode;
  // The epoch that was running when the length changed may have been a long one.
  return clusters_.at("unprotected")->sleep(kSettle);
}

Status DiskSystems::set_epoch(const std::string& mode, const std::string& length) const {
  US_TRY(ask(*clusters_.at(mode), {{"command", "set"}, {"assignment", "epoch.length=" + length}}));
  return {};
}

Result<std::string> DiskSystems::run(const std::string& line) {
  if (current_ == "stock") return demo::run_in_guest(stock_->lab().client(), line);
  return clusters_.at(current_)->run_in_guest(line);
}

Result<double> DiskSystems::paused_ms() const {
  if (!is_protected_mode(current_)) return 0.0;
  US_ASSIGN(const json status, ask(*clusters_.at(current_), {{"command", "status"}}));
  return status.value("guest_clock_lag_ms", 0.0);
}

Status DiskSystems::check() const {
  if (current_ == "stock") return {};
  US_ASSIGN(const json now, ask(*clusters_.at(current_), {{"command", "status"}}));
  const std::string wanted = is_protected_mode(current_) ? "protected" : "solo";
  const std::string state = now.value("state", "");
  if (state == wanted) return {};
  return fail(ErrorKind::kSystem,
              fmt::format("the machine is {} now, not {}: {}", state, wanted, now.value("reason", "")));
}

}  // namespace us::bench
