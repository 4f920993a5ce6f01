// Capture: ends an epoch.  Stops the guest, copies what makes up its state, and lets it go on.
//
//     stop ──► rings quiet ──┬─ QEMU saves its devices ─┬──► (cont)
//                            └─ scan + copy of RAM here ─┘
//
// The pause is what the guest pays, so the two halves run at the same time, and nothing else happens in it.
// Errors mean that QEMU is of no use any more.  Engine thread only.
#pragma once

#include <memory>

#include "base/histogram.h"
#include "base/result.h"
#include "host/captured_epoch.h"
#include "host/vm.h"

namespace us {

struct PauseParts {
  Duration stop;   // until QEMU says that the guest stands
  Duration scan;   // finding the dirty pages
  Duration copy;   // copying them, and the replicated state of the data path
  Duration save;   // what QEMU still needed for its devices when the copy was done, and reading them
  Duration resume; // until QEMU says that the guest runs
  Duration total;
};

class Capture {
 public:
  explicit Capture(Vm& vm) : vm_(vm) {}

  // Stops the guest and fills `out` for `epoch` with the pages written since the last scan and those of `owed`, which an
  // earlier scan found and nobody has sent.  The guest stays stopped.
  Status stop_and_copy(Epoch epoch, const std::vector<DirtyRun>& owed, CapturedEpoch& out);
  // Lets it go on; frames that it sends from here belong to the epoch after.
  Status resume();
  const PauseParts& parts() const { return parts_; }

  // The dirty pages so far, watched anew; without stopping anything (for the first synchronisation).
  Status scan_live(std::vector<DirtyRun>& out);

 private:
  Status copy_pages(CapturedEpoch& out);
  Status read_device_state(Bytes& out);
  // Both sources of dirty pages, merged.
  Status collect_dirty(std::vector<DirtyRun>& out);

  Vm& vm_;
  PauseParts parts_;
  Instant began_;
  std::vector<DirtyRun> own_runs_;
  std::vector<DirtyRun> scanned_;
  std::vector<DirtyRun> merged_;
};

// Ascending, disjoint union of two ascending lists.
void merge_runs(const std::vector<DirtyRun>& a, const std::vector<DirtyRun>& b, std::vector<DirtyRun>& out);

}  // namespace us
