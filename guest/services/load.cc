#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "net.h"
#include "services.h"

namespace us::guest {
namespace {

constexpr uint16_t kPort = 9001;
constexpr size_t kLineMax = 256;
constexpr size_t kChunk = 128 * 1024;
constexpr uint64_t kBytesMax = uint64_t{1} << 40;

bool receive_exactly(int fd, std::vector<uint8_t>& buffer, uint64_t bytes) {
  while (bytes > 0) {
    const ssize_t n = recv(fd, buffer.data(), std::min<uint64_t>(bytes, buffer.size()), 0);
    if (n <= 0) return false;
    bytes -= static_cast<uint64_t>(n);
  }
  return true;
}

bool send_exactly(int fd, const std::vector<uint8_t>& buffer, uint64_t bytes) {
  for (uint64_t sent = 0; sent < bytes;) {
    const std::span part = std::span(buffer).first(std::min<uint64_t>(bytes - sent, buffer.size()));
    if (!send_all(fd, part)) return false;
    sent += part.size();
  }
  return true;
}

void serve(int fd) {
  std::string line;
  if (!read_line(fd, line, kLineMax)) return;
  char verb[16] = "";
  unsigned long long up = 0, down = 0;
  const int words = std::sscanf(line.c_str(), "%15s %llu %llu", verb, &up, &down);
  const std::string what = verb;
  std::vector<uint8_t> buffer(kChunk);
  if (what == "stream") send_exactly(fd, buffer, kBytesMax);
  if (what == "discard") receive_exactly(fd, buffer, kBytesMax);
  if (what == "exchange" && words == 3 && up > 0)
    while (receive_exactly(fd, buffer, up) && send_exactly(fd, buffer, down)) {
    }
}

}  // namespace

void serve_load() { accept_loop(open_port(kPort, SOCK_STREAM), serve); }

}  // namespace us::guest
