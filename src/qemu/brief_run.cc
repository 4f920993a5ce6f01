#include "qemu/brief_run.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "os/child_process.h"
#include "os/clock.h"
#include "os/socket.h"

namespace us {
namespace {

constexpr size_t kOutputMax = 64 * 1024;

// False at the end of the output.
bool read_some(int fd, std::string& output) {
  char chunk[4096];
  const ssize_t n = ::read(fd, chunk, sizeof chunk);
  if (n < 0) return errno == EINTR || errno == EAGAIN;
  if (output.size() < kOutputMax) output.append(chunk, static_cast<size_t>(n));
  return n > 0;
}

}  // namespace

Result<BriefRun> brief_run(const BriefRunOptions& options) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return fail_errno("pipe", errno);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  SpawnOptions spawn;
  spawn.argv = options.argv;
  spawn.inherited = options.inherited;
  spawn.output_fd = writer.get();
  US_ASSIGN(ChildProcess child, ChildProcess::spawn(spawn));
  writer.reset();

  const Instant deadline = clock_now() + options.limit;
  BriefRun run;
  bool stopped = false;
  while (!stopped && wait_readable(reader.get(), deadline)) {
    if (!read_some(reader.get(), run.output)) break;
    stopped = !options.stop_at.empty() && run.output.find(options.stop_at) != std::string::npos;
  }
  if (!stopped && wait_readable(child.exit_fd(), deadline)) run.exit = child.poll_exit();
  child.kill_and_reap();
  return run;
}

}  // namespace us
