// CapturedEpoch: everything an epoch consists of, copied while the guest stood still.
//
// Owned by the capture pool; reused, so that its memory is faulted in once.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/strong.h"
#include "core/memory/page_codec.h"
#include "os/dirty_tracker.h"

namespace us {

struct CapturedEpoch {
  Epoch epoch;
  bool handover = false;
  std::vector<DirtyRun> runs;  // ascending, disjoint
  uint64_t pages = 0;
  Bytes device_state;
  Bytes nic_addresses;
  Bytes relays;
  Bytes disk_barrier;  // empty for a VM without writable disks

  // The bytes of the pages, in the order of the runs.
  const uint8_t* page_bytes() const { return bytes_.get(); }
  // Room for `count` pages; contents are undefined.
  uint8_t* reserve(uint64_t count);
  // Gives memory back when far more is held than this epoch needed.
  void trim();

 private:
  std::unique_ptr<uint8_t[]> bytes_;
  uint64_t capacity_pages_ = 0;
};

}  // namespace us
