#include "probes/host.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>

#include "config/units.h"
#include "os/unique_fd.h"

namespace us::probes {
namespace {

constexpr int kKernelMajor = 6;
constexpr int kKernelMinor = 7;
constexpr uint64_t kKib = 1024;

uint64_t available_memory() {
  std::ifstream meminfo("/proc/meminfo");
  for (std::string line; std::getline(meminfo, line);) {
    unsigned long long kib = 0;
    if (std::sscanf(line.c_str(), "MemAvailable: %llu kB", &kib) == 1) return kib * kKib;
  }
  return 0;
}

uint64_t in_mebibytes(uint64_t bytes) { return bytes / config::kMiB; }

}  // namespace

Finding probe_kernel() {
  utsname name{};
  ::uname(&name);
  return judge_kernel(name.release);
}

Finding judge_kernel(std::string_view release) {
  Finding out{"kernel", "tracking the guest's dirty pages from outside QEMU", Verdict::kOk,
              fmt::format("Linux {}", release), ""};
  int major = 0, minor = 0;
  if (std::sscanf(std::string(release).c_str(), "%d.%d", &major, &minor) != 2) {
    out.verdict = Verdict::kUnexpected;
    out.advice = "this is no Linux release number";
  } else if (major < kKernelMajor || (major == kKernelMajor && minor < kKernelMinor)) {
    out.verdict = Verdict::kMissing;
    out.advice = "Linux 6.7 or later is needed; on Debian 12 install linux-image-amd64 from bookworm-backports";
  }
  return out;
}

Finding probe_processors() {
  const long count = ::sysconf(_SC_NPROCESSORS_ONLN);
  Finding out{"processors", "the guest, its packets and its replication at the same time", Verdict::kOk,
              fmt::format("{} online", count), ""};
  if (count < 2) {
    out.verdict = Verdict::kDegraded;
    out.advice = "with one processor the guest waits for its own replication; two or more are better";
  }
  return out;
}

Finding probe_memory(uint64_t guest_bytes) { return judge_memory(available_memory(), guest_bytes); }

Finding judge_memory(uint64_t available_bytes, uint64_t guest_bytes) {
  Finding out{"memory", "the guest's RAM, and on a standby up to a quarter more", Verdict::kOk,
              fmt::format("{} MiB available", in_mebibytes(available_bytes)), ""};
  const uint64_t wanted = guest_bytes + guest_bytes / 4;
  if (guest_bytes > 0) out.evidence += fmt::format(", {} MiB wanted", in_mebibytes(wanted));
  if (available_bytes == 0) {
    out.verdict = Verdict::kUnexpected;
    out.evidence = "/proc/meminfo says nothing about MemAvailable";
    out.advice = "mount /proc";
  } else if (available_bytes < guest_bytes) {
    out.verdict = Verdict::kMissing;
    out.advice = "free memory, or give the VM less with the key memory";
  } else if (available_bytes < wanted) {
    out.verdict = Verdict::kDegraded;
    out.advice = "enough for the VM, but tight for a standby: free some memory";
  }
  return out;
}

Finding probe_memfd() {
  Finding out{"memfd", "guest RAM that QEMU and Understudy share", Verdict::kOk, "memfd_create works", ""};
  const UniqueFd fd(::memfd_create("understudy-probe", MFD_CLOEXEC));
  const int error = errno;
  if (!fd || ::ftruncate(fd.get(), 1 << 20) != 0) {
    out.verdict = verdict_of_errno(error);
    out.evidence = fmt::format("memfd_create: {}", std::strerror(error));
    out.advice = "run as root, outside a sandbox that forbids memfd_create";
  }
  return out;
}

}  // namespace us::probes
