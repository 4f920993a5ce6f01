// Unix stream sockets (unix(7)), and connections over them that carry descriptors (SCM_RIGHTS).  Non-blocking,
// close-on-exec.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "os/unique_fd.h"

namespace us {

// Replaces a socket file left behind at `path`; readable and writable by this user alone.
Result<UniqueFd> unix_listen(const std::string& path);
// Nothing waiting: an invalid descriptor, no error.
Result<UniqueFd> unix_accept(int listener);
// For another program: a blocking one.
Result<UniqueFd> unix_connect(const std::string& path);
// How much may have been sent and not received; less if the kernel does not allow so much (net.core.wmem_max).
void set_send_buffer(int fd, int bytes);

inline constexpr size_t kFdSocketFdsMax = 16;

enum class FdSocketOutcome : uint8_t { kDone, kWouldBlock, kClosed };
// Reads up to `into.size()` bytes; descriptors that came along are appended to `fds`, at most
// kFdSocketFdsMax in one call (more of them close the connection).
FdSocketOutcome fd_socket_read(int fd, std::span<uint8_t> into, size_t& bytes, std::vector<UniqueFd>& fds);
// Writes all of `bytes`; for short answers that the socket's buffer holds.
FdSocketOutcome fd_socket_write(int fd, ByteSpan bytes);

}  // namespace us
