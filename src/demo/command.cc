#include "demo/command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>

#include "os/child_process.h"
#include "os/clock.h"
#include "os/unique_fd.h"

namespace us::demo {
namespace {

constexpr size_t kOutputMax = 4 << 20;

// False at the end of the stream.
bool append_available(int fd, std::string& out) {
  char chunk[16384];
  const ssize_t n = ::read(fd, chunk, sizeof chunk);
  if (n < 0) return errno == EINTR || errno == EAGAIN;
  if (n > 0 && out.size() < kOutputMax) out.append(chunk, static_cast<size_t>(n));
  return n > 0;
}

// Reads until the stream ends; false when that takes longer than until `deadline`.
bool read_all(int fd, std::string& out, Instant deadline) {
  for (;;) {
    const Duration left = deadline - clock_now();
    if (left <= Duration::nanos(0)) return false;
    pollfd waiting{fd, POLLIN, 0};
    if (::poll(&waiting, 1, static_cast<int>(left.to_millis()) + 1) > 0 && !append_available(fd, out)) return true;
  }
}

// The exit status from ChildProcess's words; -1 when a signal ended the program.
int exit_status(const std::string& words) {
  constexpr std::string_view kExited = "exited with status ";
  return words.starts_with(kExited) ? std::stoi(words.substr(kExited.size())) : -1;
}

}  // namespace

Result<CommandResult> run_command(const std::vector<std::string>& argv, Duration limit) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe", errno);
  UniqueFd read_end(ends[0]), write_end(ends[1]);
  US_ASSIGN(auto child, ChildProcess::spawn({.argv = argv, .inherited = {}, .output_fd = write_end.get()}));
  write_end.reset();

  const Instant deadline = clock_now() + limit;
  CommandResult result;
  bool in_time = read_all(read_end.get(), result.output, deadline);
  pollfd ended{child.exit_fd(), POLLIN, 0};
  if (in_time) in_time = ::poll(&ended, 1, static_cast<int>((deadline - clock_now()).to_millis()) + 1) > 0;
  const auto words = child.poll_exit();
  if (!in_time || !words)
    return fail(ErrorKind::kTimeout,
                fmt::format("`{}` has not ended in {} s", fmt::join(argv, " "), limit.to_seconds()));
  result.exit_status = exit_status(*words);
  return result;
}

Result<std::string> run_checked(const std::vector<std::string>& argv, Duration limit) {
  US_ASSIGN(CommandResult result, run_command(argv, limit));
  if (result.exit_status == 0) return std::move(result.output);
  return fail(ErrorKind::kSystem,
              fmt::format("`{}` failed (status {}): {}", fmt::join(argv, " "), result.exit_status, result.output));
}

}  // namespace us::demo
