// DirtyPageFault: hides one dirty page from the engine, as a faulty dirty tracker would, so that a test or an operator
// can see an audit find it: `understudy run --inject drop-dirty-page=N`.
//
// At the Nth cut of the first session it picks the first page that the guest has written, and hides it there and in all
// later scans of that session.  Later sessions are left alone.  Never active without the option.
//
// `reset-in-pause=N` instead: in the Nth cut QEMU is told to reset the machine between the stop and the saving of
// devices, where a guest that resets itself brings it about once in many thousand times at most.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "os/dirty_tracker.h"

namespace us {

class DirtyPageFault {
 public:
  // Does nothing.
  DirtyPageFault() = default;
  explicit DirtyPageFault(uint64_t cut) : cuts_left_(cut) {}
  // "drop-dirty-page=N" or "reset-in-pause=N", N from 1 on; empty: none.
  static Result<DirtyPageFault> parse(std::string_view text);

  void on_session() {
    if (page_) cuts_left_ = 0;
    page_.reset();
  }
  // At each cut.  Returns true when the machine is to be reset in this one.
  bool on_stop() { return stops_left_ > 0 && --stops_left_ == 0; }
  // `runs`: what a scan found, ascending.  Returns true when it has just picked its page.
  bool on_scan(std::vector<DirtyRun>& runs, bool is_cut);
  std::optional<PageIndex> page() const { return page_; }

 private:
  static void remove(PageIndex page, std::vector<DirtyRun>& runs);

  uint64_t cuts_left_ = 0;   // until the page is picked; 0: never
  uint64_t stops_left_ = 0;  // until the reset; 0: never
  std::optional<PageIndex> page_;
};

}  // namespace us
