// RemoteSyscalls: runs system calls inside another process, by ptrace(2), while it is stopped.
//
// A userfaultfd tracks the address space it was created in, so the one that tracks QEMU's memory has to be created
// by QEMU itself.  Instead of a patched or preloaded QEMU, its main thread is stopped for a moment, made to execute
// the few calls, and goes on where it was.  x86-64 only.
//
// Ownership: the target stays stopped from attach() until the object goes.  All calls must come from the thread that
// attached.  Errors: the target is gone, or ptrace is forbidden (/proc/sys/kernel/yama/ptrace_scope = 3, seccomp).
#pragma once

#include <sys/types.h>
#include <sys/user.h>

#include <array>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace us {

class RemoteSyscalls {
 public:
  static Result<std::unique_ptr<RemoteSyscalls>> attach(pid_t pid);
  RemoteSyscalls(const RemoteSyscalls&) = delete;
  RemoteSyscalls& operator=(const RemoteSyscalls&) = delete;
  ~RemoteSyscalls();

  // The call's result as the kernel returns it; a negative errno becomes an Error named after `what`.
  Result<uint64_t> call(const char* what, long number, std::array<uint64_t, 6> args);

  // Writes `data` to scratch space below the target's stack and returns its address there; the next scratch()
  // overwrites it.  Up to 1 KiB.
  Result<uint64_t> scratch(ByteSpan data);
  Status read(uint64_t address, std::span<uint8_t> out);

 private:
  RemoteSyscalls(pid_t pid) : pid_(pid) {}
  Status stop_target();
  Status find_syscall_instruction();

  pid_t pid_;
  bool stopped_ = false;
  user_regs_struct saved_{};
  std::vector<int> deferred_;  // signals that came meanwhile; the target gets them when it goes on
  uint64_t instruction_ = 0;   // address of a `syscall` instruction in the target
};

}  // namespace us
