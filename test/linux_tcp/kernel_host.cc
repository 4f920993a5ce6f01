#include "kernel_host.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "base/check.h"
#include "core/tcp/slow_frame.h"

namespace us {
namespace {

constexpr size_t kEthernetBytes = 14;
constexpr size_t kPacketMax = 65536;
constexpr uint8_t kIcmp = 1, kTcp = 6;

Status ioctl_on(int fd, unsigned long request, void* argument, const char* what) {
  if (::ioctl(fd, request, argument) == 0) return {};
  return fail(ErrorKind::kSystem, std::string(what) + ": " + std::strerror(errno));
}

sockaddr_in socket_address(KernelHost::Address address, uint16_t port) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(port);
  std::memcpy(&out.sin_addr, address.data(), address.size());
  return out;
}

Status give_address(const ifreq& device, KernelHost::Address own, KernelHost::Address ours) {
  const UniqueFd control(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto address = [&](KernelHost::Address value) {
    ifreq request = device;
    const sockaddr_in as_socket = socket_address(value, 0);
    std::memcpy(&request.ifr_addr, &as_socket, sizeof as_socket);
    return request;
  };
  ifreq request = address(own);
  US_TRY(ioctl_on(control.get(), SIOCSIFADDR, &request, "address of the tun device"));
  request = address(ours);
  US_TRY(ioctl_on(control.get(), SIOCSIFDSTADDR, &request, "far address of the tun device"));
  request = device;
  request.ifr_flags = IFF_UP | IFF_RUNNING | IFF_POINTOPOINT | IFF_NOARP;
  return ioctl_on(control.get(), SIOCSIFFLAGS, &request, "tun device up");
}

}  // namespace

Result<KernelHost> KernelHost::create(Address own, Address ours) {
  if (::unshare(CLONE_NEWNET) != 0)
    return fail(ErrorKind::kSystem, std::string("a network namespace: ") + std::strerror(errno));
  UniqueFd tun(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!tun) return fail(ErrorKind::kSystem, std::string("/dev/net/tun: ") + std::strerror(errno));
  ifreq request{};
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  const std::string name = "us-ltcp-" + std::to_string(::getpid() % 1'000'000);
  std::memcpy(request.ifr_name, name.c_str(), name.size());
  US_TRY(ioctl_on(tun.get(), TUNSETIFF, &request, "tun device"));
  US_TRY(give_address(request, own, ours));
  return KernelHost(std::move(tun), own, ours);
}

bool KernelHost::set(const std::string& name, const std::string& value) {
  const UniqueFd file(::open(("/proc/sys/net/ipv4/" + name).c_str(), O_WRONLY | O_CLOEXEC));
  return file && ::write(file.get(), value.data(), value.size()) == static_cast<ssize_t>(value.size());
}

void KernelHost::put(ByteSpan frame) {
  const ByteSpan packet = frame.subspan(kEthernetBytes);
  US_CHECK(::write(tun_.get(), packet.data(), packet.size()) == static_cast<ssize_t>(packet.size()));
}

std::optional<Bytes> KernelHost::read_packet(Duration wait) {
  Bytes packet(kPacketMax);
  for (;;) {
    const ssize_t got = ::read(tun_.get(), packet.data(), packet.size());
    if (got > 0) {
      packet.resize(static_cast<size_t>(got));
      return packet;
    }
    pollfd poll_on{tun_.get(), POLLIN, 0};
    if (::poll(&poll_on, 1, static_cast<int>(wait.to_millis())) <= 0) return std::nullopt;
  }
}

std::optional<Bytes> KernelHost::next(Duration wait) {
  while (const auto packet = read_packet(wait)) {
    if (packet->size() < 20 || (*packet)[0] >> 4 != 4 || (*packet)[9] != kTcp) continue;
    Bytes frame(kEthernetBytes - 2);
    ByteWriter out(frame);
    out.be(uint16_t{0x0800});
    out.bytes(*packet);
    return frame;
  }
  return std::nullopt;
}

std::vector<Bytes> KernelHost::settle() {
  ++pings_;
  Bytes ping{8, 0, 0, 0, 0x75, 0x73, static_cast<uint8_t>(pings_ >> 8), static_cast<uint8_t>(pings_)};
  store_be(ping.data() + 2, slow_internet_checksum(ping));
  SlowFrame outer;
  outer.source.assign(ours_.begin(), ours_.end());
  outer.destination.assign(own_.begin(), own_.end());
  outer.protocol = kIcmp;
  Bytes packet = outer.ip_header(ping.size());
  packet.insert(packet.end(), ping.begin(), ping.end());
  US_CHECK(::write(tun_.get(), packet.data(), packet.size()) == static_cast<ssize_t>(packet.size()));

  std::vector<Bytes> frames;
  while (const auto answer = read_packet(Duration::seconds(5))) {
    if (answer->size() < 28 || (*answer)[0] >> 4 != 4) continue;
    if ((*answer)[9] == kIcmp && (*answer)[20] == 0 && load_be<uint16_t>(answer->data() + 26) == pings_) return frames;
    if ((*answer)[9] != kTcp) continue;
    Bytes frame(kEthernetBytes - 2);
    ByteWriter out(frame);
    out.be(uint16_t{0x0800});
    out.bytes(*answer);
    frames.push_back(std::move(frame));
  }
  US_CHECK(false);  // the kernel answers pings
  return frames;
}

UniqueFd KernelHost::listen(uint16_t port, int receive_buffer) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (receive_buffer > 0) ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  const sockaddr_in at = socket_address(own_, port);
  US_CHECK(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0);
  US_CHECK(::listen(fd.get(), 16) == 0);
  return fd;
}

UniqueFd KernelHost::accept(int listener) {
  return UniqueFd(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

UniqueFd KernelHost::connect(uint16_t port, int receive_buffer) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (receive_buffer > 0) ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  const sockaddr_in to = socket_address(ours_, port);
  ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to);
  return fd;
}

}  // namespace us
