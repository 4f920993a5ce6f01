// UffdTracker: dirty pages by asynchronous write protection (userfaultfd WP_ASYNC, Linux 6.7) and PAGEMAP_SCAN.
//
// The kernel resolves each first write to a protected page by itself and remembers it in the page table; PAGEMAP_SCAN
// on /proc/PID/pagemap reads these marks from outside and protects again in the same step.  The guest never waits
// for this process.  Sources: Documentation/admin-guide/mm/{userfaultfd,pagemap}.rst of Linux 6.7.
//
// The userfaultfd lives in QEMU (os/remote_syscall.h) and goes with it.  attach() must run before the guest does.
#pragma once

#include <sys/types.h>

#include <memory>

#include "os/dirty_tracker.h"
#include "os/guest_ram.h"
#include "os/kernel_abi.h"
#include "os/ram_mappings.h"
#include "os/unique_fd.h"

namespace us {

class UffdTracker final : public DirtyTracker {
 public:
  static Result<std::unique_ptr<UffdTracker>> attach(pid_t qemu, const GuestRam& ram);
  Status scan(std::vector<DirtyRun>& out) override;
  const char* name() const override { return "userfaultfd"; }
  bool exact_while_written() const override { return true; }

 private:
  UffdTracker(UniqueFd pagemap, std::vector<RamMapping> mappings);
  static Status register_in(pid_t qemu, const std::vector<RamMapping>& mappings);
  Status scan_mapping(const RamMapping& mapping, std::vector<DirtyRun>& out);

  UniqueFd pagemap_;
  std::vector<RamMapping> mappings_;
  std::vector<abi::PageRegion> regions_;
  std::vector<DirtyRun> found_;
};

}  // namespace us
