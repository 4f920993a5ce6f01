// SoftDirtyTracker: dirty pages by the kernel's soft-dirty bits, for hosts without WP_ASYNC and PAGEMAP_SCAN (before
// Linux 6.7; Debian 12 has 6.1).
//
// Writing "4" to /proc/PID/clear_refs takes the write permission from every page that QEMU has mapped; its next write
// to one faults, and the kernel sets bit 55 of the page's entry in /proc/PID/pagemap.  A scan reads these bits, then
// clears them: two steps.  Source: Documentation/admin-guide/mm/{soft-dirty,pagemap}.rst of Linux 6.1.
//
// What can lose a write, and what is done about it (docs/adr/0007-dirty-trackers.md has the reasons):
//   * A write between the read and the clear.  So nobody may write during scan(): exact_while_written() is false, and
//     the owner stops the guest, and waits until QEMU has saved its devices.  Clearing first and reading then is no way
//     out: it loses what was written before the clear.
//   * Swapping out and huge pages drop the entries of shared memory together with their bits (pagemap.rst, "Exceptions
//     for Shared Memory").  So attach() locks the RAM into memory, and refuses a host with huge pages for shared
//     memory.
//   * Devices that write to pinned pages without a page table (VFIO, O_DIRECT): the first are refused in VM files, the
//     second are not used, and QEMU finishes all its I/O before it answers `stop`.
// KVM's own accesses are seen: clear_refs calls its MMU notifiers, and it maps pages anew through QEMU's page table.
//
// Costs: a scan walks the page tables of all of QEMU, twice if anything was written, and every page that the guest or
// QEMU touches afterwards costs a fault.  All of the guest's RAM is taken from the host at once.
#pragma once

#include <sys/types.h>

#include <memory>

#include "os/dirty_tracker.h"
#include "os/guest_ram.h"
#include "os/ram_mappings.h"
#include "os/unique_fd.h"

namespace us {

class SoftDirtyTracker final : public DirtyTracker {
 public:
  // Whether this kernel has soft-dirty bits.
  static Status check_kernel();
  // `ram` outlives the tracker's process; its memory stays locked.
  static Result<std::unique_ptr<SoftDirtyTracker>> attach(pid_t qemu, const GuestRam& ram);

  Status scan(std::vector<DirtyRun>& out) override;
  const char* name() const override { return "soft-dirty"; }
  bool exact_while_written() const override { return false; }

 private:
  SoftDirtyTracker(UniqueFd pagemap, UniqueFd clear_refs, std::vector<RamMapping> mappings);
  Status read_mapping(const RamMapping& mapping, std::vector<DirtyRun>& out);
  Status clear();

  UniqueFd pagemap_;
  UniqueFd clear_refs_;
  std::vector<RamMapping> mappings_;
  std::vector<uint64_t> entries_;
};

// "always within_size advise [never] deny force": false if shared memory may get huge pages by that setting.
bool shared_memory_has_small_pages_only(std::string_view shmem_enabled);

}  // namespace us
