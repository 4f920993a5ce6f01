// Hashes the whole RAM with several threads: what an audit costs the guest, since it stands still meanwhile.
#pragma once

#include <memory>

#include "core/memory/ram_hashes.h"
#include "os/guest_ram.h"

namespace us {

std::unique_ptr<RamHashes> hash_ram(const GuestRam& ram);

}  // namespace us
