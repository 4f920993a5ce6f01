#include "host/node.h"

#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <cerrno>
#include <csignal>
#include <thread>

#include "config/host_files.h"
#include "os/clock.h"
#include "os/thread.h"
#include "qemu/accelerator.h"
#include "qemu/argument_policy.h"

namespace us {
namespace {

using Json = nlohmann::json;

constexpr int kExitFailed = 1;
constexpr int kExitFenced = 3;

// Which of the VM's hosts this one is.
Result<ReplicaAddress> own_address(const VmConfig& config, const std::string& listen) {
  std::string all;
  for (const ReplicaAddress& host : config.replication.hosts) {
    all += (all.empty() ? "" : ", ") + host.text();
    if (listen.empty()) {
      US_ASSIGN(const SocketAddress address, SocketAddress::from(host.ip, host.port));
      if (is_local_address(address)) return host;
    } else if (host.text() == listen) {
      return host;
    }
  }
  if (!listen.empty())
    return fail(ErrorKind::kInput, "--listen " + listen + " is not one of replication.hosts (" + all + ")");
  return fail(ErrorKind::kInput, "none of replication.hosts (" + all + ") is an address of this host");
}

Status make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return {};
  return fail_errno("create the runtime directory " + path, errno);
}

}  // namespace

Result<std::unique_ptr<Node>> Node::create(const NodeOptions& options) {
  NodeContext context;
  US_ASSIGN(context.config, load_vm_config(options.vm_file));
  US_TRY(check_qemu_arguments(context.config));
  US_TRY(check_host_files(context.config));
  US_ASSIGN(const ReplicaAddress self, own_address(context.config, options.listen));
  context.node = self.text();
  context.own_host = self;
  US_ASSIGN(context.self, SocketAddress::from(self.ip, self.port));
  for (const ReplicaAddress& host : context.config.replication.hosts) {
    if (host == self) continue;
    US_ASSIGN(SocketAddress other, SocketAddress::from(host.ip, host.port));
    context.others.push_back(other);
  }
  US_TRY(make_directory(options.runtime_directory));
  US_ASSIGN(context.dirty_page_fault, DirtyPageFault::parse(options.inject));
  context.runtime_directory = options.runtime_directory;
  US_ASSIGN(context.listener, tcp_listen(context.self));
  US_ASSIGN(context.heartbeats, udp_bind(context.self));
  US_ASSIGN(const ChosenAccelerator chosen, choose_accelerator(context.config));
  context.accelerator = chosen.accelerator;
  context.accelerator_reason = chosen.reason;
  context.arbiter =
      std::make_shared<DirectoryArbiter>(context.config.arbiter.directory.path, context.config.name, context.node);
  US_ASSIGN(EventFd wake, EventFd::create());
  std::unique_ptr<Node> node(new Node(std::move(context), options, std::move(wake)));
  node->watch_signals();
  US_ASSIGN(node->control_,
            ControlServer::start(control_path(options.runtime_directory, node->context_.config.name),
                                 [raw = node.get()](const Json& request) { return raw->on_request(request); }));
  return node;
}

Node::Node(NodeContext context, NodeOptions options, EventFd command_wake)
    : context_(std::move(context)), options_(std::move(options)), commands_(std::move(command_wake)) {}

Node::~Node() { control_.reset(); }

int Node::run(First first) {
  spdlog::info("VM {} on {}: accelerator {} ({})", context_.config.name, context_.node, to_text(context_.accelerator),
               context_.accelerator_reason);
  bool as_primary = first == First::kPrimary;
  for (;;) {
    Result<RoleOutcome> outcome = RoleOutcome{};
    if (as_primary && !handed_vm_) {
      outcome = boot();
    } else if (as_primary) {
      outcome = run_primary(std::move(handed_disks_), std::move(handed_vm_), takeovers_.back().generation);
    } else {
      outcome = run_standby();
    }
    if (!outcome) {
      spdlog::error("{}", outcome.error().message);
      return kExitFailed;
    }
    switch (outcome->end) {
      case RoleEnd::kTookOver:
        as_primary = true;
        continue;
      case RoleEnd::kHandedOver:
        spdlog::info("{}; this host is the standby now", outcome->text);
        if (leaving_) return 0;
        as_primary = false;
        continue;
      case RoleEnd::kFenced:
        spdlog::error("FENCED: {}. QEMU was stopped on this host", outcome->text);
        if (context_.config.replication.rejoin) {
          as_primary = false;
          continue;
        }
        stay_fenced(outcome->text);
        return kExitFenced;
      case RoleEnd::kGuestEnded:
      case RoleEnd::kStopped:
        spdlog::info("done: {}", outcome->text);
        return 0;
      case RoleEnd::kFailed:
        spdlog::error("{}", outcome->text);
        return kExitFailed;
    }
  }
}

Result<Generation> Node::claim_fresh_start() {
  DirectoryArbiter& arbiter = *context_.arbiter;
  US_ASSIGN(DirectoryArbiter::Standing standing, arbiter.standing());
  const bool running = standing.generation != Generation{} && !standing.ended;
  if (running && standing.holder == context_.node && !options_.fresh_start) {
    // This host had it last and did not end it: it crashed.  A standby that holds the guest claims it within these
    // times.
    const FailoverConfig times = context_.failover();
    spdlog::warn("this host lost the VM without ending it; leaving a standby the time to take it over");
    std::this_thread::sleep_for(std::chrono::nanoseconds((times.detection + times.primary_delay).to_nanos() * 2));
    US_ASSIGN(standing, arbiter.standing());
  }
  if (running && standing.holder != context_.node && !options_.fresh_start)
    return fail(ErrorKind::kRefused,
                "generation " + std::to_string(standing.generation.value()) + " of this VM runs, or last ran, on " +
                    standing.holder + ". To join it: understudy standby " + options_.vm_file +
                    ". If that host is gone for good and its guest's memory may be given up: add --fresh-start");
  const ClaimAnswer answer = arbiter.claim_start(standing.generation.next());
  if (answer.result == ClaimResult::kTaken)
    return fail(ErrorKind::kRefused, answer.holder + " has just started or taken over this VM");
  if (answer.result == ClaimResult::kUnavailable)
    return fail(ErrorKind::kSystem, "the arbiter cannot be used: " + answer.detail);
  return answer.generation;
}

Result<std::unique_ptr<Vm>> Node::launch(Vm::Start start, std::vector<DiskEndpoint> disks) {
  return Vm::launch(context_.config, context_.accelerator, start, context_.runtime_directory, context_.qemu_log,
                    std::move(disks));
}

LocalDiskOptions Node::disk_options(bool standby) const {
  return {.runtime_directory = context_.runtime_directory, .self = context_.own_host, .standby = standby};
}

// The guest starts from its disks alone.
Result<RoleOutcome> Node::boot() {
  US_ASSIGN(std::unique_ptr<PrimaryDisks> disks, PrimaryDisks::open(context_.config, disk_options(false)));
  US_ASSIGN(const DirectoryArbiter::Standing before, context_.arbiter->standing());
  const bool was_here = before.holder == context_.node;
  // Before a generation is claimed in vain, which would make the other host's images look outdated.
  US_TRY(disks->may_go_live(before.generation, was_here, options_.fresh_start));
  US_ASSIGN(const Generation generation, claim_fresh_start());
  US_TRY(disks->go_live(generation, before.generation, was_here, options_.fresh_start));
  US_ASSIGN(std::unique_ptr<Vm> vm, launch(Vm::Start::kBoot, disks->endpoints()));
  return run_primary(std::move(disks), std::move(vm), generation);
}

Result<RoleOutcome> Node::run_primary(std::unique_ptr<PrimaryDisks> disks, std::unique_ptr<Vm> vm,
                                      Generation generation) {
  US_ASSIGN(const std::unique_ptr<Primary> primary,
            Primary::create(context_, std::move(disks), std::move(vm), generation, takeovers_, commands_));
  primary->on_running = [this] {
    // The previous primary of a hand-over waits for this word.
    if (finished_standby_) finished_standby_->confirm_handover();
    finished_standby_.reset();
  };
  {
    const std::lock_guard lock(role_mutex_);
    primary_ = primary.get();
  }
  const RoleOutcome outcome = primary->run();
  const std::lock_guard lock(role_mutex_);
  last_status_ = primary->status();
  primary_ = nullptr;
  return outcome;
}

Result<RoleOutcome> Node::run_standby() {
  US_ASSIGN(std::unique_ptr<StandbyDisks> disks, StandbyDisks::open(context_.config, disk_options(true)));
  US_ASSIGN(std::unique_ptr<Vm> vm, launch(Vm::Start::kIncoming, disks->endpoints()));
  US_ASSIGN(std::unique_ptr<Standby> standby, Standby::create(context_, std::move(disks), std::move(vm), commands_));
  {
    const std::lock_guard lock(role_mutex_);
    standby_ = standby.get();
  }
  const RoleOutcome outcome = standby->run();
  const std::lock_guard lock(role_mutex_);
  last_status_ = standby->status();
  standby_ = nullptr;
  if (outcome.end == RoleEnd::kTookOver) {
    takeovers_.push_back(standby->takeover());
    handed_vm_ = standby->release_vm();
    handed_disks_ = standby->release_disks();
    finished_standby_ = std::move(standby);
  }
  return outcome;
}

void Node::stay_fenced(const std::string& reason) {
  {
    const std::lock_guard lock(role_mutex_);
    if (last_status_) {
      (*last_status_)["role"] = "fenced";
      (*last_status_)["state"] = "fenced";
      (*last_status_)["reason"] = reason;
      (*last_status_)["qemu_pid"] = nullptr;
    }
  }
  spdlog::warn("staying fenced until this process is stopped; start `understudy standby` to protect the VM again");
  for (;;) {
    pollfd waiting{commands_.fd(), POLLIN, 0};
    ::poll(&waiting, 1, -1);
    for (Command& command : commands_.take()) {
      if (command.kind == CommandKind::kStop || command.kind == CommandKind::kLeave) {
        command.answer->set_value("the fenced node ends");
        return;
      }
      command.answer->set_value(fail(ErrorKind::kRefused, "this node is fenced: " + reason));
    }
  }
}

Json Node::status() const {
  const std::lock_guard lock(role_mutex_);
  if (primary_ != nullptr) return primary_->status();
  if (standby_ != nullptr) return standby_->status();
  if (last_status_) return *last_status_;
  return {{"name", context_.config.name}, {"role", "starting"}, {"state", "starting"}, {"node", context_.node}};
}

Result<Json> Node::ask(CommandKind kind, std::string argument, std::chrono::seconds limit) {
  auto answer = commands_.post(kind, std::move(argument));
  if (answer.wait_for(limit) != std::future_status::ready)
    return fail(ErrorKind::kTimeout, "the node did not finish this in time; see its status");
  const Result<std::string> text = answer.get();
  if (!text) return tl::unexpected<Error>(text.error());
  return Json(*text);
}

Result<Json> Node::on_request(const Json& request) {
  const Json command = request.value("command", Json());
  if (command == "status") return status();
  if (command == "flows") {
    const std::lock_guard lock(role_mutex_);
    if (primary_ == nullptr) return fail(ErrorKind::kRefused, "this host is not the primary; ask the other one");
    return primary_->flows();
  }
  if (command == "epochs") {
    const std::lock_guard lock(role_mutex_);
    if (primary_ == nullptr) return fail(ErrorKind::kRefused, "this host is not the primary; ask the other one");
    return primary_->epochs();
  }
  if (command == "set") return ask(CommandKind::kSet, request.value("assignment", std::string()));
  if (command == "audit") {
    std::chrono::seconds limit = kCommandLimit + std::chrono::seconds(context_.config.memory_bytes >> 27);
    {
      const std::lock_guard lock(role_mutex_);
      if (primary_ != nullptr) limit += std::chrono::seconds(primary_->disk_bytes() >> 24);
    }
    US_ASSIGN(const Json text, ask(CommandKind::kAudit, {}, limit));
    return Json::parse(text.get<std::string>());
  }
  if (command == "switchover") return ask(CommandKind::kSwitchover, {});
  if (command == "stop") return ask(CommandKind::kStop, {});
  return fail(ErrorKind::kInput, "unknown command; there are status, flows, epochs, audit, set, switchover and stop");
}

void Node::watch_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  // A limit on the size of files is an error of the write, like a full disk.
  std::signal(SIGXFSZ, SIG_IGN);
  // Blocked in every thread started from here on; the watcher alone receives them.
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread([this, signals] {
    name_this_thread("us-signals");
    for (int count = 0;; ++count) {
      int signal = 0;
      if (::sigwait(&signals, &signal) != 0) return;
      leaving_ = true;
      // The first asks politely, the second insists.
      static_cast<void>(commands_.post(count == 0 ? CommandKind::kLeave : CommandKind::kStop));
    }
  }).detach();
}

}  // namespace us
