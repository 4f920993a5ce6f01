// Node: one host's part in one VM, through all its roles: primary, standby, fenced, and back.
//
// run() stays until the VM has ended or this process is asked to leave.  It owns the main thread; QEMU is started on
// it, because a child process dies with the thread that started it.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "host/command_queue.h"
#include "host/control_server.h"
#include "host/node_context.h"
#include "host/primary.h"
#include "host/standby.h"

namespace us {

struct NodeOptions {
  std::string vm_file;
  std::string listen;  // empty: the entry of replication.hosts that is an address of this host
  std::string runtime_directory;
  std::string inject;        // a fault to make (dirty_page_fault.h); empty: none
  bool fresh_start = false;  // start although the arbiter says that another host had the VM last
};

class Node {
 public:
  enum class First { kPrimary, kStandby };

  static Result<std::unique_ptr<Node>> create(const NodeOptions& options);
  ~Node();

  // The process's exit status: 0 when the VM ended or the node was asked to leave, 1 after a failure, 3 when fenced.
  int run(First first);

 private:
  static constexpr std::chrono::seconds kCommandLimit{30};

  explicit Node(NodeContext context, NodeOptions options, EventFd command_wake);

  Result<RoleOutcome> boot();
  Result<RoleOutcome> run_primary(std::unique_ptr<PrimaryDisks> disks, std::unique_ptr<Vm> vm, Generation generation);
  Result<RoleOutcome> run_standby();
  Result<Generation> claim_fresh_start();
  Result<std::unique_ptr<Vm>> launch(Vm::Start start, std::vector<DiskEndpoint> disks);
  LocalDiskOptions disk_options(bool standby) const;
  void stay_fenced(const std::string& reason);
  Result<nlohmann::json> on_request(const nlohmann::json& request);
  nlohmann::json status() const;
  // Hands a command to the main thread and waits for its answer.
  Result<nlohmann::json> ask(CommandKind kind, std::string argument, std::chrono::seconds limit = kCommandLimit);
  void watch_signals();

  NodeContext context_;
  NodeOptions options_;
  CommandQueue commands_;
  std::unique_ptr<ControlServer> control_;
  std::vector<TakeoverRecord> takeovers_;
  std::unique_ptr<PrimaryDisks> handed_disks_;  // of handed_vm_, which goes first
  std::unique_ptr<Vm> handed_vm_;               // restored by run_standby(), for run_primary()
  std::unique_ptr<Standby> finished_standby_;

  mutable std::mutex role_mutex_;  // guards what status() looks at
  Primary* primary_ = nullptr;
  Standby* standby_ = nullptr;
  std::optional<nlohmann::json> last_status_;  // of the role that ended last
  std::atomic<bool> leaving_{false};
};

}  // namespace us
