#include "demo/story.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>

#include "base/rng.h"
#include "demo/clients.h"
#include "demo/cluster.h"
#include "demo/console.h"
#include "demo/disk_check.h"
#include "os/clock.h"

namespace us::demo {
namespace {

constexpr Duration kBootLimit = Duration::seconds(90);
constexpr Duration kProtectLimit = Duration::seconds(90);
constexpr Duration kTakeoverLimit = Duration::seconds(30);
constexpr Duration kFenceLimit = Duration::seconds(10);
constexpr Duration kFinishLimit = Duration::seconds(60);
constexpr Duration kGiveUpLimit = Duration::seconds(3);
constexpr Duration kShutdownLimit = Duration::seconds(60);
constexpr int64_t kMomentMinUs = 1'500'000;
constexpr int64_t kMomentMaxUs = 4'000'000;
// After all clients go on: what a late second stall would have to show itself in.
constexpr Duration kAftermath = Duration::seconds(1);

class Story {
 public:
  Story(const DemoOptions& options, const std::atomic<bool>& interrupted, DemoFigures& figures)
      : options_(options), interrupted_(interrupted), figures_(figures), rng_(options.seed) {}
  ~Story();

  // Fills in the figures, failures included, and judges them.
  void run();
  const Console& console() const { return console_; }

 private:
  Status tell();
  Status set_up();
  Status first_act();
  Status protect();
  Status round(uint64_t number);
  Status audit();
  Status strike();
  Status see_takeover(Instant struck, const Clients::Marks& before);
  Status see_fence();
  Status bring_back_old_host();
  Status last_act();
  Status shut_down();
  Status check_disks();
  void on_wait();
  void watch_primary();
  void close_session();
  Status check_clients() const;
  std::string progress_line() const;
  const char* primary_name() const { return kHostNames[primary_]; }
  const char* other_name() const { return kHostNames[1 - primary_]; }

  const DemoOptions& options_;
  const std::atomic<bool>& interrupted_;
  DemoFigures& figures_;
  Rng rng_;
  Console console_;
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<Clients> clients_;
  size_t primary_ = 0;
  bool watching_ = false;  // whether the primary can be asked
  DaemonStatus last_status_;
  uint64_t session_epochs_ = 0;  // committed between this primary and this standby
};

Story::~Story() {
  if (!cluster_) return;
  const bool keep = options_.keep || !figures_.green();
  if (keep) {
    cluster_->keep_files();
    console_.plain(fmt::format("Logs and files are in {}\n", cluster_->directory().string()));
  }
}

Status Story::tell() {
  US_TRY(set_up());
  US_TRY(first_act());
  US_TRY(protect());
  for (uint64_t number = 1; number <= options_.rounds; ++number) {
    US_TRY(round(number));
    if (number == options_.rounds && !options_.disk) break;
    US_TRY(bring_back_old_host());
    US_TRY(protect());
  }
  watch_primary();
  close_session();
  console_.event("the clients complete what they have begun");
  return {};
}

void Story::run() {
  const Status told = tell();
  if (!told) figures_.failures.push_back(told.error().message);
  if (interrupted_) return;
  if (clients_) {
    clients_->finish(told ? kFinishLimit : kGiveUpLimit);
    clients_->report(figures_);
  }
  if (const Status ended = told && options_.disk ? last_act() : Status(); !ended)
    figures_.failures.push_back(ended.error().message);
  figures_.judge();
}

Status Story::set_up() {
  console_.event(fmt::format("seed {} (repeat this run with --seed {})", options_.seed, options_.seed));
  US_ASSIGN(cluster_, Cluster::create({.prefix = fmt::format("us-{}", ::getpid()),
                                       .program = options_.program,
                                       .guest_dir = options_.guest_dir,
                                       .disk_image = options_.disk ? options_.disk_image : "",
                                       .memory = options_.memory,
                                       .cpus = options_.cpus,
                                       .epoch = options_.epoch,
                                       .detection = options_.detection,
                                       .interrupted = &interrupted_,
                                       .on_wait = [this] { on_wait(); }}));
  console_.event("network ready: client, switch, host A and host B, each a network namespace");
  return {};
}

Status Story::first_act() {
  US_TRY(cluster_->start_primary(primary_));
  console_.event(fmt::format("host A starts the guest: {}, {} vCPU, epochs of {}", options_.memory, options_.cpus,
                             options_.epoch));
  US_TRY(cluster_->wait_guest(kBootLimit));
  clients_ = std::make_unique<Clients>(cluster_->lab().client(), options_.ipv6 ? kGuestAddress6 : kGuestAddress,
                                       options_.download_mib << 20, options_.seed, options_.disk);
  clients_->start();
  clients_->ping().measure_round_trips(false);
  console_.event(fmt::format("guest is up; redis INCR, a download, a 5 ms ping-pong{} begin, each over one connection",
                             options_.disk ? " and transactions in PostgreSQL" : ""));
  return cluster_->start_standby(1);
}

Status Story::protect() {
  watching_ = true;
  const Instant from = clock_now();
  US_TRY(cluster_->wait_protected(primary_, kProtectLimit));
  watch_primary();
  console_.headline(
      fmt::format("PROTECTED: host {} runs the guest, host {} holds its last epoch ({:.1f} s to get there)",
                  primary_name(), other_name(), (clock_now() - from).to_seconds()));
  clients_->ping().measure_round_trips(true);
  return check_clients();
}

Status Story::round(uint64_t number) {
  US_TRY(cluster_->sleep(Duration::micros(rng_.between(kMomentMinUs, kMomentMaxUs))));
  US_TRY(check_clients());
  watch_primary();
  close_session();
  clients_->ping().measure_round_trips(false);
  US_TRY(audit());
  const Clients::Marks before = clients_->marks();
  const Instant struck = clock_now();
  US_TRY(strike());
  console_.headline(fmt::format("round {}: host {} is {}", number, primary_name(),
                                options_.fault == Fault::kKill ? "DEAD (links silent, every process killed)"
                                                               : "CUT OFF (both cables pulled, its processes run on)"));
  primary_ = 1 - primary_;
  US_TRY(see_takeover(struck, before));
  return options_.fault == Fault::kCutNetwork ? see_fence() : Status();
}

// Right before the fault, so that what takes over was known to be equal a moment ago.  Its pause is in no figure.
Status Story::audit() {
  US_ASSIGN(const uint64_t pages, cluster_->audit(primary_));
  ++figures_.audits;
  figures_.audited_pages += pages;
  console_.event(fmt::format("audit under load: {} pages of the guest's RAM are the same on both hosts", pages));
  return check_clients();
}

Status Story::strike() {
  watching_ = false;
  last_status_ = {};
  return options_.fault == Fault::kKill ? cluster_->power_off(primary_) : cluster_->pull_cables(primary_);
}

Status Story::see_takeover(Instant struck, const Clients::Marks& before) {
  US_TRY(cluster_->wait_role(primary_, "primary", kTakeoverLimit));
  watching_ = true;
  US_TRY(cluster_->wait_until("every client going on after the takeover", kTakeoverLimit, [&]() -> Result<bool> {
    if (const auto why = clients_->failure()) return fail(ErrorKind::kProtocol, *why);
    return clients_->all_beyond(before);
  }));
  US_TRY(cluster_->sleep(kAftermath));
  const double stall_ms = clients_->ping().replies().longest_silence(struck, clock_now()).to_millis_f();
  figures_.stall_ms.push_back(stall_ms);
  US_ASSIGN(const DaemonStatus now, cluster_->status(primary_));
  if (now.takeovers.empty())
    return fail(ErrorKind::kProtocol, fmt::format("host {} is primary but reports no takeover", primary_name()));
  const TakeoverStatus& takeover = now.takeovers.back();
  figures_.takeovers.push_back(takeover);
  console_.headline(fmt::format(
      "host {} TOOK OVER as generation {}: clients saw {:.0f} ms of silence (detection {:.0f}, "
      "arbitration {:.0f}, restore {:.0f} ms)",
      primary_name(), now.generation, stall_ms, takeover.detection_ms, takeover.arbitration_ms, takeover.restore_ms));
  return check_clients();
}

// The old primary cannot know whether the other side lives.  It must have stopped its guest, and stay so when it
// hears the network again.
Status Story::see_fence() {
  const size_t old = 1 - primary_;
  US_TRY(cluster_->wait_role(old, "fenced", kFenceLimit));
  US_TRY(cluster_->wait_until("the end of the old primary's QEMU", kFenceLimit,
                              [&]() -> Result<bool> { return !cluster_->has_qemu(old); }));
  console_.event(fmt::format("host {} has fenced itself: its QEMU is gone", other_name()));
  US_TRY(cluster_->plug_cables(old));
  US_TRY(cluster_->sleep(kAftermath));
  US_ASSIGN(const DaemonStatus now, cluster_->status(old));
  if (now.role != "fenced" || cluster_->has_qemu(old))
    return fail(ErrorKind::kProtocol,
                fmt::format("host {} did not stay fenced when its cables were plugged in again: it is {}", other_name(),
                            now.role));
  console_.event(fmt::format("cables plugged in again: host {} stays fenced", other_name()));
  return check_clients();
}

Status Story::bring_back_old_host() {
  const size_t old = 1 - primary_;
  if (options_.fault == Fault::kCutNetwork) US_TRY(cluster_->power_off(old));
  US_TRY(cluster_->power_on(old));
  US_TRY(cluster_->start_standby(old));
  console_.event(fmt::format("host {} is back, freshly booted, and attaches as the new standby", other_name()));
  return {};
}

// With a disk: what is left of it when everybody has gone home.
Status Story::last_act() {
  if (!figures_.disk) figures_.disk.emplace();
  watching_ = false;
  US_TRY(check_database(*cluster_));
  figures_.disk->amcheck_clean = true;
  console_.event("pg_amcheck finds both databases clean");
  US_TRY(shut_down());
  return check_disks();
}

Status Story::shut_down() {
  US_TRY(cluster_->tell_guest("poweroff"));
  US_TRY(cluster_->wait_exit(primary_, kShutdownLimit));
  US_TRY(cluster_->wait_exit(1 - primary_, kShutdownLimit));
  console_.event("the guest has shut down, and with it both hosts' daemons");
  return {};
}

Status Story::check_disks() {
  for (size_t host = 0; host < kHosts; ++host) US_TRY(check_file_system(*cluster_, host));
  figures_.disk->fsck_clean = true;
  US_TRY(compare_images(*cluster_));
  figures_.disk->images_equal = true;
  console_.event("e2fsck finds both images clean, and they are equal byte by byte");
  return {};
}

void Story::on_wait() {
  if (!console_.wants_progress()) return;
  watch_primary();
  console_.progress(progress_line());
}

void Story::watch_primary() {
  if (!watching_ || !cluster_) return;
  auto now = cluster_->status(primary_);
  if (!now) return;
  last_status_ = std::move(*now);
  if (last_status_.state == "protected") session_epochs_ = std::max(session_epochs_, last_status_.committed_epoch);
  if (!last_status_.pause_p99_ms || figures_.pause_p99_ms > last_status_.pause_p99_ms) return;
  figures_.pause_p50_ms = last_status_.pause_p50_ms;
  figures_.pause_p99_ms = last_status_.pause_p99_ms;
}

// Epoch numbers begin anew with each standby.
void Story::close_session() { figures_.epochs += std::exchange(session_epochs_, 0); }

Status Story::check_clients() const {
  if (const auto why = clients_->failure()) return fail(ErrorKind::kProtocol, *why);
  return {};
}

std::string Story::progress_line() const {
  if (last_status_.role.empty()) return fmt::format("waiting for host {}", primary_name());
  std::string out = fmt::format("host {} {}", primary_name(), last_status_.state);
  if (last_status_.state == "syncing") out += fmt::format(" {:.0f} %", last_status_.sync_progress * 100);
  if (last_status_.epoch > 0) out += fmt::format(", epoch {}", last_status_.epoch);
  if (!clients_) return out;
  if (const LedgerClient* ledger = clients_->ledger()) out += fmt::format(" | {} transactions", ledger->acknowledged());
  return out + fmt::format(" | {} writes | {:.0f} MB downloaded | ping-pong {:.0f} ms",
                           clients_->redis().acknowledged(), static_cast<double>(clients_->download().bytes()) / 1e6,
                           clients_->ping().replies().round_trip(0.5).to_millis_f());
}

void fill_in_defaults(DemoOptions& options) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  if (options.program.empty()) options.program = self.string();
  if (options.guest_dir.empty()) options.guest_dir = (self.parent_path().parent_path() / "guest").string();
  if (options.disk_image.empty())
    options.disk_image = (self.parent_path().parent_path() / "guest-debian/disk.img").string();
  // Few digits: somebody may have to type it.
  while (options.seed == 0) options.seed = std::random_device()() % 1'000'000;
}

}  // namespace

int run_demo(DemoOptions options, const std::atomic<bool>& interrupted) {
  fill_in_defaults(options);
  DemoFigures figures;
  figures.fault = options.fault;
  figures.seed = options.seed;
  figures.memory = options.memory;
  figures.epoch = options.epoch;
  figures.rounds_wanted = options.rounds;
  if (::geteuid() != 0) {
    std::fputs("understudy demo: it makes network namespaces, so run it as root\n", stderr);
    return 1;
  }
  Story story(options, interrupted, figures);
  story.run();
  story.console().plain(to_text(figures, story.console().colour()));
  if (options.json_file.empty()) return figures.green() ? 0 : 1;
  std::ofstream out(options.json_file);
  out << to_json(figures);
  out.close();
  if (!out) std::fprintf(stderr, "understudy demo: cannot write %s\n", options.json_file.c_str());
  return figures.green() && out ? 0 : 1;
}

}  // namespace us::demo
