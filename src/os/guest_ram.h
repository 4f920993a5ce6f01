// GuestRam: the guest's memory as a memfd that this process owns and QEMU inherits.
//
// Primary and standby both create it before QEMU starts and pass the descriptor on
// (`memory-backend-file,mem-path=/proc/self/fd/N,share=on`).  The mapping here and the one in QEMU are the same
// pages.  Fresh memory reads as zero and takes no space until written.
#pragma once

#include <sys/types.h>

#include <span>
#include <vector>

#include "base/result.h"
#include "base/strong.h"
#include "os/dirty_tracker.h"
#include "os/unique_fd.h"

namespace us {

class GuestRam {
 public:
  // `size` in bytes, a multiple of kPageSize.
  static Result<GuestRam> create(uint64_t size);
  GuestRam(GuestRam&&) noexcept;
  GuestRam& operator=(GuestRam&&) = delete;
  ~GuestRam();

  int fd() const { return fd_.get(); }
  uint8_t* base() const { return base_; }
  uint64_t size() const { return size_; }
  uint64_t page_count() const { return size_ / kPageSize; }
  dev_t device() const { return device_; }
  ino_t inode() const { return inode_; }
  std::span<uint8_t, kPageSize> page(PageIndex index) const;

  // What was ever written, in ascending order; the rest reads as zero and takes no space until it is read through a
  // mapping (lseek(2), SEEK_DATA; on tmpfs a hole is a page that is not there).  Pages written meanwhile may be
  // missing.
  Result<std::vector<DirtyRun>> data_runs() const;
  // Everything reads as zero again and its memory is given back to the host.
  Status discard();

 private:
  GuestRam(UniqueFd fd, uint8_t* base, uint64_t size, dev_t device, ino_t inode);
  UniqueFd fd_;
  uint8_t* base_;
  uint64_t size_;
  dev_t device_;
  ino_t inode_;
};

}  // namespace us
