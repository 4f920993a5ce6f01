// RAM blocks: every piece of memory that QEMU gives the guest, as `info ramblock` lists it.
//
// Asked once QEMU is up and before the guest runs.  Only one block may be writable by the guest: the shared one that
// dirty tracking watches.  Anything else that the guest can write would be stale after a takeover.
//
// The table is text for people; its columns changed once (QEMU 8.1 added HVA and RO).  A table that cannot be read
// is refused, never guessed at.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "config/vm_config.h"

namespace us {

struct RamBlock {
  enum class Access { kUnknown, kReadOnly, kReadWrite };  // kUnknown: before QEMU 8.1

  std::string name;  // empty for a memory backend that no device uses
  uint64_t used_bytes = 0;
  uint64_t total_bytes = 0;
  Access access = Access::kUnknown;
};

// The guest's RAM: the one block that is captured.
inline constexpr std::string_view kMainRamBlock = "mem";

// The HMP command whose output parse_ram_blocks reads.
inline constexpr const char* kRamBlockCommand = "info ramblock";

Result<std::vector<RamBlock>> parse_ram_blocks(std::string_view output);

// Success: "mem" is there with all the VM's memory, and every other block is a known ROM.  The error (kRefused) names
// the blocks that are not.
Status check_ram_blocks(const std::vector<RamBlock>& blocks, const VmConfig& config);

}  // namespace us
