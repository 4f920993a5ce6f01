// DirtyPageFault: hides one dirty page from the engine, as a faulty dirty tracker would, so that a test or an operator
// can see an audit find it: `understudy run --inject drop-dirty-page=N`.
//
// At the Nth cut of the first session it picks the first page that the guest has written, and hides it there and in all
// later scans of that session.  Later sessions are left alone.  Never active without the option.
//
// `reset-in-pause=N`, `power-off-in-pause=N` and `panic-in-pause=N` instead: in the Nth cut QEMU is told, between the
// stop and the saving of devices, what a guest that resets itself, powers itself off or panics brings about there once
// in many thousand times at most.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "os/dirty_tracker.h"

namespace us {

// What the guest does in the moment in which it is stopped.
enum class PauseEvent { kReset, kPowerOff, kPanic };

class DirtyPageFault {
 public:
  // Does nothing.
  DirtyPageFault() = default;
  explicit DirtyPageFault(uint64_t cut) : cuts_left_(cut) {}
  // "drop-dirty-page=N" or one of the others, N from 1 on; empty: none.
  static Result<DirtyPageFault> parse(std::string_view text);

  void on_session() {
    if (page_) cuts_left_ = 0;
    page_.reset();
  }
  // At each cut.  What is to happen in this one.
  std::optional<PauseEvent> on_stop() {
    if (stops_left_ == 0 || --stops_left_ > 0) return std::nullopt;
    return pause_event_;
  }
  // `runs`: what a scan found, ascending.  Returns true when it has just picked its page.
  bool on_scan(std::vector<DirtyRun>& runs, bool is_cut);
  std::optional<PageIndex> page() const { return page_; }

 private:
  static void remove(PageIndex page, std::vector<DirtyRun>& runs);

  uint64_t cuts_left_ = 0;   // until the page is picked; 0: never
  uint64_t stops_left_ = 0;  // until the event; 0: never
  PauseEvent pause_event_ = PauseEvent::kReset;
  std::optional<PageIndex> page_;
};

}  // namespace us
