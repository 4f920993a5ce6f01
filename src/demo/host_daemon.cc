#include "demo/host_daemon.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <deque>
#include <fstream>

#include "demo/command.h"

namespace us::demo {

Result<HostDaemon> HostDaemon::start(const NetNs& ns, const std::string& verb, const DaemonFiles& files,
                                     const std::vector<std::string>& extra_arguments) {
  const UniqueFd log(::open(files.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!log) return fail_errno("open " + files.log, errno);
  std::vector<std::string> argv = {files.program, verb, files.vm_file, "--runtime-dir", files.runtime_dir};
  argv.insert(argv.end(), extra_arguments.begin(), extra_arguments.end());
  US_ASSIGN(auto process, ChildProcess::spawn({.argv = ns.wrap(argv), .inherited = {}, .output_fd = log.get()}));
  return HostDaemon(std::move(process), ns, files);
}

Result<std::string> HostDaemon::command(const std::string& verb, const std::vector<std::string>& words,
                                        Duration limit) const {
  std::vector<std::string> argv = {files_.program, verb};
  argv.insert(argv.end(), words.begin(), words.end());
  argv.insert(argv.end(), {"--runtime-dir", files_.runtime_dir});
  return run_checked(ns_->wrap(argv), limit);
}

Status HostDaemon::check_running() {
  const auto ended = poll_exit();
  if (!ended) return {};
  return fail(ErrorKind::kRefused,
              fmt::format("the daemon {}; its log ({}) ends with\n{}", *ended, files_.log, log_tail(files_.log, 8)));
}

Result<DaemonStatus> HostDaemon::status(const std::string& vm_name) {
  US_TRY(check_running());
  US_ASSIGN(const std::string json, command("status", {vm_name, "--json"}));
  return parse_daemon_status(json);
}

std::string log_tail(const std::string& path, size_t lines) {
  std::deque<std::string> last;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    last.push_back("    " + line + "\n");
    if (last.size() > lines) last.pop_front();
  }
  std::string out;
  for (const std::string& line : last) out += line;
  return out.empty() ? "    (empty)\n" : out;
}

}  // namespace us::demo
