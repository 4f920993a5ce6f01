// Which dirty tracker watches a QEMU: the fast one where the kernel has what it needs, else the slow one.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "os/dirty_tracker.h"
#include "os/guest_ram.h"

namespace us {

enum class TrackerChoice { kAuto, kUserfaultfd, kSoftDirty };

struct ChosenTracker {
  std::unique_ptr<DirtyTracker> tracker;
  std::string reason;  // why this one
};

// The guest must not have run yet.  Error: what keeps each of those tried from working.
Result<ChosenTracker> attach_tracker(TrackerChoice choice, pid_t qemu, const GuestRam& ram);

}  // namespace us
