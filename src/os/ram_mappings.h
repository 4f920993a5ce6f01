// Where a process has the guest's RAM file mapped; a machine may have it in pieces.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "os/guest_ram.h"

namespace us {

struct RamMapping {
  uint64_t start;  // addresses in that process
  uint64_t end;
  uint64_t file_offset;
};

// Ascending by file offset.  Error: the pieces are not the whole file, each byte once.
Result<std::vector<RamMapping>> find_ram_mappings(pid_t process, const GuestRam& ram);

}  // namespace us
