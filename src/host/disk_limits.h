// The bounds of one writable disk.  They go together: what a primary may have unconfirmed fits a standby's memory and
// journal.
#pragma once

#include <cstdint>

namespace us {

// What of a disk the standby's image does not hold yet, before the guest waits.
inline constexpr uint64_t kDiskWindowBytes = uint64_t{24} << 20;
// Requests that QEMU may have open, and their data.
inline constexpr uint32_t kDiskRequestsMax = 128;
inline constexpr uint64_t kDiskRequestBytesMax = uint64_t{16} << 20;
// Granules that are being read for a synchronisation, 64 KiB each.
inline constexpr unsigned kDiskCopiesMax = 32;
// What waits in a socket between QEMU and a disk, in each direction: several large requests.  With the usual 208 KiB
// the two sides take turns, several times for each of them.
inline constexpr int kDiskSendBufferBytes = 4 << 20;
// The window, twice what QEMU may have open (begun while there was a byte of room, and let through in a cut), and what
// each record is charged beside its data.
inline constexpr uint64_t kDiskStagedBytesMax = uint64_t{64} << 20;
// A mark in the dirty map stays so long after the last write; each costs a sync when it comes back.
inline constexpr uint64_t kDiskMarkKeepEpochs = 1024;

}  // namespace us
