#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

#include "net.h"
#include "services.h"

namespace us::guest {
namespace {

constexpr uint16_t kPort = 9002;
constexpr size_t kLineMax = 256;
constexpr size_t kPage = 4096;
constexpr int kStepMs = 2;
// Odd, so that a step of so many pages visits every page of a power of two before any a second time.
constexpr uint64_t kStride = 40503;

double now_s() {
  timespec ts{};
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return static_cast<double>(ts.tv_sec) + static_cast<double>(ts.tv_nsec) / 1e9;
}

// A power of two, at most half of the guest's memory.
uint64_t pages_of(uint64_t megabytes) {
  struct sysinfo info {};
  sysinfo(&info);
  const uint64_t half = info.totalram * info.mem_unit / 2;
  return std::bit_floor(std::max<uint64_t>(1, std::min<uint64_t>(megabytes << 20, half) / kPage));
}

// Different bytes each time: what is replicated neither compresses nor repeats.
void scribble(uint8_t* page, size_t bytes, uint64_t& random) {
  for (size_t at = 0; at + 8 <= bytes; at += 8) {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    std::memcpy(page + at, &random, 8);
  }
}

void serve(int fd) {
  std::string line;
  if (!read_line(fd, line, kLineMax)) return;
  unsigned long long rate = 0, megabytes = 64, bytes = kPage;
  if (std::sscanf(line.c_str(), "%llu %llu %llu", &rate, &megabytes, &bytes) < 1) return;
  bytes = std::clamp<unsigned long long>(bytes, 8, kPage);
  const uint64_t pages = pages_of(megabytes);
  void* memory =
      mmap(nullptr, pages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory == MAP_FAILED) return;
  auto* base = static_cast<uint8_t*>(memory);
  uint64_t done = 0, random = 88172645463325252u;
  const double begin = now_s();
  for (pollfd closed{fd, POLLIN, 0}; poll(&closed, 1, kStepMs) == 0;) {
    // At most what a tenth of a second asks for: after a pause the guest does not make up for all of it at once.
    const auto due = static_cast<uint64_t>((now_s() - begin) * static_cast<double>(rate));
    const uint64_t until = std::min<uint64_t>(due, done + rate / 10 + 1);
    for (; done < until; ++done) scribble(base + (done * kStride % pages) * kPage, bytes, random);
  }
  send_all(fd, std::to_string(done) + "\n");
  munmap(memory, pages * kPage);
}

}  // namespace

void serve_dirty() { accept_loop(open_port(kPort, SOCK_STREAM), serve); }

}  // namespace us::guest
