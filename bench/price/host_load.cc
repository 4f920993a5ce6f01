#include "price/host_load.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "demo/cluster.h"

namespace us::bench {

double cpu_seconds(const demo::NetNs& host, const std::string& name) {
  double ticks = 0;
  for (const pid_t pid : host.processes()) {
    if (!demo::process_name(pid).starts_with(name)) continue;
    std::ifstream file(fmt::format("/proc/{}/stat", pid));
    std::string text;
    std::getline(file, text);
    // Fields 14 and 15; the name in parentheses may hold spaces.
    long long user = 0, system = 0;
    const size_t end = text.rfind(')');
    if (end != std::string::npos &&
        std::sscanf(text.c_str() + end + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lld %lld", &user, &system) ==
            2)
      ticks += static_cast<double>(user + system);
  }
  return ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

double memory_mb(const demo::NetNs& host) {
  double kilobytes = 0;
  for (const pid_t pid : host.processes()) {
    std::ifstream file(fmt::format("/proc/{}/smaps_rollup", pid));
    for (std::string line; std::getline(file, line);) {
      long long value = 0;
      if (std::sscanf(line.c_str(), "Pss: %lld kB", &value) == 1) kilobytes += static_cast<double>(value);
    }
  }
  return kilobytes / 1024;
}

}  // namespace us::bench
