// Sockets for replication: TCP for the stream, UDP for heartbeats, and the address type that both take.
// All descriptors are non-blocking and close-on-exec.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"
#include "os/unique_fd.h"

namespace us {

class SocketAddress {
 public:
  SocketAddress() = default;
  // `host` is a numeric IPv4 or IPv6 address: names are not looked up, a resolver may hang when a network dies.
  static Result<SocketAddress> from(const std::string& host, uint16_t port);
  static SocketAddress from_kernel(const sockaddr_storage& storage, socklen_t length);

  const sockaddr* data() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t size() const { return size_; }
  int family() const { return storage_.ss_family; }
  SocketAddress with_port(uint16_t port) const;
  std::string text() const;

 private:
  sockaddr_storage storage_{};
  socklen_t size_ = 0;
};

// True when the address belongs to this host (a socket can be bound to it).
bool is_local_address(const SocketAddress& address);

Result<UniqueFd> tcp_listen(const SocketAddress& address);
// Nothing waiting: an invalid descriptor, no error.
Result<UniqueFd> tcp_accept(int listener, SocketAddress& peer);
Result<UniqueFd> tcp_connect(const SocketAddress& from, const SocketAddress& to, Duration timeout);
// Low latency, large buffers.
void tune_replication_socket(int fd);
Result<UniqueFd> udp_bind(const SocketAddress& address);

// Waits until `fd` is readable or writable; false when `deadline` passes first.
bool wait_readable(int fd, Instant deadline);
bool wait_writable(int fd, Instant deadline);

}  // namespace us
