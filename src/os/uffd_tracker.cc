#include "os/uffd_tracker.h"

#include <fcntl.h>
#include <sys/syscall.h>

#include <cerrno>
#include <string>

#include "os/dirty_runs.h"
#include "os/remote_syscall.h"

namespace us {
namespace {

constexpr size_t kRegionsPerCall = 8192;  // 192 KiB; a scan of more runs takes several calls

template <typename T>
ByteSpan as_bytes(const T& value) {
  return {reinterpret_cast<const uint8_t*>(&value), sizeof value};
}

}  // namespace

Result<std::unique_ptr<UffdTracker>> UffdTracker::attach(pid_t qemu, const GuestRam& ram) {
  US_ASSIGN(std::vector<RamMapping> mappings, find_ram_mappings(qemu, ram));
  US_TRY(register_in(qemu, mappings));
  const std::string path = "/proc/" + std::to_string(qemu) + "/pagemap";
  UniqueFd pagemap(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!pagemap) return fail_errno("open " + path, errno);
  return std::unique_ptr<UffdTracker>(new UffdTracker(std::move(pagemap), std::move(mappings)));
}

UffdTracker::UffdTracker(UniqueFd pagemap, std::vector<RamMapping> mappings)
    : pagemap_(std::move(pagemap)), mappings_(std::move(mappings)), regions_(kRegionsPerCall) {}

Status UffdTracker::register_in(pid_t qemu, const std::vector<RamMapping>& mappings) {
  US_ASSIGN(auto remote, RemoteSyscalls::attach(qemu));
  US_ASSIGN(const uint64_t fd, remote->call("userfaultfd", SYS_userfaultfd, {O_CLOEXEC | O_NONBLOCK}));
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = abi::kUffdFeatureWpHugetlbfsShmem | abi::kUffdFeatureWpUnpopulated | abi::kUffdFeatureWpAsync;
  US_ASSIGN(uint64_t at, remote->scratch(as_bytes(api)));
  US_TRY(remote->call("ioctl(UFFDIO_API) with WP_ASYNC, which needs Linux 6.7,", SYS_ioctl, {fd, UFFDIO_API, at}));
  for (const RamMapping& mapping : mappings) {
    uffdio_register range{};
    range.range = {mapping.start, mapping.end - mapping.start};
    range.mode = UFFDIO_REGISTER_MODE_WP;
    US_ASSIGN(at, remote->scratch(as_bytes(range)));
    US_TRY(remote->call("ioctl(UFFDIO_REGISTER)", SYS_ioctl, {fd, UFFDIO_REGISTER, at}));
  }
  return {};
}

Status UffdTracker::scan(std::vector<DirtyRun>& out) {
  found_.clear();
  for (const RamMapping& mapping : mappings_) US_TRY(scan_mapping(mapping, found_));
  // PAGEMAP_SCAN collects 512 runs at a time inside the kernel.  If it needed more than one such turn, walk_end says
  // where the last but one ended, although all of the range has been walked (do_pagemap_scan() in fs/proc/task_mmu.c,
  // Linux 6.7 to 6.18: "The walk_end isn't set when ret is zero").  Going on from there, as one must, walks that piece
  // again, and finds what was written meanwhile: those runs come behind higher ones, or overlap the one before.
  put_in_order(found_);
  if (out.empty())
    out.swap(found_);
  else
    out.insert(out.end(), found_.begin(), found_.end());
  return {};
}

Status UffdTracker::scan_mapping(const RamMapping& mapping, std::vector<DirtyRun>& out) {
  for (uint64_t at = mapping.start; at < mapping.end;) {
    abi::PmScanArg arg{};
    arg.size = sizeof arg;
    arg.flags = abi::kPmScanWpMatching | abi::kPmScanCheckWpAsync;
    arg.start = at;
    arg.end = mapping.end;
    arg.vec = reinterpret_cast<uint64_t>(regions_.data());
    arg.vec_len = regions_.size();
    // Only PAGE_IS_WRITTEN in the masks: with others some kernels (Ubuntu's 6.8) report a written page clean.
    arg.category_mask = abi::kPageIsWritten;
    arg.return_mask = abi::kPageIsWritten;
    const int count = ::ioctl(pagemap_.get(), abi::kPagemapScan, &arg);
    if (count < 0) {
      if (errno == EINTR) continue;
      return fail_errno("ioctl(PAGEMAP_SCAN) on QEMU's memory", errno);
    }
    for (int i = 0; i < count; ++i) {
      const abi::PageRegion& region = regions_[static_cast<size_t>(i)];
      const uint64_t offset = region.start - mapping.start + mapping.file_offset;
      out.push_back({PageIndex{offset / kPageSize}, (region.end - region.start) / kPageSize});
    }
    if (arg.walk_end <= at) return fail(ErrorKind::kSystem, "PAGEMAP_SCAN made no progress");
    at = arg.walk_end;
  }
  return {};
}

}  // namespace us
