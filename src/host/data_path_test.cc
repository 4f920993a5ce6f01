// DataPath as QEMU and the network see it: a front end of our own on the vhost-user socket, a real tap, a packet socket
// as the network.  In a network namespace of its own; skipped where that or a tap is not allowed.
#include "host/data_path.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>

#include "base/rng.h"
#include "core/virtio/fake_driver.h"
#include "os/clock.h"

namespace us {
namespace {

constexpr MacAddress kMac = {0x52, 0x54, 0, 1, 2, 3};
constexpr uint64_t kRamBytes = 8 << 20;
constexpr uint16_t kRingSize = 64;
constexpr uint64_t kFeatures = (uint64_t{1} << 32) | (1 << 30) | (1 << 29) | (1 << 28) | (1 << 15);
constexpr int kPatienceMs = 5000;  // how long something that must happen may take
constexpr int kQuietMs = 60;       // how long we watch that something does not happen

bool readable(int fd, int timeout_ms) {
  pollfd p{fd, POLLIN, 0};
  return ::poll(&p, 1, timeout_ms) == 1;
}

// The thread is in a network namespace of its own while this lives.
class PrivateNetwork {
 public:
  PrivateNetwork() : before_(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
    ok_ = before_ && ::unshare(CLONE_NEWNET) == 0;
  }
  ~PrivateNetwork() {
    if (ok_) [[maybe_unused]]
      const int restored = ::setns(before_.get(), CLONE_NEWNET);
  }
  bool ok() const { return ok_; }

 private:
  UniqueFd before_;
  bool ok_ = false;
};

// Everything that crosses the tap, from the host's side of it.
class Network {
 public:
  explicit Network(const std::string& interface) : fd_(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(0x0003))) {
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(0x0003);
    address.sll_ifindex = static_cast<int>(::if_nametoindex(interface.c_str()));
    US_CHECK(::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    const int buffer_bytes = 64 << 20;  // the kernel drops what a packet socket has no room for
    US_CHECK(::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &buffer_bytes, sizeof buffer_bytes) == 0);
  }
  void send(ByteSpan frame) {
    US_CHECK(::send(fd_.get(), frame.data(), frame.size(), 0) == static_cast<ssize_t>(frame.size()));
  }
  // The next frame that came from the guest; empty if none comes in time.
  Bytes receive(int timeout_ms = kPatienceMs) {
    while (readable(fd_.get(), timeout_ms)) {
      Bytes frame(70'000);
      sockaddr_ll from{};
      socklen_t from_bytes = sizeof from;
      const ssize_t n =
          ::recvfrom(fd_.get(), frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&from), &from_bytes);
      if (n < 0 || from.sll_pkttype == PACKET_OUTGOING) continue;  // our own
      frame.resize(static_cast<size_t>(n));
      return frame;
    }
    return {};
  }

 private:
  UniqueFd fd_;
};

// What QEMU does on the socket.
class FrontEnd {
 public:
  FrontEnd(const std::string& path, int ram_fd) : ram_fd_(ram_fd) {
    fd_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.c_str(), path.size());
    US_CHECK(::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  }

  void send(VhostUserRequest request, const Bytes& payload, int fd = -1) {
    Bytes message;
    ByteWriter w(message);
    w.le(static_cast<uint32_t>(request));
    w.le(uint32_t{1});
    w.le(static_cast<uint32_t>(payload.size()));
    w.bytes(payload);
    iovec vector{message.data(), message.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
    msghdr m{};
    m.msg_iov = &vector;
    m.msg_iovlen = 1;
    if (fd >= 0) {
      m.msg_control = control;
      m.msg_controllen = sizeof control;
      cmsghdr* c = CMSG_FIRSTHDR(&m);
      c->cmsg_level = SOL_SOCKET;
      c->cmsg_type = SCM_RIGHTS;
      c->cmsg_len = CMSG_LEN(sizeof fd);
      std::memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    ::sendmsg(fd_.get(), &m, MSG_NOSIGNAL);
  }
  void send_u64(VhostUserRequest request, uint64_t value, int fd = -1) {
    Bytes p;
    ByteWriter(p).le(value);
    send(request, p, fd);
  }
  void send_ring(VhostUserRequest request, uint32_t ring, uint32_t value) {
    send_u64(request, uint64_t{value} << 32 | ring);
  }
  // Waits for the answer; 0 if the back end closed the connection.
  uint64_t answer() {
    uint8_t raw[20];
    if (!readable(fd_.get(), kPatienceMs) || ::recv(fd_.get(), raw, sizeof raw, MSG_WAITALL) != sizeof raw) return 0;
    return load_le<uint64_t>(raw + 12);
  }
  bool closed() {
    uint8_t byte;
    return readable(fd_.get(), kPatienceMs) && ::recv(fd_.get(), &byte, 1, 0) <= 0;
  }

  void send_table() {
    Bytes p;
    ByteWriter w(p);
    w.le(uint32_t{1});
    w.le(uint32_t{0});
    for (const uint64_t v : {FakeRam::kGuestBase, kRamBytes, FakeRam::kUserBase, uint64_t{0}}) w.le(v);
    send(VhostUserRequest::kSetMemTable, p, ram_fd_);
  }
  void start(uint64_t features = kFeatures) {
    for (const uint32_t ring : {0u, 1u}) send_ring(VhostUserRequest::kSetVringEnable, ring, 1);
    send_u64(VhostUserRequest::kSetFeatures, features);
    send_table();
  }
  void start_ring(uint32_t ring, const RingSetup& s, int kick, int call) {
    send_ring(VhostUserRequest::kSetVringNum, ring, s.size);
    send_ring(VhostUserRequest::kSetVringBase, ring, s.base);
    Bytes p;
    ByteWriter w(p);
    w.le(ring);
    w.le(uint32_t{0});
    for (const uint64_t v : {s.descriptors_user, s.used_user, s.avail_user, uint64_t{0}}) w.le(v);
    send(VhostUserRequest::kSetVringAddr, p);
    send_u64(VhostUserRequest::kSetVringKick, ring, kick);
    send_u64(VhostUserRequest::kSetVringCall, ring, call);
  }
  uint16_t stop_ring(uint32_t ring) {
    send_ring(VhostUserRequest::kGetVringBase, ring, 0);
    return static_cast<uint16_t>(answer() >> 32);
  }

 private:
  int ram_fd_;
  UniqueFd fd_;
};

struct MappedRam {
  MappedRam() : fd(::memfd_create("guest-ram", MFD_CLOEXEC)) {
    US_CHECK(::ftruncate(fd.get(), kRamBytes) == 0);
    base = static_cast<uint8_t*>(::mmap(nullptr, kRamBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
    US_CHECK(::fstat(fd.get(), &st) == 0);
  }
  ~MappedRam() { ::munmap(base, kRamBytes); }
  MappedRam(const MappedRam&) = delete;
  MappedRam& operator=(const MappedRam&) = delete;
  UniqueFd fd;
  uint8_t* base;
  struct stat st {};
};

class DataPathTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!network_namespace_.ok()) GTEST_SKIP() << "needs the right to make a network namespace";
    if (::access("/dev/net/tun", R_OK | W_OK) != 0) GTEST_SKIP() << "needs /dev/net/tun";
    auto started = start_path("");
    ASSERT_TRUE(started.has_value()) << started.error().message;
    path = std::move(*started);
    network.emplace("ustest0");
  }
  void TearDown() override {
    path.reset();
    std::filesystem::remove_all(directory);
  }
  Result<std::unique_ptr<DataPath>> start_path(const std::string& bridge, const std::string& tap = "ustest0") {
    return DataPath::start({{socket_path(), tap, bridge, kMac}},
                           {mapped.base, kRamBytes, mapped.st.st_dev, mapped.st.st_ino}, own_writes);
  }
  std::string socket_path() const { return directory + "/nic0"; }

  // As QEMU does at "cont".  The rings go on where they were.
  void start_guest(uint64_t features = kFeatures) {
    if (!front_end) front_end.emplace(socket_path(), mapped.fd.get());
    front_end->start(features);
    kicks[0] = std::move(*EventFd::create());
    kicks[1] = std::move(*EventFd::create());
    calls[0] = std::move(*EventFd::create());
    calls[1] = std::move(*EventFd::create());
    front_end->start_ring(0, receive.setup(bases[0]), kicks[0].fd(), calls[0].fd());
    front_end->start_ring(1, transmit.setup(bases[1]), kicks[1].fd(), calls[1].fd());
  }
  void stop_guest() {
    for (const uint32_t ring : {0u, 1u}) bases[ring] = front_end->stop_ring(ring);
  }

  void guest_sends(const Bytes& frame) {
    Bytes with_header(12);
    with_header.insert(with_header.end(), frame.begin(), frame.end());
    const std::vector<uint32_t> sizes{static_cast<uint32_t>(with_header.size())};
    ASSERT_TRUE(transmit.post(sizes, false, false, with_header).has_value());
    kicks[1].signal();
  }
  void guest_offers_buffers(int count = 8) {
    for (int i = 0; i < count; ++i) receive.post(std::vector<uint32_t>{2048}, true);
    kicks[0].signal();
  }
  // The next frame that the guest gets; empty if none comes in time.
  Bytes guest_receives(int timeout_ms = kPatienceMs) {
    const Instant deadline = clock_now() + Duration::millis(timeout_ms);
    while (true) {
      if (const auto used = receive.collect()) {
        receive.set_used_event(receive.collected());
        const Bytes all = receive.contents(*used);
        return {all.begin() + 12, all.end()};
      }
      const int64_t left = (deadline - clock_now()).to_millis();
      if (left <= 0) return {};
      readable(calls[0].fd(), static_cast<int>(left));
      calls[0].drain();
    }
  }
  static Bytes frame(uint8_t id, size_t bytes = 60) {
    Bytes f(bytes, id);
    std::fill_n(f.begin(), 6, uint8_t{0xff});
    std::copy(kMac.begin(), kMac.end(), f.begin() + 6);
    store_be<uint16_t>(f.data() + 12, 0x88b5);  // local experimental
    return f;
  }
  void protect() {
    path->set_mode(GateMode::kSolo);
    path->set_mode(GateMode::kProtected);
    path->set_epoch(Epoch{1});
    path->extend_lease(Instant::far_future());
  }

  PrivateNetwork network_namespace_;
  std::string directory = testing::TempDir() + "us_data_path_" + std::to_string(::getpid());
  bool made_ = std::filesystem::create_directories(directory);
  MappedRam mapped;
  DirtySet own_writes{kRamBytes / kPageSize};
  FakeRam ram{std::span(mapped.base, kRamBytes)};
  FakeDriver receive{ram, 0, kRingSize, 3 << 20};
  FakeDriver transmit{ram, 4 << 20, kRingSize, 3 << 20};
  std::unique_ptr<DataPath> path;
  std::optional<Network> network;
  std::optional<FrontEnd> front_end;
  std::array<uint16_t, 2> bases{};
  std::array<EventFd, 2> kicks{EventFd(UniqueFd()), EventFd(UniqueFd())};
  std::array<EventFd, 2> calls{EventFd(UniqueFd()), EventFd(UniqueFd())};
};

TEST_F(DataPathTest, FramesCrossBothWays) {
  path->set_mode(GateMode::kSolo);
  start_guest();
  guest_sends(frame(1));
  guest_sends(frame(2, 1514));
  EXPECT_EQ(network->receive(), frame(1));
  EXPECT_EQ(network->receive(), frame(2, 1514));
  network->send(frame(3));
  network->send(frame(4, 1514));
  guest_offers_buffers();
  EXPECT_EQ(guest_receives(), frame(3));
  EXPECT_EQ(guest_receives(), frame(4, 1514));
}

TEST_F(DataPathTest, WhatTheGuestSaysWaitsForItsEpochToCommit) {
  protect();
  start_guest();
  guest_sends(frame(1));
  EXPECT_EQ(network->receive(kQuietMs), Bytes{});
  stop_guest();
  EXPECT_TRUE(path->quiescent());
  path->set_epoch(Epoch{2});
  start_guest();
  guest_sends(frame(2));
  path->commit(Epoch{1});
  EXPECT_EQ(network->receive(), frame(1));
  EXPECT_EQ(network->receive(kQuietMs), Bytes{});
  path->commit(Epoch{2});
  EXPECT_EQ(network->receive(), frame(2));
}

TEST_F(DataPathTest, ALeaseThatRanOutSilencesEvenWhatHasCommitted) {
  path->set_mode(GateMode::kSolo);
  path->set_mode(GateMode::kProtected);
  path->set_epoch(Epoch{1});
  start_guest();
  guest_sends(frame(1));
  path->commit(Epoch{1});
  EXPECT_EQ(network->receive(kQuietMs), Bytes{});
  path->extend_lease(Instant::far_future());
  guest_sends(frame(2));
  path->commit(Epoch{2});
  EXPECT_EQ(network->receive(), frame(1));
}

TEST_F(DataPathTest, AFullGateHoldsTheGuestBackAndLosesNothing) {
  protect();
  start_guest();
  constexpr uint32_t kBytes = 40'000;
  constexpr uint32_t kMore = GateLimits{}.bytes_max / kBytes + 2 * kRingSize;  // than gate and ring can hold
  uint32_t sent = 0;
  const Instant deadline = clock_now() + Duration::millis(kPatienceMs);
  while (sent < kMore && path->counters().nic.gate_full == 0 && clock_now() < deadline) {
    while (transmit.collect()) {
    }
    Bytes whole(12);
    const Bytes big = frame(static_cast<uint8_t>(sent), kBytes);
    whole.insert(whole.end(), big.begin(), big.end());
    if (!transmit.post(std::vector<uint32_t>{kBytes + 12}, false, false, whole)) continue;
    ++sent;
    kicks[1].signal();
  }
  EXPECT_GT(path->counters().nic.gate_full, 0u);
  const GateCounters held = path->counters().gate;
  EXPECT_EQ(held.released_packets, 0u);
  EXPECT_GE(held.gated_bytes, GateLimits{}.bytes_max / 2);
  EXPECT_LT(held.gated_bytes, GateLimits{}.bytes_max + kBytes);
  // What was still in the ring is taken after a commit, and waits for the next one.
  uint64_t epoch = 0;
  for (uint32_t i = 0; i < sent; ++i) {
    Bytes got;
    while (got.empty() && clock_now() < deadline) {
      path->commit(Epoch{++epoch});
      got = network->receive(kQuietMs);
    }
    ASSERT_EQ(got.size(), kBytes) << i;
    ASSERT_EQ(got.back(), static_cast<uint8_t>(i));
  }
}

TEST_F(DataPathTest, NothingOfTheGuestsMemoryIsTouchedWhileItIsStopped) {
  path->set_mode(GateMode::kSolo);
  start_guest();
  guest_offers_buffers();
  network->send(frame(1));
  EXPECT_EQ(guest_receives(), frame(1));
  stop_guest();
  EXPECT_TRUE(path->quiescent());
  const Bytes before = ram.copy();
  own_writes.drain([](PageIndex) {});
  network->send(frame(2));
  kicks[0].signal();
  kicks[1].signal();
  EXPECT_EQ(guest_receives(kQuietMs), Bytes{});
  EXPECT_EQ(ram.copy(), before);
  int marked = 0;
  own_writes.drain([&](PageIndex) { ++marked; });
  EXPECT_EQ(marked, 0);
  start_guest();
  EXPECT_EQ(guest_receives(), frame(2)) << "it waited in the tap";
}

TEST_F(DataPathTest, ManyStopsAndStartsLoseNothing) {
  path->set_mode(GateMode::kSolo);
  start_guest();
  for (int i = 0; i < 200; ++i) {
    const auto id = static_cast<uint8_t>(i);
    guest_sends(frame(id));
    network->send(frame(id, 90));
    stop_guest();
    start_guest();
    guest_offers_buffers(1);
    ASSERT_EQ(network->receive(), frame(id)) << i;
    ASSERT_EQ(guest_receives(), frame(id, 90)) << i;
    while (transmit.collect()) {
    }
  }
}

TEST_F(DataPathTest, TheGuestHearsThatItsBuffersAreFreeAgain) {
  path->set_mode(GateMode::kSolo);
  start_guest();
  guest_sends(frame(1));
  EXPECT_TRUE(readable(calls[1].fd(), kPatienceMs));
}

// What a guest with one processor under TCG can do: its write of an index comes after the look at the event.  The
// second look catches that when the write comes within a millisecond, and a test on a busy machine may be too late for
// that: it tries until the counter says that it was not.
TEST_F(DataPathTest, AKickThatNeverCameIsMissedButTheFrameIsNot) {
  path->set_mode(GateMode::kSolo);
  start_guest();
  Bytes with_header(12);
  const Bytes unannounced = frame(2);
  with_header.insert(with_header.end(), unannounced.begin(), unannounced.end());
  const std::vector<uint32_t> sizes{static_cast<uint32_t>(with_header.size())};
  const Instant deadline = clock_now() + Duration::millis(kPatienceMs);
  while (path->counters().nic.missed_kicks == 0 && clock_now() < deadline) {
    guest_sends(frame(1));
    ASSERT_EQ(network->receive(), frame(1));
    ASSERT_TRUE(transmit.post(sizes, false, false, with_header).has_value());
    Bytes got = network->receive(kQuietMs);
    if (got.empty()) {
      kicks[1].signal();
      got = network->receive();
    }
    ASSERT_EQ(got, unannounced);
    while (transmit.collect()) {
    }
  }
  EXPECT_GT(path->counters().nic.missed_kicks, 0u);
}

TEST_F(DataPathTest, AnInterruptThatWasLeftOutTooEarlyComesLater) {
  path->set_mode(GateMode::kSolo);
  start_guest();
  const Instant deadline = clock_now() + Duration::millis(kPatienceMs);
  while (path->counters().nic.missed_interrupts == 0 && clock_now() < deadline) {
    const uint16_t wanted = transmit.collected();
    transmit.set_used_event(static_cast<uint16_t>(wanted + 40));
    guest_sends(frame(1));
    ASSERT_EQ(network->receive(), frame(1));
    // By now, mostly, the path has decided that the driver wants none.
    const Instant decided = clock_now() + Duration::micros(500);
    while (clock_now() < decided) {
    }
    transmit.set_used_event(wanted);
    if (readable(calls[1].fd(), kQuietMs)) calls[1].drain();
    ASSERT_TRUE(transmit.collect().has_value());
  }
  EXPECT_GT(path->counters().nic.missed_interrupts, 0u);
}

TEST_F(DataPathTest, AnInterruptThatIsOwedIsSentBeforeTheRingStops) {
  path->set_mode(GateMode::kSolo);
  for (int i = 0; i < 30; ++i) {
    start_guest();
    guest_sends(frame(1));
    ASSERT_EQ(network->receive(), frame(1));
    stop_guest();
    ASSERT_TRUE(calls[1].drain()) << i;
    ASSERT_TRUE(transmit.collect().has_value());
    transmit.set_used_event(transmit.collected());
  }
}

TEST_F(DataPathTest, AStandbyIsSilentAndATakeoverIsAnnounced) {
  path->announce();
  EXPECT_EQ(network->receive(kQuietMs), Bytes{}) << "held";
  network->send(frame(9));  // stale by the time of the takeover
  AddressLearner addresses(kMac);
  Bytes arp = frame(0, 42);
  store_be<uint16_t>(arp.data() + 12, 0x0806);
  const Bytes body = {0, 1, 8, 0, 6, 4, 0, 1, 0x52, 0x54, 0, 1, 2, 3, 10, 0, 0, 7, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1};
  std::copy(body.begin(), body.end(), arp.begin() + 14);
  addresses.observe(arp);
  Bytes snapshot;
  ByteWriter w(snapshot);
  w.le(uint32_t{1});
  w.le(static_cast<uint32_t>(addresses.snapshot().size()));
  w.bytes(addresses.snapshot());
  ASSERT_TRUE(path->restore_addresses(snapshot).has_value());
  EXPECT_EQ(path->snapshot_addresses(), snapshot);
  EXPECT_FALSE(path->restore_addresses(ByteSpan(snapshot).first(6)).has_value());

  EXPECT_EQ(path->announcement_times().announced, Instant());
  path->set_mode(GateMode::kSolo);
  const Instant before = clock_now();
  path->announce();
  Bytes first = network->receive();
  ASSERT_GE(first.size(), 42u);
  EXPECT_EQ(load_be<uint16_t>(first.data() + 12), 0x8035);
  for (const uint16_t operation : {uint16_t{1}, uint16_t{2}}) {
    const Bytes gratuitous = network->receive();
    ASSERT_GE(gratuitous.size(), 42u);
    EXPECT_EQ(load_be<uint16_t>(gratuitous.data() + 20), operation);
    EXPECT_EQ(Bytes(gratuitous.begin() + 28, gratuitous.begin() + 32), (Bytes{10, 0, 0, 7}));
  }
  first = network->receive();
  EXPECT_EQ(load_be<uint16_t>(first.data() + 12), 0x8035) << "and again, for switches that missed it";
  network->send(frame(10));
  start_guest();
  guest_offers_buffers();
  EXPECT_EQ(guest_receives(), frame(10)) << "what was stale did not reach the guest";
  EXPECT_EQ(path->announcement_times().first_frame, Instant()) << "an announcement is not one";

  // The second has left only after the first was noted.
  for (const uint8_t which : {uint8_t{11}, uint8_t{12}}) {
    guest_sends(frame(which));
    while (network->receive() != frame(which)) {
    }
  }
  const AnnouncementTimes times = path->announcement_times();
  EXPECT_LT(before, times.announced);
  EXPECT_LT(times.announced, times.first_frame);
}

TEST_F(DataPathTest, LearnsTheGuestsAddressFromWhatItSends) {
  path->set_mode(GateMode::kSolo);
  const size_t empty = path->snapshot_addresses().size();
  start_guest();
  Bytes ip = frame(0);
  store_be<uint16_t>(ip.data() + 12, 0x0800);
  std::copy_n(std::array<uint8_t, 4>{10, 0, 0, 9}.begin(), 4, ip.begin() + 26);
  guest_sends(ip);
  ASSERT_FALSE(network->receive().empty());
  EXPECT_GT(path->snapshot_addresses().size(), empty);
}

TEST_F(DataPathTest, ABrokenRingIsReportedAndTheOtherGoesOn) {
  path->set_mode(GateMode::kSolo);
  start_guest();
  transmit.offer(kRingSize);
  kicks[1].signal();
  network->send(frame(1));
  guest_offers_buffers();
  EXPECT_EQ(guest_receives(), frame(1));
  // The counters are published at the end of the turn in which the frame was delivered.
  DataPathCounters c = path->counters();
  for (const Instant deadline = clock_now() + Duration::seconds(5); c.nic.ring_faults == 0 && clock_now() < deadline;)
    c = path->counters();
  EXPECT_EQ(c.nic.ring_faults, 1u);
  EXPECT_EQ(c.nic.last_ring_fault, RingFault::kHeadOutOfRange);
}

TEST_F(DataPathTest, MemoryOtherThanTheGuestsIsRefused) {
  const MappedRam other;
  FrontEnd wrong(socket_path(), other.fd.get());
  wrong.start();
  EXPECT_TRUE(wrong.closed());
  EXPECT_NE(path->counters().nics[0].last_connection_error.find("another file"), std::string::npos);
}

TEST_F(DataPathTest, AFrontEndThatTalksNonsenseIsLeftAndTheNextIsServed) {
  FrontEnd nonsense(socket_path(), mapped.fd.get());
  nonsense.send(VhostUserRequest{99}, Bytes(8));
  EXPECT_TRUE(nonsense.closed());
  path->set_mode(GateMode::kSolo);
  start_guest();
  guest_sends(frame(1));
  EXPECT_EQ(network->receive(), frame(1));
  EXPECT_EQ(path->counters().nic.connection_errors, 1u);
}

TEST_F(DataPathTest, QemuMayGoAndComeAgain) {
  path->set_mode(GateMode::kSolo);
  start_guest();
  guest_sends(frame(1));
  EXPECT_EQ(network->receive(), frame(1));
  while (!transmit.collect()) {
  }
  bases = {0, 1};
  front_end.reset();
  start_guest();
  guest_sends(frame(2));
  EXPECT_EQ(network->receive(), frame(2));
  EXPECT_EQ(path->counters().nic.connections, 2u);
}

TEST_F(DataPathTest, ErrorsAtStartSayWhatIsWrong) {
  const auto message = [&](const std::string& bridge, const std::string& tap) {
    const auto started = start_path(bridge, tap);
    return started ? std::string() : started.error().message;
  };
  EXPECT_NE(message("nobridge", "ustest1").find("bridge nobridge does not exist"), std::string::npos);
  EXPECT_NE(message("lo", "ustest1").find("lo is not a bridge"), std::string::npos) << message("lo", "ustest1");
  EXPECT_NE(message("", "ustest0").find("in use"), std::string::npos);
  EXPECT_NE(message("", "a-name-that-is-too-long").find("1 to 15 characters"), std::string::npos);
}

}  // namespace
}  // namespace us
