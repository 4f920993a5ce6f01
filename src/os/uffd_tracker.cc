#include "os/uffd_tracker.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <string>

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
  US_ASSIGN(std::vector<Mapping> mappings, find_mappings(qemu, ram));
  US_TRY(register_in(qemu, mappings));
  const std::string path = "/proc/" + std::to_string(qemu) + "/pagemap";
  UniqueFd pagemap(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!pagemap) return fail_errno("open " + path, errno);
  return std::unique_ptr<UffdTracker>(new UffdTracker(std::move(pagemap), std::move(mappings)));
}

UffdTracker::UffdTracker(UniqueFd pagemap, std::vector<Mapping> mappings)
    : pagemap_(std::move(pagemap)), mappings_(std::move(mappings)), regions_(kRegionsPerCall) {}

Result<std::vector<UffdTracker::Mapping>> UffdTracker::find_mappings(pid_t qemu, const GuestRam& ram) {
  std::vector<Mapping> found;
  uint64_t covered = 0;
  std::ifstream maps("/proc/" + std::to_string(qemu) + "/maps");
  for (std::string line; std::getline(maps, line);) {
    uint64_t start = 0, end = 0, offset = 0, inode = 0;
    unsigned major_number = 0, minor_number = 0;
    char mode[5] = {};
    if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64, &start, &end, mode, &offset,
                    &major_number, &minor_number, &inode) != 7)
      continue;
    if (inode != ram.inode() || makedev(major_number, minor_number) != ram.device()) continue;
    found.push_back({start, end, offset});
    covered += end - start;
  }
  if (covered != ram.size())
    return fail(ErrorKind::kSystem, "QEMU maps " + std::to_string(covered) + " bytes of the guest's memory instead of " +
                                        std::to_string(ram.size()));
  std::sort(found.begin(), found.end(), [](const Mapping& a, const Mapping& b) { return a.file_offset < b.file_offset; });
  return found;
}

Status UffdTracker::register_in(pid_t qemu, const std::vector<Mapping>& mappings) {
  US_ASSIGN(auto remote, RemoteSyscalls::attach(qemu));
  US_ASSIGN(const uint64_t fd, remote->call("userfaultfd", SYS_userfaultfd, {O_CLOEXEC | O_NONBLOCK}));
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = abi::kUffdFeatureWpHugetlbfsShmem | abi::kUffdFeatureWpUnpopulated | abi::kUffdFeatureWpAsync;
  US_ASSIGN(uint64_t at, remote->scratch(as_bytes(api)));
  US_TRY(remote->call("ioctl(UFFDIO_API) with WP_ASYNC, which needs Linux 6.7,", SYS_ioctl, {fd, UFFDIO_API, at}));
  for (const Mapping& mapping : mappings) {
    uffdio_register range{};
    range.range = {mapping.start, mapping.end - mapping.start};
    range.mode = UFFDIO_REGISTER_MODE_WP;
    US_ASSIGN(at, remote->scratch(as_bytes(range)));
    US_TRY(remote->call("ioctl(UFFDIO_REGISTER)", SYS_ioctl, {fd, UFFDIO_REGISTER, at}));
  }
  return {};
}

Status UffdTracker::scan(std::vector<DirtyRun>& out) {
  for (const Mapping& mapping : mappings_) US_TRY(scan_mapping(mapping, out));
  return {};
}

Status UffdTracker::scan_mapping(const Mapping& mapping, std::vector<DirtyRun>& out) {
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
