#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <vector>

#include "net.h"
#include "services.h"

namespace us::guest {

void serve_echo_tcp() {
  accept_loop(open_port(7, SOCK_STREAM), [](int fd) {
    std::vector<uint8_t> buffer(64 * 1024);
    for (;;) {
      const ssize_t n = recv(fd, buffer.data(), buffer.size(), 0);
      if (n <= 0 || !send_all(fd, std::span(buffer).first(static_cast<size_t>(n)))) return;
    }
  });
}

void serve_echo_udp() {
  const int fd = open_port(7, SOCK_DGRAM);
  std::vector<uint8_t> buffer(64 * 1024);
  for (;;) {
    sockaddr_in6 from{};
    socklen_t from_size = sizeof from;
    auto* address = reinterpret_cast<sockaddr*>(&from);
    const ssize_t n = recvfrom(fd, buffer.data(), buffer.size(), 0, address, &from_size);
    if (n >= 0) sendto(fd, buffer.data(), static_cast<size_t>(n), 0, address, from_size);
  }
}

}  // namespace us::guest
