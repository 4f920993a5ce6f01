#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "demo/big_file.h"
#include "net.h"
#include "services.h"

namespace us::guest {
namespace {

constexpr uint16_t kPort = 9000;
constexpr size_t kLineMax = 256;
constexpr size_t kChunk = 256 * 1024;
constexpr const char* kStall = "/run/stall";
constexpr const char* kEnds = "/run/tcp-ends";

struct Received {
  uint64_t bytes = 0;
  bool right = true;
  int error = 0;  // 0: the client ended its direction
};

// Until the end of the stream; what arrives should be the BigFile of that seed.
Received receive_file(int fd, uint64_t seed) {
  const demo::BigFile file(seed);
  std::vector<uint8_t> got(kChunk), expected(kChunk);
  Received all;
  for (;;) {
    while (access(kStall, F_OK) == 0) usleep(10'000);
    const ssize_t n = recv(fd, got.data(), got.size(), 0);
    if (n <= 0) {
      all.error = n < 0 ? errno : 0;
      return all;
    }
    const auto length = static_cast<size_t>(n);
    file.read(all.bytes, std::span(expected).first(length));
    all.right = all.right && std::memcmp(got.data(), expected.data(), length) == 0;
    all.bytes += length;
  }
}

std::string in_words(const Received& received) {
  return std::to_string(received.bytes) + (received.right ? " ok" : " wrong");
}

bool send_file(int fd, uint64_t seed, uint64_t bytes) {
  const demo::BigFile file(seed);
  std::vector<uint8_t> chunk(kChunk);
  for (uint64_t at = 0; at < bytes;) {
    const std::span part = std::span(chunk).first(std::min<uint64_t>(kChunk, bytes - at));
    file.read(at, part);
    if (!send_all(fd, part)) return false;
    at += part.size();
  }
  return true;
}

// The next close() resets the connection, once our stack believes that all was delivered.
void reset_when_acknowledged(int fd) {
  for (int queued = 1; ioctl(fd, SIOCOUTQ, &queued) == 0 && queued > 0;) usleep(1000);
  const linger none{1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
}

void keep_alive(int fd) {
  const int on = 1, seconds = 1, probes = 3;
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof seconds);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

void note_end(const std::string& line) {
  if (FILE* file = std::fopen(kEnds, "a")) {
    std::fputs((line + "\n").c_str(), file);
    std::fclose(file);
  }
}

void serve(int fd) {
  std::string line;
  if (!read_line(fd, line, kLineMax)) return;
  char verb[16] = "";
  unsigned long long seed = 0, bytes = 0;
  if (std::sscanf(line.c_str(), "%15s %llu %llu", verb, &seed, &bytes) < 2) return;
  const std::string what = verb;
  Received received;
  if (what == "reset") {
    if (send_file(fd, seed, bytes)) reset_when_acknowledged(fd);
    return;
  }
  if (what == "source") {
    if (!send_file(fd, seed, bytes)) received.error = errno;
    shutdown(fd, SHUT_WR);
  }
  if (what == "idle") keep_alive(fd);
  if (received.error == 0) received = receive_file(fd, seed);
  if (what == "sink" && received.error == 0) send_all(fd, in_words(received) + "\n");
  note_end(line + ": " + in_words(received) + ", " + (received.error == 0 ? "ended" : std::strerror(received.error)));
}

}  // namespace

void serve_tcp() { accept_loop(open_port(kPort, SOCK_STREAM), serve); }

}  // namespace us::guest
