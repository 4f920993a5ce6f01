// Carries out one DiskReplica::Op on the files of an image.  Blocks: for a thread of the pool (disk_io.h).
#pragma once

#include "core/disk/disk_replica.h"
#include "host/disk_image.h"

namespace us {

// The start of a record and the data of its writes.  0 or an errno.
int write_journal(const BlockFile& file, uint64_t offset, const Bytes& start, const std::vector<DiskWrite>& writes);

// An Op of SharedTurn, with the writes of a batch one after the other.  `taken` is what TakeImage has found, journal
// included.  0 or an errno; EAGAIN: another host has the image.
int perform_shared_op(DiskImage& image, const DiskReplica::Op& op, DiskImage::Taken& taken);

// How long one TakeImage waits for the image; it is repeated.
inline constexpr Duration kTakePatience = Duration::millis(100);

}  // namespace us
