// DiskIo: reads, writes and syncs of files for one disk's thread, which must never wait for a disk itself.
//
//     submit…(…, done)   ──►  threads of the pool  ──►  event_fd() becomes readable  ──►  reap() calls each done(errno)
//
// What goes through the page cache and is short is done at once, without a thread: a write is a copy in memory, and a
// read is tried without waiting first (RWF_NOWAIT).  It is reported by reap() all the same.
//
// All members but the destructor's work belong to one thread, the disk's; `done` runs there, inside reap().  Buffers
// and files stay alive until then.  The destructor waits for what has begun, drops the rest and calls nothing.
#pragma once

#include <functional>
#include <memory>

#include "base/result.h"
#include "os/block_file.h"

namespace us {

class DiskIo {
 public:
  using Done = std::function<void(int error)>;  // 0 or an errno
  virtual ~DiskIo() = default;

  virtual void read(const BlockFile& file, uint64_t offset, std::span<uint8_t> into, Done done) = 0;
  virtual void write(const BlockFile& file, uint64_t offset, ByteSpan data, Done done) = 0;
  // Anything else that blocks: syncs, zeroing, several steps in a row.
  enum class Call : uint8_t { kSyncImage, kZero, kMap, kRecord, kWriteJournal, kSyncJournal };
  virtual void call(Call what, std::function<int()> work, Done done) = 0;

  // Nothing is to be done: `done(0)` in the next reap().
  virtual void at_once(Done done) = 0;

  virtual int event_fd() const = 0;
  virtual void reap() = 0;
  virtual bool ready() const = 0;  // reap() has something that event_fd() does not tell of
  virtual size_t in_flight() const = 0;
};

// `threads`: how many operations the disk is given at once.
Result<std::unique_ptr<DiskIo>> start_thread_disk_io(size_t threads);

}  // namespace us
