// Capture: ends an epoch.  Stops the guest, copies what makes up its state, and lets it go on.
//
//     stop ──► rings quiet ──┬─ QEMU saves its devices ─┬──► (cont)
//                            └─ scan + copy of RAM here ─┘
//
// The pause is what the guest pays, so the two halves run at the same time, and nothing else happens in it.
//
// A reset that the guest asked for just before it was stopped is carried out by QEMU between its answer to `stop` and
// the saving of its devices (its main loop looks for one after each turn, and takes one command a turn), so beside our
// scan.  The RESET event, which comes before the answer to the save, tells; the scan and the copy are then made again,
// and the epoch holds the machine after its reset.
// Errors mean that QEMU is of no use any more.  Engine thread only.
#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "base/histogram.h"
#include "base/result.h"
#include "core/memory/page_history.h"
#include "core/memory/ram_hashes.h"
#include "host/captured_epoch.h"
#include "host/dirty_page_fault.h"
#include "host/vm.h"

namespace us {

struct PauseParts {
  Duration stop;    // until QEMU says that the guest stands
  Duration scan;    // finding the dirty pages
  Duration copy;    // copying them, and the replicated state of the data path
  Duration save;    // what QEMU still needed for its devices when the copy was done, and reading them
  Duration resume;  // until QEMU says that the guest runs
  Duration audit;   // hashing the RAM, in an audited epoch
  Duration total;   // without the audit
};

class Capture {
 public:
  explicit Capture(Vm& vm) : vm_(vm), history_(vm.ram().page_count()) {}

  // A standby is about to be given everything: what was written before does not count.  `first` is its first epoch.
  // Leaves all pages unmarked.
  Status begin_session(Epoch first);
  void inject(const DirtyPageFault& fault) { fault_ = fault; }

  // Stops the guest and fills `out` for `epoch` with the pages written since the last scan and those of `owed`, which
  // an earlier scan found and nobody has sent.  The guest stays stopped.  `hashes`, when given, gets those of the whole
  // RAM.
  Status stop_and_copy(Epoch epoch, const std::vector<DirtyRun>& owed, CapturedEpoch& out,
                       std::unique_ptr<RamHashes>* hashes = nullptr);
  // Lets it go on; frames that it sends from here belong to the epoch after.
  Status resume();
  const PauseParts& parts() const { return parts_; }
  // How many resets fell into a pause; any thread.
  uint64_t resets_in_pauses() const { return resets_in_pauses_; }

  // The dirty pages so far, watched anew, while the guest runs (for the first synchronisation).  A tracker that cannot
  // be exact then stops it for the time of the scan. `epoch` is the one that will be the first to carry what is found.
  Status scan_live(Epoch epoch, std::vector<DirtyRun>& out);

  // Who wrote the page last, in this session.
  PageHistory::Last last_writer(PageIndex page) const { return history_.last(page); }

 private:
  Status copy_pages(CapturedEpoch& out);
  Status add_pages_of_reset(Epoch epoch, CapturedEpoch& out);
  Status read_device_state(Bytes& out);
  // Both sources of dirty pages, merged.
  Status collect_dirty(Epoch epoch, bool is_cut, std::vector<DirtyRun>& out);
  Status collect_from_running_guest(Epoch epoch, std::vector<DirtyRun>& out);
  // What collect_dirty() found last belongs to `epoch`.
  void note_writers(Epoch epoch);

  Vm& vm_;
  PauseParts parts_;
  Instant began_;
  std::optional<Epoch> captured_;  // and the guest was not resumed since
  std::atomic<uint64_t> resets_in_pauses_{0};
  PageHistory history_;
  DirtyPageFault fault_;
  std::vector<DirtyRun> own_runs_;
  std::vector<DirtyRun> scanned_;
  std::vector<DirtyRun> merged_;
};

// Ascending, disjoint union of two lists that are ascending; a list that is not would lose pages, and is a bug.
void merge_runs(const std::vector<DirtyRun>& a, const std::vector<DirtyRun>& b, std::vector<DirtyRun>& out);

}  // namespace us
