// KernelHost: the Linux TCP stack in a network namespace of its own, at the other end of a tun device whose near end is
// ours (Documentation/networking/tuntap.rst).  What we write are frames as the relay sees them, without checksum
// tricks; what comes back as well.
//
// The namespace is the calling thread's own from then on; it disappears with the thread's process or the next
// KernelHost. No waiting for "nothing comes": settle() sends a ping behind what was written, and when its answer comes,
// everything before has been dealt with.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"
#include "os/unique_fd.h"

namespace us {

class KernelHost {
 public:
  using Address = std::array<uint8_t, 4>;

  // `own` is the kernel's address, `ours` the one that we speak from.  Errors name what is missing (root, tun).
  static Result<KernelHost> create(Address own, Address ours);

  // An Ethernet frame with IPv4 inside.
  void put(ByteSpan frame);
  // The TCP frames that the kernel has sent so far.
  std::vector<Bytes> settle();
  // The next TCP frame, within a bounded time.
  std::optional<Bytes> next(Duration wait);

  // Sockets of that namespace, non-blocking.
  UniqueFd listen(uint16_t port, int receive_buffer = 0);
  UniqueFd accept(int listener);
  UniqueFd connect(uint16_t port, int receive_buffer = 0);
  // Writes /proc/sys/net/ipv4/NAME of the namespace.
  static bool set(const std::string& name, const std::string& value);

 private:
  KernelHost(UniqueFd tun, Address own, Address ours) : tun_(std::move(tun)), own_(own), ours_(ours) {}
  std::optional<Bytes> read_packet(Duration wait);

  UniqueFd tun_;
  Address own_;
  Address ours_;
  uint16_t pings_ = 0;
};

}  // namespace us
