#include "os/tap.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace us {
namespace {

constexpr int kHeaderBytes = 12;

ifreq request_for(const std::string& name) {
  ifreq request{};
  std::memcpy(request.ifr_name, name.data(), std::min<size_t>(name.size(), IFNAMSIZ - 1));
  return request;
}

Result<UniqueFd> open_tun() {
  UniqueFd fd(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (fd) return fd;
  const int error = errno;
  if (error == ENOENT || error == ENODEV || error == ENXIO)
    return fail(ErrorKind::kSystem, "no tap support: /dev/net/tun is missing (load the kernel module: modprobe tun)");
  if (error == EACCES || error == EPERM)
    return fail(ErrorKind::kSystem, "no permission to open /dev/net/tun: run as root or with CAP_NET_ADMIN");
  return fail_errno("open /dev/net/tun", error);
}

Status attach(int fd, const std::string& name) {
  ifreq request = request_for(name);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (::ioctl(fd, TUNSETIFF, &request) != 0) {
    const int error = errno;
    if (error == EBUSY)
      return fail(ErrorKind::kSystem, fmt::format("tap {} is in use: is the VM already running on this host?", name));
    if (error == EPERM)
      return fail(ErrorKind::kSystem,
                  fmt::format("no permission to create tap {}: run as root or with CAP_NET_ADMIN", name));
    return fail_errno(fmt::format("create tap {}", name), error);
  }
  const int header_bytes = kHeaderBytes;
  if (::ioctl(fd, TUNSETVNETHDRSZ, &header_bytes) != 0) return fail_errno("TUNSETVNETHDRSZ", errno);
  return {};
}

// Without this the host's own IPv6 would talk to the guest through the port of the bridge.  Best effort: the guest
// only sees a few packets more.
void silence_host_ipv6(const std::string& name) {
  const std::string path = fmt::format("/proc/sys/net/ipv6/conf/{}/disable_ipv6", name);
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (fd) [[maybe_unused]]
    const ssize_t written = ::write(fd.get(), "1", 1);
}

Status join_bridge(int socket, const std::string& name, const std::string& bridge) {
  const unsigned bridge_index = ::if_nametoindex(bridge.c_str());
  if (bridge_index == 0)
    return fail(ErrorKind::kInput,
                fmt::format("bridge {} does not exist (create it: ip link add {} type bridge)", bridge, bridge));
  // First the MTU: a bridge lowers its own to that of the smallest port.
  ifreq mtu = request_for(bridge);
  int mtu_error = 0;
  if (::ioctl(socket, SIOCGIFMTU, &mtu) == 0) {
    ifreq tap_mtu = request_for(name);
    tap_mtu.ifr_mtu = mtu.ifr_mtu;
    if (::ioctl(socket, SIOCSIFMTU, &tap_mtu) != 0) mtu_error = errno;
  }
  ifreq request = request_for(bridge);
  request.ifr_ifindex = static_cast<int>(::if_nametoindex(name.c_str()));
  if (::ioctl(socket, SIOCBRADDIF, &request) == 0) {
    if (mtu_error != 0) return fail_errno(fmt::format("set the MTU of {} to {}", name, mtu.ifr_mtu), mtu_error);
    return {};
  }
  const int error = errno;
  if (error == EOPNOTSUPP || error == EINVAL) return fail(ErrorKind::kInput, fmt::format("{} is not a bridge", bridge));
  return fail_errno(fmt::format("add {} to bridge {}", name, bridge), error);
}

Status bring_up(int socket, const std::string& name) {
  ifreq request = request_for(name);
  if (::ioctl(socket, SIOCGIFFLAGS, &request) != 0) return fail_errno(fmt::format("read the flags of {}", name), errno);
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  if (::ioctl(socket, SIOCSIFFLAGS, &request) != 0) return fail_errno(fmt::format("bring up {}", name), errno);
  return {};
}

}  // namespace

Result<Tap> Tap::create(const std::string& name, const std::string& bridge) {
  if (name.empty() || name.size() >= IFNAMSIZ || bridge.size() >= IFNAMSIZ)
    return fail(ErrorKind::kInput,
                fmt::format("interface names have 1 to {} characters: \"{}\", \"{}\"", IFNAMSIZ - 1, name, bridge));
  US_ASSIGN(UniqueFd fd, open_tun());
  US_TRY(attach(fd.get(), name));
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return fail_errno("socket", errno);
  silence_host_ipv6(name);
  if (!bridge.empty()) US_TRY(join_bridge(socket.get(), name, bridge));
  US_TRY(bring_up(socket.get(), name));
  return Tap(std::move(fd), name);
}

Status Tap::set_offloads(TapOffloads offloads) {
  unsigned long flags = 0;
  if (offloads.checksum) {  // without it the kernel refuses the others
    flags = TUN_F_CSUM;
    if (offloads.tso4) flags |= TUN_F_TSO4;
    if (offloads.tso6) flags |= TUN_F_TSO6;
    if (offloads.tso_ecn && (offloads.tso4 || offloads.tso6)) flags |= TUN_F_TSO_ECN;
  }
  if (::ioctl(fd_.get(), TUNSETOFFLOAD, flags) != 0) return fail_errno("TUNSETOFFLOAD", errno);
  return {};
}

Tap::Outcome Tap::read(std::span<uint8_t> into, size_t& bytes) const {
  const ssize_t n = ::read(fd_.get(), into.data(), into.size());
  if (n < kHeaderBytes) return n < 0 && (errno == EAGAIN || errno == EBADFD) ? Outcome::kWouldBlock : Outcome::kRefused;
  bytes = static_cast<size_t>(n);
  return Outcome::kDone;
}

Tap::Outcome Tap::write(ByteSpan header_and_frame) const {
  const ssize_t n = ::write(fd_.get(), header_and_frame.data(), header_and_frame.size());
  if (n >= 0) return Outcome::kDone;
  return errno == EAGAIN ? Outcome::kWouldBlock : Outcome::kRefused;
}

}  // namespace us
