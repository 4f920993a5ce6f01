#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "net.h"
#include "services.h"

namespace us::guest {
namespace {

constexpr size_t kLineMax = 4096;

void run_line(int fd) {
  std::string line;
  if (!read_line(fd, line, kLineMax)) return;
  const pid_t child = fork();
  if (child == 0) {
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    execl("/bin/sh", "sh", "-c", line.c_str(), static_cast<char*>(nullptr));
    _exit(127);
  }
  if (child > 0) waitpid(child, nullptr, 0);
}

}  // namespace

void serve_control() { accept_loop(open_port(9999, SOCK_STREAM), run_line); }

}  // namespace us::guest
