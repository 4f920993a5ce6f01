// ControlServer: the unix socket NAME.control in the runtime directory through which `understudy status`, `audit`,
// `switchover` and `stop` reach a running node.  One JSON object a line each way: {"command": "status"} is answered by
// {"ok": true, "result": …} or {"ok": false, "error": "…"}.
//
// A thread of its own; a request that waits (switchover) does not hold up others.  Requests over 4 KiB, slow clients
// and more than 16 at a time are dropped.  Access: the socket's mode is 0600.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "base/result.h"
#include "base/time.h"
#include "os/event_fd.h"
#include "os/unique_fd.h"

namespace us {

class ControlServer {
 public:
  // Called on the server's threads, several at a time.
  using Handler = std::function<Result<nlohmann::json>(const nlohmann::json& request)>;

  // Errors: a node of this VM already runs with this runtime directory; the directory cannot be written.
  static Result<std::unique_ptr<ControlServer>> start(const std::string& path, Handler handler);
  ~ControlServer();

 private:
  struct Shared {
    Handler handler;
    std::atomic<int> clients{0};
  };
  ControlServer(std::string path, UniqueFd listener, EventFd stop, Handler handler);
  void run();
  static void serve(const std::shared_ptr<Shared>& shared, UniqueFd client);

  std::string path_;
  UniqueFd listener_;
  EventFd stop_;
  std::shared_ptr<Shared> shared_;
  std::thread thread_;
};

std::string control_path(const std::string& runtime_directory, const std::string& vm_name);

// Sends one request to a node and returns its result.  Errors: no such node (kInput), or what the node answered.
Result<nlohmann::json> control_request(const std::string& path, const nlohmann::json& request,
                                       Duration timeout = Duration::seconds(60));
// Names of the VMs that have a node with this runtime directory.
std::vector<std::string> control_names(const std::string& runtime_directory);

}  // namespace us
