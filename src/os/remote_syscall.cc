// Theory of operation.  PTRACE_SEIZE + PTRACE_INTERRUPT stop the target's main thread without a signal it could see.
// Its registers are saved, rip is pointed at a `syscall` instruction of the vDSO (always mapped, always executable),
// and one PTRACE_SINGLESTEP executes it.  orig_rax = -1 keeps the kernel from restarting the call that was
// interrupted; restoring the saved registers in the end, with their own orig_rax, lets exactly that restart happen.
#include "os/remote_syscall.h"

#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

namespace us {
namespace {

constexpr uint64_t kRedZoneBytes = 128;  // System V ABI, x86-64: below rsp, owned by the running function
constexpr uint64_t kScratchBytes = 1024;

// Waits until the target stands, and gives the signal it stands for.
Result<int> wait_for_stop(pid_t pid) {
  for (;;) {
    int status = 0;
    if (::waitpid(pid, &status, __WALL) < 0) {
      if (errno == EINTR) continue;
      return fail_errno("waitpid for the traced QEMU", errno);
    }
    if (WIFEXITED(status) || WIFSIGNALED(status))
      return fail(ErrorKind::kSystem, "QEMU ended while it was being traced");
    if (WIFSTOPPED(status)) return WSTOPSIG(status);
  }
}

}  // namespace

Result<std::unique_ptr<RemoteSyscalls>> RemoteSyscalls::attach(pid_t pid) {
  if (::ptrace(PTRACE_SEIZE, pid, nullptr, nullptr) != 0) {
    const int error = errno;
    std::string operation = "ptrace(SEIZE) of QEMU (pid " + std::to_string(pid) + ")";
    if (error == EPERM) operation += ", needed to track its memory; see /proc/sys/kernel/yama/ptrace_scope and seccomp";
    return fail_errno(operation, error);
  }
  std::unique_ptr<RemoteSyscalls> remote(new RemoteSyscalls(pid));
  US_TRY(remote->stop_target());
  US_TRY(remote->find_syscall_instruction());
  return remote;
}

RemoteSyscalls::~RemoteSyscalls() {
  if (stopped_) ::ptrace(PTRACE_SETREGS, pid_, nullptr, &saved_);
  for (const int signal : deferred_) ::syscall(SYS_tgkill, pid_, pid_, signal);
  ::ptrace(PTRACE_DETACH, pid_, nullptr, nullptr);
}

Status RemoteSyscalls::stop_target() {
  if (::ptrace(PTRACE_INTERRUPT, pid_, nullptr, nullptr) != 0) return fail_errno("ptrace(INTERRUPT)", errno);
  for (;;) {
    US_ASSIGN(const int signal, wait_for_stop(pid_));
    if (signal == SIGTRAP) break;
    // A real signal arrived first: the target may still have it, its registers are its own.
    if (::ptrace(PTRACE_CONT, pid_, nullptr, signal) != 0) return fail_errno("ptrace(CONT)", errno);
  }
  if (::ptrace(PTRACE_GETREGS, pid_, nullptr, &saved_) != 0) return fail_errno("ptrace(GETREGS)", errno);
  stopped_ = true;
  return {};
}

Status RemoteSyscalls::find_syscall_instruction() {
  std::ifstream maps("/proc/" + std::to_string(pid_) + "/maps");
  for (std::string line; std::getline(maps, line);) {
    uint64_t start = 0, end = 0;
    if (line.find("[vdso]") == std::string::npos) continue;
    if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64, &start, &end) != 2) continue;
    std::vector<uint8_t> code(end - start);
    US_TRY(read(start, code));
    for (size_t i = 0; i + 1 < code.size(); ++i) {
      if (code[i] == 0x0f && code[i + 1] == 0x05) {
        instruction_ = start + i;
        return {};
      }
    }
  }
  return fail(ErrorKind::kSystem, "no syscall instruction found in QEMU's vDSO");
}

Result<uint64_t> RemoteSyscalls::call(const char* what, long number, std::array<uint64_t, 6> args) {
  user_regs_struct regs = saved_;
  regs.rip = instruction_;
  regs.orig_rax = ~uint64_t{0};
  regs.rax = static_cast<uint64_t>(number);
  regs.rdi = args[0];
  regs.rsi = args[1];
  regs.rdx = args[2];
  regs.r10 = args[3];
  regs.r8 = args[4];
  regs.r9 = args[5];
  if (::ptrace(PTRACE_SETREGS, pid_, nullptr, &regs) != 0) return fail_errno("ptrace(SETREGS)", errno);
  for (;;) {
    if (::ptrace(PTRACE_SINGLESTEP, pid_, nullptr, nullptr) != 0) return fail_errno("ptrace(SINGLESTEP)", errno);
    US_ASSIGN(const int signal, wait_for_stop(pid_));
    if (signal == SIGTRAP) break;
    // A real signal, before the instruction was executed.  Its handler must not run with these registers.
    deferred_.push_back(signal);
  }
  if (::ptrace(PTRACE_GETREGS, pid_, nullptr, &regs) != 0) return fail_errno("ptrace(GETREGS)", errno);
  const auto result = static_cast<int64_t>(regs.rax);
  if (result < 0 && result > -4096) return fail_errno(std::string(what) + " inside QEMU", static_cast<int>(-result));
  return regs.rax;
}

Result<uint64_t> RemoteSyscalls::scratch(ByteSpan data) {
  if (data.size() > kScratchBytes) return fail(ErrorKind::kSystem, "remote scratch data over 1 KiB");
  const uint64_t address = (saved_.rsp - kRedZoneBytes - kScratchBytes) & ~uint64_t{15};
  // const_cast: iovec is used for both directions; process_vm_writev only reads the local side.
  iovec local{const_cast<uint8_t*>(data.data()), data.size()};
  iovec remote{reinterpret_cast<void*>(address), data.size()};
  if (::process_vm_writev(pid_, &local, 1, &remote, 1, 0) != static_cast<ssize_t>(data.size()))
    return fail_errno("process_vm_writev to QEMU's stack", errno);
  return address;
}

Status RemoteSyscalls::read(uint64_t address, std::span<uint8_t> out) {
  iovec local{out.data(), out.size()};
  iovec remote{reinterpret_cast<void*>(address), out.size()};
  if (::process_vm_readv(pid_, &local, 1, &remote, 1, 0) != static_cast<ssize_t>(out.size()))
    return fail_errno("process_vm_readv from QEMU", errno);
  return {};
}

}  // namespace us
