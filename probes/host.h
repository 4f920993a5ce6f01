// The host itself: kernel version, processors, memory.
#pragma once

#include <cstdint>
#include <string_view>

#include "probes/finding.h"

namespace us::probes {

// Linux 6.7 is the first with asynchronous write protection and PAGEMAP_SCAN.
Finding probe_kernel();
// The same for a given release string, "6.1.0-50-amd64".
Finding judge_kernel(std::string_view release);

// The guest, the data path and the replication each keep a core busy at times.
Finding probe_processors();

// A standby holds the guest's RAM and up to a quarter more; `guest_bytes` 0: only shows what is free.
Finding probe_memory(uint64_t guest_bytes);
Finding judge_memory(uint64_t available_bytes, uint64_t guest_bytes);

// memfd_create: the guest's RAM is an anonymous shared file.
Finding probe_memfd();

}  // namespace us::probes
