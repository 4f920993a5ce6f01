#include "os/choose_tracker.h"

#include "os/soft_dirty_tracker.h"
#include "os/uffd_tracker.h"

namespace us {

Result<ChosenTracker> attach_tracker(TrackerChoice choice, pid_t qemu, const GuestRam& ram) {
  std::string obstacle;
  if (choice != TrackerChoice::kSoftDirty) {
    auto fast = UffdTracker::attach(qemu, ram);
    if (fast) return ChosenTracker{std::move(*fast), "write protection without a stop (Linux 6.7)"};
    if (choice == TrackerChoice::kUserfaultfd) return tl::unexpected<Error>(fast.error());
    obstacle = fast.error().message;
  }
  auto slow = SoftDirtyTracker::attach(qemu, ram);
  if (!slow && obstacle.empty()) return tl::unexpected<Error>(slow.error());
  if (!slow)
    return fail(ErrorKind::kRefused, "no way to find the guest's dirty pages: userfaultfd: " + obstacle +
                                         "; soft-dirty: " + slow.error().message);
  return ChosenTracker{std::move(*slow), obstacle.empty() ? "the VM file says so" : "slower; userfaultfd: " + obstacle};
}

}  // namespace us
