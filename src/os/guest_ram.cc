#include "os/guest_ram.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/check.h"

namespace us {

Result<GuestRam> GuestRam::create(uint64_t size) {
  US_CHECK(size > 0 && size % kPageSize == 0);
  UniqueFd fd(::memfd_create("understudy-guest-ram", MFD_CLOEXEC));
  if (!fd) return fail_errno("memfd_create for the guest's memory", errno);
  if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0) return fail_errno("ftruncate of the guest's memory", errno);
  struct stat identity {};
  if (::fstat(fd.get(), &identity) != 0) return fail_errno("fstat of the guest's memory", errno);
  void* base = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd.get(), 0);
  if (base == MAP_FAILED) return fail_errno("mmap of the guest's memory", errno);
  return GuestRam(std::move(fd), static_cast<uint8_t*>(base), size, identity.st_dev, identity.st_ino);
}

GuestRam::GuestRam(UniqueFd fd, uint8_t* base, uint64_t size, dev_t device, ino_t inode)
    : fd_(std::move(fd)), base_(base), size_(size), device_(device), inode_(inode) {}

GuestRam::GuestRam(GuestRam&& other) noexcept
    : fd_(std::move(other.fd_)),
      base_(std::exchange(other.base_, nullptr)),
      size_(other.size_),
      device_(other.device_),
      inode_(other.inode_) {}

GuestRam::~GuestRam() {
  if (base_ != nullptr) ::munmap(base_, size_);
}

std::span<uint8_t, kPageSize> GuestRam::page(PageIndex index) const {
  US_CHECK(index.value() < page_count());
  return std::span<uint8_t, kPageSize>(base_ + index.value() * kPageSize, kPageSize);
}

Result<std::vector<DirtyRun>> GuestRam::data_runs() const {
  std::vector<DirtyRun> runs;
  for (off_t at = 0; static_cast<uint64_t>(at) < size_;) {
    const off_t data = ::lseek(fd_.get(), at, SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;  // only a hole is left
    if (data < 0) return fail_errno("lseek(SEEK_DATA) in the guest's memory", errno);
    const off_t hole = ::lseek(fd_.get(), data, SEEK_HOLE);
    if (hole < 0) return fail_errno("lseek(SEEK_HOLE) in the guest's memory", errno);
    const uint64_t first = static_cast<uint64_t>(data) / kPageSize;
    runs.push_back({PageIndex{first}, (static_cast<uint64_t>(hole) + kPageSize - 1) / kPageSize - first});
    at = hole;
  }
  return runs;
}

Status GuestRam::discard() {
  if (::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(size_)) != 0)
    return fail_errno("fallocate(PUNCH_HOLE) of the guest's memory", errno);
  return {};
}

}  // namespace us
