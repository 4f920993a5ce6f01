// DiskFiles: what one host has of the VM's disk on its own storage.  A killed process leaves it as it is; a power loss
// takes what was not synced (core/disk/model_disk.h).
#pragma once

#include "core/disk/image_recovery.h"
#include "core/disk/model_disk.h"
#include "sim/guest_disk.h"

namespace us::sim {

inline constexpr uint32_t kGranuleBytes = 4096;
// Marks go soon, so that one that goes too soon is missed.
inline constexpr uint64_t kMarkKeepEpochs = 2;
inline constexpr uint64_t kDiskWindow = 24 * 1024;
// The window, and what was begun within it or let through for a cut.
inline constexpr uint64_t kDiskStaged = 64 * 1024;

struct DiskFiles {
  ModelDisk image, journal, record, map;

  // A new image with `garbage` in it, or empty.
  DiskFiles(uint64_t seed, uint8_t id, bool garbage);

  Result<DiskReplica::Image> open() const;
  void power_loss();
  void set_failures(double probability);
  bool write_image(const DiskWrite& write);
  bool write_record(const ImageRecord& next);
  bool write_map(const DirtyMap::Update& update);
};

}  // namespace us::sim
