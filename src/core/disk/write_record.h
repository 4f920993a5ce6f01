// How a guest's writes and the barrier of an epoch travel to the standby.
//
// A record is a 32-byte head and, for kData, the bytes.  The barrier is the SideKind::kDiskBarrier of an epoch: how
// many records of each disk belong to it, so that an epoch is whole only with all of its writes. Byte tables:
// docs/wire/disk.md.  Decoding is strict; errors are ErrorKind::kProtocol.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/strong.h"
#include "core/disk/disk_write.h"

namespace us {

using DiskIndex = Strong<struct DiskIndexTag, uint8_t>;  // position in the VM file
inline constexpr size_t kDiskIndexMax = 16;
inline constexpr size_t kWriteRecordHeadBytes = 32;
// What a record that waits in memory is charged beside its data, so that many small ones are bounded as well.  It pays
// for the two extents that it may become in an ExtentMap and in a journal.
inline constexpr uint64_t kWriteChargeBytes = 256;
inline constexpr uint32_t kWriteRecordDataMax = 128 * 1024;  // a longer write is several records

struct WriteRecord {
  DiskIndex disk;
  Epoch epoch;
  DiskWrite write;
};

// Appends the record (its data: at most kWriteRecordDataMax bytes).
void encode(const WriteRecord& record, Bytes& out);
// Takes one record off the front; copies its data.
Result<WriteRecord> decode_write_record(ByteReader& in);

// The parts of a write as records may carry it.
std::vector<DiskWrite> split_for_records(const DiskWrite& write);

struct DiskBarrier {
  Epoch epoch;
  struct Count {
    DiskIndex disk;
    uint64_t records = 0;  // of this epoch
    uint64_t bytes = 0;    // of data in them
    bool operator==(const Count&) const = default;
  };
  std::vector<Count> disks;  // every disk of the VM, in order
  bool operator==(const DiskBarrier&) const = default;
};
Bytes encode(const DiskBarrier& barrier);
Result<DiskBarrier> decode_disk_barrier(ByteSpan bytes);

}  // namespace us
