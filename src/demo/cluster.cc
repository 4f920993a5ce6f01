#include "demo/cluster.h"

#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "demo/command.h"
#include "demo/stream.h"
#include "os/clock.h"

namespace us::demo {
namespace {

namespace fs = std::filesystem;

constexpr Duration kAuditLimit = Duration::seconds(60);  // it waits for its turn among the epochs
constexpr Duration kTick = Duration::millis(50);
constexpr Duration kCopyLimit = Duration::seconds(60);

void sleep_for(Duration length) {
  const int64_t nanos = std::max<int64_t>(length.to_nanos(), 0);
  const timespec wait{nanos / 1'000'000'000, nanos % 1'000'000'000};
  ::nanosleep(&wait, nullptr);
}

Status write_file(const fs::path& path, const std::string& text) {
  std::ofstream out(path);
  out << text;
  out.close();
  if (!out) return fail(ErrorKind::kSystem, fmt::format("cannot write {}", path.string()));
  return {};
}

bool says_ready(const fs::path& serial_log) {
  std::ifstream in(serial_log);
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("guest ready")) return true;
  return false;
}

enum class Until { kSent, kSameLength, kEnd };

// Sends `line` to a service of the guest and returns the answer: none, as long as the line, or all of it.
Result<std::string> exchange(const NetNs& ns, uint16_t port, const std::string& line, Until until) {
  US_TRY(ns.enter());
  const std::atomic<bool> never = false;
  US_ASSIGN(Stream stream, Stream::connect(kGuestAddress, port, never));
  US_TRY(stream.send(line));
  std::string answer;
  if (until == Until::kSent) return answer;
  for (uint8_t chunk[4096]; until == Until::kEnd || answer.size() < line.size();) {
    const auto n = stream.receive(chunk);
    if (!n && until == Until::kEnd && n.error().kind == ErrorKind::kProtocol) break;
    if (!n) return tl::unexpected(n.error());
    answer.append(reinterpret_cast<const char*>(chunk), *n);
  }
  return answer;
}

Result<std::string> exchange_in_thread(const NetNs& ns, uint16_t port, const std::string& line, Until until) {
  Result<std::string> answer;
  std::thread([&] { answer = exchange(ns, port, line, until); }).join();
  return answer;
}

Status check_guest_files(const std::string& guest_dir) {
  for (const char* name : {"vmlinuz", "initrd.cpio"})
    if (!fs::exists(fs::path(guest_dir) / name))
      return fail(ErrorKind::kInput,
                  fmt::format("{}/{} is missing: build the guest first (./do guest)", guest_dir, name));
  return {};
}

Status check_disk_image(const std::string& image) {
  if (image.empty() || fs::exists(image)) return {};
  return fail(ErrorKind::kInput, fmt::format("{} is missing: build the guest first (./do guest)", image));
}

}  // namespace

std::string process_name(pid_t pid) {
  std::ifstream in(fmt::format("/proc/{}/comm", pid));
  std::string name;
  std::getline(in, name);
  return name;
}

Result<std::unique_ptr<Cluster>> Cluster::create(ClusterOptions options) {
  US_TRY(check_guest_files(options.guest_dir));
  US_TRY(check_disk_image(options.disk_image));
  Lab::sweep();
  US_ASSIGN(Lab lab, Lab::create(options.prefix, options.wire));
  const fs::path directory = fs::temp_directory_path() / ("understudy-" + options.prefix);
  std::unique_ptr<Cluster> cluster(new Cluster(std::move(options), std::move(lab), directory));
  US_TRY(cluster->write_files());
  return cluster;
}

Cluster::Cluster(ClusterOptions options, Lab lab, fs::path directory)
    : options_(std::move(options)), lab_(std::move(lab)), directory_(std::move(directory)) {}

Cluster::~Cluster() {
  for (size_t host = 0; host < kHosts; ++host) static_cast<void>(lab_.host(host).kill_processes());
  std::error_code error;
  if (!keep_files_) fs::remove_all(directory_, error);
}

Status Cluster::write_files() {
  std::error_code error;
  fs::remove_all(directory_, error);
  fs::create_directories(directory_ / "arbiter", error);
  for (size_t host = 0; host < kHosts; ++host) {
    fs::create_directories(host_directory(host) / "runtime", error);
    US_TRY(write_file(vm_file(host), vm_file_text(host)));
  }
  if (!options_.disk_image.empty())
    US_TRY(run_checked({"cp", "--sparse=always", "--reflink=auto", options_.disk_image, disk_image(0).string()},
                       kCopyLimit));
  return {};
}

std::string Cluster::vm_file_text(size_t host) const {
  return fmt::format(R"(name = "{name}"
memory = "{memory}"
cpus = {cpus}
accelerator = "{accelerator}"
{cpu}kernel = "{guest}/vmlinuz"
initrd = "{guest}/initrd.cpio"
append = "console=ttyS0 quiet us.ip={ip}/24 us.ip6={ip6}/64{root}"
serial_log = "{serial}"

{disk}[[nic]]
bridge = "{bridge}"

[epoch]
length = "{epoch}"

[audit]
every = {audit}

[replication]
hosts = ["{a}:7400", "{b}:7400"]
detection = "{detection}"

[arbiter]
path = "{arbiter}"
)",
                     fmt::arg("name", kVmName), fmt::arg("memory", options_.memory), fmt::arg("cpus", options_.cpus),
                     fmt::arg("accelerator", options_.accelerator),
                     fmt::arg("cpu", options_.cpu.empty() ? "" : fmt::format("cpu = \"{}\"\n", options_.cpu)),
                     fmt::arg("guest", fs::absolute(options_.guest_dir).string()), fmt::arg("ip", kGuestAddress),
                     fmt::arg("root", options_.disk_image.empty() ? "" : " us.root=/dev/vda"),
                     fmt::arg("disk", disk_text(host)), fmt::arg("ip6", kGuestAddress6),
                     fmt::arg("serial", serial_log(host).string()), fmt::arg("bridge", kHostBridge),
                     fmt::arg("epoch", options_.epoch), fmt::arg("audit", options_.audit_every),
                     fmt::arg("a", kReplicationAddress[0]), fmt::arg("b", kReplicationAddress[1]),
                     fmt::arg("detection", options_.detection), fmt::arg("arbiter", (directory_ / "arbiter").string()));
}

std::string Cluster::disk_text(size_t host) const {
  if (options_.disk_image.empty()) return "";
  return fmt::format("[[disk]]\nfile = \"{}\"\nsize = \"{}M\"\nstorage = \"{}\"\n{}\n", disk_image(host).string(),
                     fs::file_size(options_.disk_image) >> 20, options_.disk_is_shared ? "shared" : "replicated",
                     options_.disk_keys);
}

Status Cluster::start(size_t host, const std::string& verb, const std::vector<std::string>& extra_arguments) {
  daemons_[host].reset();
  US_ASSIGN(HostDaemon started, HostDaemon::start(lab_.host(host), verb,
                                                  {.program = options_.program,
                                                   .vm_file = vm_file(host),
                                                   .runtime_dir = host_directory(host) / "runtime",
                                                   .log = log_file(host)},
                                                  extra_arguments));
  daemons_[host].emplace(std::move(started));
  return {};
}

Result<DaemonStatus> Cluster::status(size_t host) {
  if (!daemons_[host]) return fail(ErrorKind::kRefused, fmt::format("nothing runs on host {}", kHostNames[host]));
  return daemons_[host]->status(kVmName);
}

Result<uint64_t> Cluster::audit(size_t host) {
  if (!daemons_[host]) return fail(ErrorKind::kRefused, fmt::format("nothing runs on host {}", kHostNames[host]));
  US_ASSIGN(const std::string text, daemons_[host]->command("audit", {kVmName, "--json"}, kAuditLimit));
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) return fail(ErrorKind::kProtocol, "this is not the result of an audit: " + text);
  return json.value("pages", uint64_t{0});
}

Status Cluster::power_off(size_t host) {
  US_TRY(lab_.power_off(host));
  daemons_[host].reset();
  // What a machine forgets when it loses power.
  std::error_code error;
  fs::remove_all(host_directory(host) / "runtime", error);
  fs::create_directories(host_directory(host) / "runtime", error);
  return {};
}

Status Cluster::pull_cables(size_t host) {
  US_TRY(lab_.set_replication_cable(host, false));
  return lab_.set_lan_cable(host, false);
}

Status Cluster::plug_cables(size_t host) {
  US_TRY(lab_.set_replication_cable(host, true));
  return lab_.set_lan_cable(host, true);
}

bool Cluster::has_qemu(size_t host) const {
  const auto pids = lab_.host(host).processes();
  return std::any_of(pids.begin(), pids.end(), [](pid_t pid) { return process_name(pid).starts_with("qemu-system"); });
}

Status Cluster::wait_until(const std::string& what, Duration limit, const std::function<Result<bool>()>& holds) {
  const Instant deadline = clock_now() + limit;
  for (;;) {
    options_.on_wait();
    const auto answer = holds();
    if (answer && *answer) return {};
    if (!answer && answer.error().kind == ErrorKind::kRefused) return tl::unexpected(answer.error());
    if (options_.interrupted != nullptr && *options_.interrupted) return fail(ErrorKind::kRefused, "interrupted");
    if (clock_now() >= deadline)
      return fail(ErrorKind::kTimeout, fmt::format("{} did not happen in {:.1f} s{}", what, limit.to_seconds(),
                                                   answer ? "" : ": " + answer.error().message));
    sleep_for(kTick);
  }
}

Status Cluster::wait_guest(Duration limit) {
  return wait_until("the guest answering the client", limit, [this]() -> Result<bool> {
    for (size_t host = 0; host < kHosts; ++host)
      if (daemons_[host]) US_TRY(daemons_[host]->check_running());
    // Asked before it listens, the guest would be silent, and the client's kernel slow to ask again.
    if (!says_ready(serial_log(0)) && !says_ready(serial_log(1))) return false;
    US_ASSIGN(const std::string echoed, exchange_in_thread(lab_.client(), 7, "hello", Until::kSameLength));
    US_ASSIGN(const std::string pong, exchange_in_thread(lab_.client(), 6379, "PING\r\n", Until::kSameLength));
    return echoed == "hello" && pong.starts_with("+PONG");
  });
}

Status Cluster::wait_protected(size_t primary, Duration limit) {
  return wait_until("protection", limit, [this, primary]() -> Result<bool> {
    US_ASSIGN(const DaemonStatus now, status(primary));
    if (now.is_protected()) return true;
    return fail(ErrorKind::kTimeout, fmt::format("host {} is {}, {}", kHostNames[primary], now.role, now.state));
  });
}

Status Cluster::wait_role(size_t host, const std::string& role, Duration limit) {
  const std::string what = fmt::format("host {} becoming {}", kHostNames[host], role);
  return wait_until(what, limit, [this, host, &role]() -> Result<bool> {
    US_ASSIGN(const DaemonStatus now, status(host));
    if (now.role == role) return true;
    return fail(ErrorKind::kTimeout, fmt::format("it is {}, {}", now.role, now.state));
  });
}

Status Cluster::wait_exit(size_t host, Duration limit) {
  return wait_until(
      fmt::format("the end of the daemon on host {}", kHostNames[host]), limit,
      [this, host]() -> Result<bool> { return !daemons_[host] || daemons_[host]->poll_exit().has_value(); });
}

Status Cluster::sleep(Duration length) {
  const Instant end = clock_now() + length;
  for (Duration left = length; left > Duration::nanos(0); left = end - clock_now()) {
    options_.on_wait();
    if (options_.interrupted != nullptr && *options_.interrupted) return fail(ErrorKind::kRefused, "interrupted");
    sleep_for(std::min(kTick, end - clock_now()));
  }
  return {};
}

Result<std::string> run_in_guest(const NetNs& client, const std::string& line) {
  return exchange_in_thread(client, 9999, line + "\n", Until::kEnd);
}

Result<std::string> Cluster::run_in_guest(const std::string& line) { return demo::run_in_guest(lab_.client(), line); }

Status Cluster::tell_guest(const std::string& line) {
  US_TRY(exchange_in_thread(lab_.client(), 9999, line + "\n", Until::kSent));
  return {};
}

}  // namespace us::demo
