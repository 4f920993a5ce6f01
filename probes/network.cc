#include "probes/network.h"

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

#include "os/unique_fd.h"

namespace us::probes {
namespace {

constexpr int kVnetHeaderBytes = 12;  // struct virtio_net_hdr_mrg_rxbuf

// The operation that failed and its errno; operation null: none did.
struct Failure {
  const char* operation = nullptr;
  int error = 0;
};

Failure failed(const char* operation) { return {operation, errno}; }

Failure open_tap(UniqueFd& tap, ifreq& request) {
  tap.reset(::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!tap) return failed("open /dev/net/tun");
  std::strncpy(request.ifr_name, "us-probe%d", IFNAMSIZ - 1);  // the kernel fills in the number
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (::ioctl(tap.get(), TUNSETIFF, &request) != 0) return failed("TUNSETIFF with IFF_VNET_HDR");
  return {};
}

Failure use_offloads(int tap) {
  int bytes = kVnetHeaderBytes;
  if (::ioctl(tap, TUNSETVNETHDRSZ, &bytes) != 0) return failed("TUNSETVNETHDRSZ");
  const unsigned long offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
  if (::ioctl(tap, TUNSETOFFLOAD, offloads) != 0) return failed("TUNSETOFFLOAD");
  return {};
}

void describe(Finding& out, const Failure& failure, const char* module) {
  out.verdict = verdict_of_errno(failure.error);
  out.evidence = fmt::format("{}: {}", failure.operation, std::strerror(failure.error));
  switch (out.verdict) {
    case Verdict::kMissing:
      out.advice = fmt::format("load the kernel module: modprobe {}", module);
      break;
    case Verdict::kForbidden:
      out.advice = "run as root or with CAP_NET_ADMIN";
      break;
    default:
      out.advice = "this kernel's network devices behave in an unknown way; please report its version";
      break;
  }
}

// A bridge that is removed again.
class ProbeBridge {
 public:
  ProbeBridge() : socket_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)), name_(fmt::format("us-pb{}", ::getpid())) {}
  ProbeBridge(const ProbeBridge&) = delete;
  ProbeBridge& operator=(const ProbeBridge&) = delete;
  ~ProbeBridge() {
    if (made_) ::ioctl(socket_.get(), SIOCBRDELBR, name_.c_str());
  }

  Failure make() {
    if (::ioctl(socket_.get(), SIOCBRADDBR, name_.c_str()) != 0) return failed("create a bridge");
    made_ = true;
    return {};
  }
  Failure add_port(const char* port) {
    ifreq request{};
    std::strncpy(request.ifr_name, name_.c_str(), IFNAMSIZ - 1);
    request.ifr_ifindex = static_cast<int>(::if_nametoindex(port));
    if (::ioctl(socket_.get(), SIOCBRADDIF, &request) != 0) return failed("add a tap to a bridge");
    return {};
  }

 private:
  UniqueFd socket_;
  std::string name_;
  bool made_ = false;
};

}  // namespace

Finding probe_tap() {
  Finding out{"tap", "the guest's network: frames with checksum and segmentation offload", Verdict::kOk,
              "virtio-net headers and offloads work", ""};
  UniqueFd tap;
  ifreq request{};
  Failure failure = open_tap(tap, request);
  if (failure.operation == nullptr) failure = use_offloads(tap.get());
  if (failure.operation != nullptr) describe(out, failure, "tun");
  return out;
}

Finding probe_bridge() {
  Finding out{"bridge", "joining the guest's tap to the host's network", Verdict::kOk,
              "a bridge could be made, and a tap added to it", ""};
  ProbeBridge bridge;
  Failure failure = bridge.make();
  UniqueFd tap;
  ifreq request{};
  if (failure.operation == nullptr && open_tap(tap, request).operation == nullptr)
    failure = bridge.add_port(request.ifr_name);
  if (failure.operation != nullptr) describe(out, failure, "bridge");
  return out;
}

}  // namespace us::probes
