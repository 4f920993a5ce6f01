#include "net.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <thread>

namespace us::guest {

int open_port(uint16_t port, int type) {
  const int fd = socket(AF_INET6, type | SOCK_CLOEXEC, 0);
  const int on = 1, off = 0;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  any.sin6_port = htons(port);
  const bool bound = fd >= 0 && bind(fd, reinterpret_cast<sockaddr*>(&any), sizeof any) == 0;
  if (!bound || (type == SOCK_STREAM && listen(fd, 128) != 0)) {
    std::perror("services: open port");
    std::exit(1);
  }
  return fd;
}

void accept_loop(int listener, const std::function<void(int)>& serve) {
  for (;;) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    std::thread([serve, fd] {
      serve(fd);
      close(fd);
    }).detach();
  }
}

bool send_all(int fd, std::span<const uint8_t> data, bool more) {
  while (!data.empty()) {
    const ssize_t n = send(fd, data.data(), data.size(), MSG_NOSIGNAL | (more ? MSG_MORE : 0));
    if (n <= 0) return false;
    data = data.subspan(static_cast<size_t>(n));
  }
  return true;
}

bool send_all(int fd, std::string_view text, bool more) {
  return send_all(fd, std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()), more);
}

bool read_line(int fd, std::string& line, size_t limit) {
  line.clear();
  for (char c; line.size() < limit && recv(fd, &c, 1, 0) == 1; line.push_back(c)) {
    if (c == '\n') return true;
  }
  return false;
}

}  // namespace us::guest
