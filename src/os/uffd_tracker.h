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
#include "os/unique_fd.h"

namespace us {

class UffdTracker final : public DirtyTracker {
 public:
  static Result<std::unique_ptr<UffdTracker>> attach(pid_t qemu, const GuestRam& ram);
  Status scan(std::vector<DirtyRun>& out) override;
  const char* name() const override { return "userfaultfd"; }

 private:
  // A piece of the RAM file as QEMU has it mapped.
  struct Mapping {
    uint64_t start;
    uint64_t end;
    uint64_t file_offset;
  };
  UffdTracker(UniqueFd pagemap, std::vector<Mapping> mappings);
  static Result<std::vector<Mapping>> find_mappings(pid_t qemu, const GuestRam& ram);
  static Status register_in(pid_t qemu, const std::vector<Mapping>& mappings);
  Status scan_mapping(const Mapping& mapping, std::vector<DirtyRun>& out);

  UniqueFd pagemap_;
  std::vector<Mapping> mappings_;
  std::vector<abi::PageRegion> regions_;
};

}  // namespace us
