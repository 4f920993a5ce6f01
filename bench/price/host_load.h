// What a host of the lab spends: processor time and memory of its processes (proc(5)).
#pragma once

#include <string>

#include "demo/netns.h"

namespace us::bench {

// User and system time so far of all processes on the host whose name begins with `name`, in seconds.
double cpu_seconds(const demo::NetNs& host, const std::string& name);

// Proportional set size of all of its processes, in MB (2^20): what daemon and QEMU share counts once.
double memory_mb(const demo::NetNs& host);

}  // namespace us::bench
