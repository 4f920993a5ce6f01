// BlockFile: a disk image as a file or block device, opened for one user and judged before it is used.
//
// O_DIRECT where it works (tried by a read, not guessed): then what was written is in no page cache, and block_bytes()
// says to what offsets and lengths must be aligned; memory must be an AlignedBuffer's.  Otherwise block_bytes() is 1.
//
// Locked (fcntl(2), open file description lock): a second writer, in this process or another on this host, is refused.
// The lock goes with the last copy of the descriptor.  With `lock` = false it is taken and given up by hand: a shared
// image has several users, and one writer at a time.  On a network file system it is the server that keeps it.
//
// Results are 0 or an errno: the caller tells the guest (nbd_server.h) as well as the operator.  A failed sync is
// final: the kernel may have dropped what it could not write (fsync(2), EIO), so every sync after it fails too.
// Blocking calls, from any thread and several at once.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "os/unique_fd.h"

namespace us {

class BlockFile {
 public:
  struct Options {
    bool read_only = false;
    bool try_direct = true;
    bool lock = true;
  };
  // Errors name the path: it is missing, neither file nor device, empty, no multiple of 512 bytes, locked by another.
  static Result<BlockFile> open(const std::string& path, const Options& options);

  uint64_t size_bytes() const { return size_; }
  uint32_t block_bytes() const { return block_bytes_; }
  bool direct() const { return block_bytes_ > 1; }
  int fd() const { return fd_.get(); }

  // All of it or an error; EIO if the file has become shorter.
  int read(uint64_t offset, std::span<uint8_t> into) const;
  // All of it without waiting for the disk, or false.
  bool read_cached(uint64_t offset, std::span<uint8_t> into) const;
  int write(uint64_t offset, ByteSpan data) const;
  // One piece after the other, none of them empty.  Not for direct(): the pieces need not be aligned.
  int write(uint64_t offset, const std::vector<ByteSpan>& pieces) const;
  // Everything written before is on the medium.
  int sync() const;
  // Of a file that was opened without: 0, or EAGAIN if somebody else has it.  At once.
  int try_lock() const;
  void unlock() const;
  // For who writes again whatever the failed sync may have dropped.
  void forget_sync_error() const { sync_error_->store(0); }
  // What is read from now on comes from the medium, as far as it is not still to be written there: after a sync that
  // failed, or in an earlier process may have, the cache can hold what was lost.
  void drop_cache() const;
  // Goes past the page cache, or through it, from now on; block_bytes() stays.  Only if open() found it direct().
  int set_direct(bool on) const;
  // The range reads as zeroes.  `may_unmap`: a hole will do.  `fast_only`: EOPNOTSUPP rather than writing zeroes.
  int zero(uint64_t offset, uint64_t length, bool may_unmap, bool fast_only) const;

  // The range takes no space and reads as zeroes; false as well if the file cannot tell.
  bool is_hole(uint64_t offset, uint64_t length) const;

  struct Extent {
    uint64_t length = 0;
    bool hole = false;  // takes no space and reads as zeroes
  };
  // What [offset, offset + length) consists of, in order; at most `extents_max`, so perhaps only its beginning.  A file
  // that cannot tell is one extent of data.
  std::vector<Extent> extents(uint64_t offset, uint64_t length, size_t extents_max) const;

 private:
  BlockFile(UniqueFd fd, uint64_t size, uint32_t block_bytes)
      : fd_(std::move(fd)), size_(size), block_bytes_(block_bytes) {}

  UniqueFd fd_;
  uint64_t size_;
  uint32_t block_bytes_;
  std::shared_ptr<std::atomic<int>> sync_error_ = std::make_shared<std::atomic<int>>(0);
};

}  // namespace us
