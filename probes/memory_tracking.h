// The pieces by which dirty pages are found, one by one, and then all of them together.
//
// Together means: the very class that tracks QEMU (os/uffd_tracker.h, os/soft_dirty_tracker.h) tracks a child process
// of ours, which writes pages that we choose; each scan must name exactly these.
#pragma once

#include <vector>

#include "config/vm_config.h"
#include "probes/finding.h"

namespace us::probes {

// userfaultfd with WP_ASYNC, WP_UNPOPULATED and WP_HUGETLBFS_SHMEM (Linux 6.7).
Finding probe_userfaultfd();

// The PAGEMAP_SCAN ioctl (Linux 6.7).
Finding probe_pagemap_scan();

// ptrace of a child, to make the userfaultfd inside QEMU.
Finding probe_ptrace();

// All of that together.  kUnexpected if and only if it works but does not name the right pages.
Finding probe_dirty_tracking();

// The second way, for kernels without the first: os/soft_dirty_tracker.h.
Finding probe_soft_dirty();

// What both ways mean for this host, where the VM file says `choice`: a second one that works makes up for a first that
// cannot be used, but not for one that can and names wrong pages, because kAuto would take that.  `fast`: the findings
// about the first, the last of them probe_dirty_tracking(); the last of the result is about the second.
std::vector<Finding> judge_tracking(std::vector<Finding> fast, Finding slow, DirtyTrackerChoice choice);

}  // namespace us::probes
