// Memory map: where QEMU shows a piece of the guest's RAM to the guest, as `info mtree -f` lists it.
//
// For reports only: a page is named by its guest-physical address as well as by its place in the RAM file.  The table
// is text for people; what cannot be read in it is left out.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/strong.h"

namespace us {

struct MappedRam {
  uint64_t start;  // guest-physical
  uint64_t size;
  uint64_t offset;  // in the RAM block
};

// The HMP command whose output parse_memory_map reads.
inline constexpr const char* kMemoryMapCommand = "info mtree -f";

// The pieces of the RAM block "mem" in the view that the processors have outside of system management mode.
std::vector<MappedRam> parse_memory_map(std::string_view output);

// Nothing: the guest does not see that byte at the moment (a ROM or a device lies over it).
std::optional<GuestPhysAddr> guest_address(const std::vector<MappedRam>& map, uint64_t offset);

}  // namespace us
