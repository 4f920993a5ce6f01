// Kernel interfaces newer than Debian 12's own headers (6.1), by value.
//
// Sources: include/uapi/linux/userfaultfd.h and include/uapi/linux/fs.h of Linux 6.7;
// Documentation/admin-guide/mm/{userfaultfd,pagemap}.rst.
#pragma once

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#include <cstdint>

namespace us::abi {

inline constexpr uint64_t kUffdFeatureWpHugetlbfsShmem = 1u << 12;  // Linux 5.19
inline constexpr uint64_t kUffdFeatureWpUnpopulated = 1u << 13;     // Linux 6.4
inline constexpr uint64_t kUffdFeatureWpAsync = 1u << 15;           // Linux 6.7

struct PageRegion {
  uint64_t start;
  uint64_t end;
  uint64_t categories;
};

struct PmScanArg {
  uint64_t size;
  uint64_t flags;
  uint64_t start;
  uint64_t end;
  uint64_t walk_end;
  uint64_t vec;
  uint64_t vec_len;
  uint64_t max_pages;
  uint64_t category_inverted;
  uint64_t category_mask;
  uint64_t category_anyof_mask;
  uint64_t return_mask;
};
static_assert(sizeof(PmScanArg) == 96 && sizeof(PageRegion) == 24);

inline constexpr unsigned long kPagemapScan = _IOWR('f', 16, PmScanArg);
inline constexpr uint64_t kPmScanWpMatching = 1u << 0;
inline constexpr uint64_t kPmScanCheckWpAsync = 1u << 1;
inline constexpr uint64_t kPageIsWritten = 1u << 1;

}  // namespace us::abi
