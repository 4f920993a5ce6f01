// DirtyTracker: which pages of the guest's RAM file QEMU (and the guest in it) has written.
//
// scan() is exact from one call to the next: every page written since the previous scan is reported; the first call
// may report every page.  If exact_while_written(), a page written during a scan is in this one or in the next; if not,
// nobody may write during scan(), and the caller sees to that.
// Writes that this process makes through its own mapping are not seen: the data path records those itself
// (core/memory/dirty_set.h).
// Errors: QEMU is gone, or the kernel lacks the feature (see probes/).  Which tracker is used: choose_tracker.h.
#pragma once

#include <vector>

#include "base/result.h"
#include "base/strong.h"

namespace us {

// Pages [first, first + count) of the RAM file.
struct DirtyRun {
  PageIndex first;
  uint64_t count;
};

class DirtyTracker {
 public:
  virtual ~DirtyTracker() = default;
  // Appends the written runs to `out`, in ascending order, and starts watching them anew.
  virtual Status scan(std::vector<DirtyRun>& out) = 0;
  // For status: the method's name, e.g. "userfaultfd".
  virtual const char* name() const = 0;
  virtual bool exact_while_written() const = 0;
};

}  // namespace us
