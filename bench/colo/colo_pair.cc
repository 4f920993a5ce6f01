#include "colo/colo_pair.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>

#include "demo/command.h"
#include "demo/host_daemon.h"
#include "os/clock.h"
#include "qemu/command_line.h"

namespace us::bench {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr Duration kBoot = Duration::seconds(60);
constexpr Duration kIntoColo = Duration::seconds(30);
// A QEMU whose monitor does not answer for so long will not answer any more: it waits for a lock.
constexpr Duration kAnswer = Duration::seconds(6);
constexpr useconds_t kPollUs = 20'000;
constexpr int kCheckpointsSeen = 3;
constexpr const char* kTap = "tap0";
constexpr const char* kHosts[] = {"primary", "secondary"};

Result<UniqueFd> connect_unix(const std::string& path, const std::function<std::optional<std::string>()>& ended) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  for (const Instant deadline = clock_now() + kAnswer; clock_now() < deadline; ::usleep(kPollUs)) {
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
    if (const auto how = ended()) return fail(ErrorKind::kRefused, "QEMU " + *how);
  }
  return fail(ErrorKind::kTimeout, "QEMU does not make its monitor");
}

// QEMU makes the tap when it starts.
Status plug_tap(const demo::NetNs& host) {
  Status plugged;
  for (int i = 0; i < 100; ++i, ::usleep(kPollUs)) {
    const auto done = demo::run_checked(
        {"ip", "-n", host.name(), "link", "set", kTap, "master", demo::kHostBridge, "addrgenmode", "none", "up"});
    if (done) return {};
    plugged = tl::unexpected(done.error());
  }
  return plugged;
}

void add_chardev(std::vector<std::string>& out, const std::string& text) {
  out.insert(out.end(), {"-chardev", "socket," + text});
}

void add_object(std::vector<std::string>& out, const std::string& text) { out.insert(out.end(), {"-object", text}); }

constexpr const char* kHeader = ",vnet_hdr_support=on";

// docs/colo-proxy.txt, "Usage"; what stays on the host goes over unix sockets.
std::vector<std::string> primary_proxy(const fs::path& directory) {
  std::vector<std::string> out;
  const std::string a = demo::kReplicationAddress[0], here = directory.string();
  add_chardev(out, fmt::format("id=mirror0,host={},port=9003,server=on,wait=off", a));
  add_chardev(out, fmt::format("id=compare1,host={},port=9004,server=on,wait=off", a));
  add_chardev(out, fmt::format("id=compare0,path={}/compare0,server=on,wait=off", here));
  add_chardev(out, fmt::format("id=compare0-0,path={}/compare0", here));
  add_chardev(out, fmt::format("id=compare_out,path={}/compare_out,server=on,wait=off", here));
  add_chardev(out, fmt::format("id=compare_out0,path={}/compare_out", here));
  add_object(out, fmt::format("filter-mirror,id=m0,netdev=net0,queue=tx,outdev=mirror0{}", kHeader));
  add_object(out, fmt::format("filter-redirector,netdev=net0,id=redire0,queue=rx,indev=compare_out{}", kHeader));
  add_object(out, fmt::format("filter-redirector,netdev=net0,id=redire1,queue=rx,outdev=compare0{}", kHeader));
  add_object(out, "iothread,id=iothread1");
  add_object(out, fmt::format("colo-compare,id=comp0,primary_in=compare0-0,secondary_in=compare1,outdev=compare_out0,"
                              "iothread=iothread1{}",
                              kHeader));
  return out;
}

std::vector<std::string> secondary_proxy() {
  std::vector<std::string> out;
  const std::string a = demo::kReplicationAddress[0];
  add_chardev(out, fmt::format("id=red0,host={},port=9003", a));
  add_chardev(out, fmt::format("id=red1,host={},port=9004", a));
  add_object(out, fmt::format("filter-redirector,id=f1,netdev=net0,queue=tx,indev=red0{}", kHeader));
  add_object(out, fmt::format("filter-redirector,id=f2,netdev=net0,queue=rx,outdev=red1{}", kHeader));
  add_object(out, fmt::format("filter-rewriter,id=rew0,netdev=net0,queue=all{}", kHeader));
  out.insert(out.end(), {"-incoming", fmt::format("tcp:{}:9998", demo::kReplicationAddress[1])});
  return out;
}

std::vector<std::string> machine_arguments(const ColoOptions& options, const fs::path& directory, const char* name) {
  const Accelerator kind = options.accelerator == "kvm" ? Accelerator::kKvm : Accelerator::kTcg;
  const std::string guest = fs::absolute(options.guest_dir).string();
  // COLO's own documents use `pc`; it does not run with q35.
  return {"-no-user-config",
          "-nodefaults",
          "-machine",
          "pc",
          "-accel",
          options.accelerator,
          "-cpu",
          cpu_model(VmConfig{}, kind),
          "-smp",
          "1",
          "-m",
          options.memory,
          "-display",
          "none",
          "-vga",
          "none",
          "-monitor",
          "none",
          "-qmp",
          fmt::format("unix:{}/{}.qmp,server=on,wait=off", directory.string(), name),
          "-chardev",
          fmt::format("file,id=serial0,path={}/{}.serial", directory.string(), name),
          "-serial",
          "chardev:serial0",
          "-kernel",
          guest + "/vmlinuz",
          "-initrd",
          guest + "/initrd.cpio",
          "-append",
          fmt::format("console=ttyS0 quiet us.ip={}/24 us.ip6={}/64", demo::kGuestAddress, demo::kGuestAddress6),
          "-netdev",
          fmt::format("tap,id=net0,ifname={},script=no,downscript=no,vhost=off", kTap),
          "-device",
          "virtio-net-pci,id=e0,disable-legacy=on,romfile=,netdev=net0,mac=52:54:00:00:00:10"};
}

bool says_ready(const fs::path& serial) {
  std::ifstream in(serial);
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("guest ready")) return true;
  return false;
}

int64_t nanos_of(const json& event) {
  const json& at = event["timestamp"];
  return at.value("seconds", int64_t{0}) * 1'000'000'000 + at.value("microseconds", int64_t{0}) * 1000;
}

}  // namespace

Result<std::unique_ptr<ColoPair>> ColoPair::start(const ColoOptions& options) {
  US_ASSIGN(demo::Lab lab, demo::Lab::create(options.prefix, options.wire));
  const fs::path directory = fs::temp_directory_path() / ("understudy-" + options.prefix);
  std::error_code error;
  fs::remove_all(directory, error);
  fs::create_directories(directory, error);
  std::unique_ptr<ColoPair> pair(new ColoPair(options, std::move(lab), directory));
  // colo-compare's chardevs connect to their own QEMU over the loopback's namespace, not its device.
  US_TRY(pair->start_machine(pair->primary_, 0, options.colo ? primary_proxy(directory) : std::vector<std::string>{}));
  for (const Instant deadline = clock_now() + kBoot; !says_ready(directory / "primary.serial"); ::usleep(kPollUs)) {
    if (const auto how = pair->primary_.process->poll_exit())
      return fail(ErrorKind::kRefused, "QEMU " + *how + pair->last_words(0));
    if (clock_now() > deadline) return fail(ErrorKind::kTimeout, "the guest does not boot" + pair->last_words(0));
  }
  return pair;
}

ColoPair::~ColoPair() {
  secondary_.process.reset();
  primary_.process.reset();
  std::error_code error;
  fs::remove_all(directory_, error);
}

std::string ColoPair::last_words(size_t host) const {
  return fmt::format("; the {}'s log ends with\n{}", kHosts[host],
                     demo::log_tail((directory_ / kHosts[host]).string() + ".log", 4));
}

Status ColoPair::start_machine(Machine& machine, size_t host, const std::vector<std::string>& special) {
  const std::string log = (directory_ / kHosts[host]).string() + ".log";
  const UniqueFd output(::open(log.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  if (!output) return fail_errno("open " + log, errno);
  std::vector<std::string> argv = options_.qemu;
  const auto common = machine_arguments(options_, directory_, kHosts[host]);
  argv.insert(argv.end(), common.begin(), common.end());
  argv.insert(argv.end(), special.begin(), special.end());
  US_ASSIGN(ChildProcess qemu,
            ChildProcess::spawn({.argv = lab_.host(host).wrap(argv), .inherited = {}, .output_fd = output.get()}));
  machine.process.emplace(std::move(qemu));
  auto socket =
      connect_unix((directory_ / kHosts[host]).string() + ".qmp", [&machine] { return machine.process->poll_exit(); });
  if (!socket) return fail(socket.error().kind, socket.error().message + last_words(host));
  machine.qmp = std::make_unique<QmpClient>(std::move(*socket));
  US_TRY(machine.qmp->negotiate(kAnswer));
  return plug_tap(lab_.host(host));
}

Result<json> ColoPair::ask(Machine& machine, const std::string& command, const json& arguments) {
  const size_t host = &machine == &primary_ ? 0 : 1;
  auto answer = machine.qmp->execute(command, arguments, kAnswer);
  if (answer || answer.error().kind == ErrorKind::kRefused) return answer;
  if (const auto how = machine.process->poll_exit())
    return fail(ErrorKind::kSystem, fmt::format("the {}'s QEMU {}{}", kHosts[host], *how, last_words(host)));
  return fail(ErrorKind::kTimeout, fmt::format("the {} hangs: its monitor has not answered \"{}\" for {:.0f} s",
                                               kHosts[host], command, kAnswer.to_seconds()));
}

// Newer versions demand `return-path` as well; with older ones COLO's messages and the return path's collide.
Status ColoPair::demand_colo(Machine& machine) {
  const json colo = {{"capability", "x-colo"}, {"state", true}};
  const auto set = ask(machine, "migrate-set-capabilities", {{"capabilities", json::array({colo})}});
  if (set) return {};
  if (set.error().message.find("return-path") == std::string::npos) return tl::unexpected(set.error());
  const json both = json::array({{{"capability", "return-path"}, {"state", true}}, colo});
  US_TRY(ask(machine, "migrate-set-capabilities", {{"capabilities", both}}));
  return {};
}

Status ColoPair::protect() {
  US_TRY(start_machine(secondary_, 1, secondary_proxy()));
  US_TRY(demand_colo(secondary_));
  US_TRY(demand_colo(primary_));
  US_TRY(ask(primary_, "migrate-set-parameters",
             {{"x-checkpoint-delay", options_.checkpoint_ms}, {"max-bandwidth", uint64_t{10'000'000'000}}}));
  US_TRY(ask(primary_, "migrate", {{"uri", fmt::format("tcp:{}:9998", demo::kReplicationAddress[1])}}));
  US_TRY(wait_in_colo());
  return see_checkpoints(kCheckpointsSeen);
}

Status ColoPair::wait_in_colo() {
  for (const Instant deadline = clock_now() + kIntoColo; clock_now() < deadline; ::usleep(kPollUs)) {
    US_ASSIGN(const json migration, ask(primary_, "query-migrate"));
    const std::string state = migration.value("status", "none");
    if (state == "colo") return {};
    if (state == "failed" || state == "cancelled")
      return fail(ErrorKind::kSystem, fmt::format("the migration is \"{}\": {}{}", state,
                                                  migration.value("error-desc", "no reason given"), last_words(0)));
    if (state != "completed") continue;
    US_ASSIGN(const json run, ask(primary_, "query-status"));
    return fail(
        ErrorKind::kSystem,
        fmt::format("the migration ended as \"completed\" instead of going on as \"colo\": the primary is \"{}\" "
                    "and runs no guest, and nothing is replicated",
                    run.value("status", "?")));
  }
  return fail(ErrorKind::kTimeout, "it does not go into COLO" + last_words(0));
}

Status ColoPair::see_checkpoints(int count) {
  const Duration limit = Duration::millis(int64_t{options_.checkpoint_ms} * count) + kIntoColo;
  int seen = 0;
  for (const Instant deadline = clock_now() + limit; clock_now() < deadline; ::usleep(kPollUs)) {
    US_TRY(check());
    US_ASSIGN(const std::vector<Duration> pauses, take_pauses());
    if ((seen += static_cast<int>(pauses.size())) >= count) return {};
  }
  return fail(ErrorKind::kTimeout, fmt::format("only {} checkpoints in {:.0f} s", seen, limit.to_seconds()));
}

Status ColoPair::check() {
  for (Machine* machine : {&primary_, &secondary_}) {
    US_ASSIGN(const json colo, ask(*machine, "query-colo-status"));
    const std::string wanted = machine == &primary_ ? "primary" : "secondary", mode = colo.value("mode", "?");
    if (mode != wanted)
      return fail(ErrorKind::kSystem, fmt::format("the {} is in COLO mode \"{}\", reason \"{}\"{}", wanted, mode,
                                                  colo.value("reason", "?"), last_words(machine == &primary_ ? 0 : 1)));
  }
  return {};
}

Result<std::vector<Duration>> ColoPair::take_pauses() {
  US_ASSIGN(auto fresh, primary_.qmp->take_events());
  std::vector<Duration> pauses;
  auto& events = primary_.events;
  for (json& event : fresh) {
    const std::string name = event.value("event", "");
    // The one that ends the first migration has no partner of interest: a checkpoint is a STOP and the next RESUME.
    if (name == "RESUME" && !events.empty())
      pauses.push_back(Duration::nanos(nanos_of(event) - nanos_of(events.back())));
    if (name == "STOP" || name == "RESUME") events.clear();
    if (name == "STOP") events.push_back(std::move(event));
  }
  return pauses;
}

Status ColoPair::fail_over() {
  primary_.qmp.reset();
  US_TRY(lab_.power_off(0));
  // docs/COLO-FT.txt, "Secondary Failover"; `yank` frees what waits for the dead host's answer.
  static_cast<void>(ask(secondary_, "yank", {{"instances", {{{"type", "migration"}}}}}));
  US_TRY(ask(secondary_, "x-colo-lost-heartbeat"));
  US_TRY(ask(secondary_, "object-del", {{"id", "f2"}}));
  US_TRY(ask(secondary_, "object-del", {{"id", "f1"}}));
  return {};
}

}  // namespace us::bench
