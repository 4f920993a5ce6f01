// HostDaemon: the understudy process on one of the lab's hosts, driven from outside through its own command line.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "demo/daemon_status.h"
#include "demo/netns.h"
#include "os/child_process.h"

namespace us::demo {

struct DaemonFiles {
  std::string program;  // the understudy executable
  std::string vm_file;
  std::string runtime_dir;  // a directory of this host's own
  std::string log;          // appended to; survives the daemon
};

class HostDaemon {
 public:
  // `verb` is "run" or "standby".  The daemon dies with the calling thread.
  static Result<HostDaemon> start(const NetNs& ns, const std::string& verb, const DaemonFiles& files,
                                  const std::vector<std::string>& extra_arguments = {});

  // Runs `understudy VERB WORDS...` with this host's runtime directory.
  Result<std::string> command(const std::string& verb, const std::vector<std::string>& words,
                              Duration limit = Duration::seconds(10)) const;

  // Error (kRefused): it has ended; the message says how, and shows the end of its log.
  Status check_running();

  // Error: it has ended (as above), or it does not answer.
  Result<DaemonStatus> status(const std::string& vm_name);

  // How it ended, in words; nothing while it runs.
  std::optional<std::string> poll_exit() { return process_.poll_exit(); }
  pid_t pid() const { return process_.pid(); }
  const std::string& log() const { return files_.log; }

 private:
  HostDaemon(ChildProcess process, const NetNs& ns, DaemonFiles files)
      : process_(std::move(process)), ns_(&ns), files_(std::move(files)) {}

  ChildProcess process_;
  const NetNs* ns_;
  DaemonFiles files_;
};

// The last lines of a log, indented, for a failure report.
std::string log_tail(const std::string& path, size_t lines);

}  // namespace us::demo
