#include "tcp/program.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "os/child_process.h"
#include "os/clock.h"

namespace us::bench {

// By way of a file without a name: a pipe would have to be read meanwhile.
Result<std::string> output_of(const Client& client, const std::vector<std::string>& argv, Duration limit) {
  std::FILE* file = std::tmpfile();
  if (file == nullptr) return fail_errno("make a temporary file", errno);
  const UniqueFd fd(::dup(::fileno(file)));
  std::fclose(file);
  US_ASSIGN(ChildProcess child,
            ChildProcess::spawn({.argv = client.ns.wrap(argv), .inherited = {}, .output_fd = fd.get()}));
  const Instant end = clock_now() + limit;
  while (!child.poll_exit()) {
    US_TRY(client.check());
    if (clock_now() > end) return fail(ErrorKind::kTimeout, argv.front() + " does not end");
    pollfd ended{child.exit_fd(), POLLIN, 0};
    ::poll(&ended, 1, 100);
  }
  std::string text;
  char chunk[16384];
  ::lseek(fd.get(), 0, SEEK_SET);
  for (ssize_t n; (n = ::read(fd.get(), chunk, sizeof chunk)) > 0;) text.append(chunk, static_cast<size_t>(n));
  return text;
}

}  // namespace us::bench
