// The wire over two real taps in a network namespace of its own.  Counts and contents only: how fast this machine is,
// is not tested here.
#include "wire/wire.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <thread>
#include <vector>

namespace us {
namespace {

constexpr uint16_t kProtocol = 0x88b5;  // for local experiments, IEEE 802

void bring_up(const char* name) {
  const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strncpy(request.ifr_name, name, sizeof request.ifr_name - 1);
  ASSERT_EQ(::ioctl(fd.get(), SIOCGIFFLAGS, &request), 0);
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  ASSERT_EQ(::ioctl(fd.get(), SIOCSIFFLAGS, &request), 0);
}

// A packet socket on one interface: sends frames of our own protocol out of it and gets those that arrive there.
class Port {
 public:
  explicit Port(const char* name) : fd_(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(kProtocol))) {
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(kProtocol);
    address.sll_ifindex = static_cast<int>(::if_nametoindex(name));
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  void send(uint32_t number) const {
    Bytes frame(200);
    std::fill_n(frame.begin(), 6, uint8_t{0xff});
    frame[6] = 2;
    store_be(&frame[12], kProtocol);
    store_be(&frame[14], number);
    EXPECT_EQ(::send(fd_.get(), frame.data(), frame.size(), 0), 200);
  }
  // What has arrived, after `wanted` or when nothing has come for a long time.
  std::vector<uint32_t> receive(size_t wanted) const {
    std::vector<uint32_t> numbers;
    uint8_t frame[256];
    while (numbers.size() < wanted) {
      pollfd waiting{fd_.get(), POLLIN, 0};
      if (::poll(&waiting, 1, 5000) <= 0) break;
      sockaddr_ll from{};
      socklen_t size = sizeof from;
      const ssize_t n = ::recvfrom(fd_.get(), frame, sizeof frame, 0, reinterpret_cast<sockaddr*>(&from), &size);
      if (n == 200 && from.sll_pkttype != PACKET_OUTGOING) numbers.push_back(load_be<uint32_t>(&frame[14]));
    }
    return numbers;
  }

 private:
  UniqueFd fd_;
};

// Or the kernel's own frames (neighbour discovery) would be on the wire with ours.
void silence_ipv6() {
  for (const char* which : {"default", "all"})
    std::ofstream(std::string("/proc/sys/net/ipv6/conf/") + which + "/disable_ipv6") << 1;
}

class WireTest : public testing::Test {
 protected:
  // Everything happens in a thread of its own, which takes the namespace with it.
  void in_namespace(const WireConfig& config, const std::function<void(Wire&, Port& a, Port& b)>& body) {
    std::thread([&] {
      if (::unshare(CLONE_NEWNET) != 0 || ::access("/dev/net/tun", R_OK | W_OK) != 0)
        GTEST_SKIP() << "needs the right to make a network namespace, and /dev/net/tun";
      silence_ipv6();
      auto tap_a = create_wire_tap("a"), tap_b = create_wire_tap("b");
      ASSERT_TRUE(tap_a && tap_b);
      auto wire = Wire::start(std::move(*tap_a), std::move(*tap_b), config);
      ASSERT_TRUE(wire) << wire.error().message;
      bring_up("a");
      bring_up("b");
      Port a("a"), b("b");
      body(**wire, a, b);
    }).join();
  }
};

std::vector<uint32_t> up_to(uint32_t n) {
  std::vector<uint32_t> numbers;
  for (uint32_t i = 0; i < n; ++i) numbers.push_back(i);
  return numbers;
}

TEST_F(WireTest, FramesArriveAtTheOtherEndInOrder) {
  in_namespace(symmetric_wire({.bits_per_second = 1'000'000'000, .delay = Duration::millis(2)}),
               [](Wire&, Port& a, Port& b) {
                 for (uint32_t i = 0; i < 100; ++i) a.send(i);
                 for (uint32_t i = 0; i < 50; ++i) b.send(i);
                 EXPECT_EQ(b.receive(100), up_to(100));
                 EXPECT_EQ(a.receive(50), up_to(50));
               });
}

TEST_F(WireTest, EachDirectionHasItsOwnLosses) {
  const WireConfig config{{.loss = 0.5, .seed = 3}, {}};
  in_namespace(config, [](Wire& wire, Port& a, Port& b) {
    for (uint32_t i = 0; i < 200; ++i) a.send(i);
    for (uint32_t i = 0; i < 200; ++i) b.send(i);
    EXPECT_EQ(a.receive(200), up_to(200));
    WireCounters counters = wire.counters();
    while (counters.a_to_b.in < 200) counters = wire.counters();
    EXPECT_GT(counters.a_to_b.lost, 60u);
    EXPECT_LT(counters.a_to_b.lost, 140u);
    EXPECT_EQ(counters.b_to_a.lost, 0u);
    EXPECT_EQ(b.receive(200 - counters.a_to_b.lost).size(), 200 - counters.a_to_b.lost);
    EXPECT_EQ(counters.refused, 0u);
  });
}

TEST_F(WireTest, AFullQueueDropsAndCounts) {
  // 100 frames at once into a queue of ten, on a line that needs ten seconds for each.
  in_namespace({{.bits_per_second = 160, .queue_packets = 10}, {}}, [](Wire& wire, Port& a, Port&) {
    for (uint32_t i = 0; i < 100; ++i) a.send(i);
    WireCounters counters = wire.counters();
    while (counters.a_to_b.in < 100) counters = wire.counters();
    EXPECT_EQ(counters.a_to_b.queue_drops, 90u);
    EXPECT_EQ(counters.a_to_b.overruns, 0u);
  });
}

TEST_F(WireTest, ItCanBeConfiguredAnewWhileItRuns) {
  in_namespace({{.loss = 1}, {}}, [](Wire& wire, Port& a, Port& b) {
    a.send(1000);
    while (wire.counters().a_to_b.in == 0) std::this_thread::yield();
    wire.configure({});
    for (uint32_t i = 0; i < 10; ++i) a.send(i);
    EXPECT_EQ(b.receive(10), up_to(10));
    EXPECT_EQ(wire.counters().a_to_b.lost, 0u);
  });
}

}  // namespace
}  // namespace us
