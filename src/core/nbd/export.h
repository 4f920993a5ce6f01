// NbdExport: what a client is told about one disk, and by which its requests are judged.  Plain data.
#pragma once

#include <cstdint>
#include <string>

#include "core/nbd/protocol.h"

namespace us {

struct NbdExport {
  std::string name = {};         // at most kNbdStringBytesMax
  std::string description = {};  // for a person; may be empty
  uint64_t size_bytes = 0;       // a multiple of block_bytes_min
  // A power of two up to 64 KiB: every offset and length is a multiple of it, or is answered EINVAL.
  uint32_t block_bytes_min = 1;
  uint32_t block_bytes_preferred = 4096;  // a power of two, at least 512 and block_bytes_min
  bool read_only = false;
  // FLUSH on one connection covers what other connections were told is written.
  bool multi_connection = false;
};

// What the handshake has agreed on.
struct NbdAgreement {
  size_t export_index = 0;
  bool structured_replies = false;
  bool allocation_context = false;  // base:allocation was selected for this export
};

// The id under which base:allocation is reported; any number would do.
inline constexpr uint32_t kNbdAllocationContextId = 1;

}  // namespace us
