// Whole transfers between a relay and the Linux stack: the kernel is the client, the guest is scripted.
//
// The relay's clock is virtual, the kernel's is real: Wire moves frames in rounds of a fixed virtual round trip, and
// lets real time pass only where the kernel has to wait for a timer of its own.  Segments are lost by a fixed pattern.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <functional>

#include "base/rng.h"
#include "core/tcp/relay_rig.h"
#include "kernel_host.h"

namespace us {
namespace {

constexpr KernelHost::Address kKernel{192, 0, 2, 1};
constexpr KernelHost::Address kOurs{198, 51, 100, 2};
constexpr Duration kRoundTrip = Duration::millis(20);
constexpr Duration kKernelTimer = Duration::millis(300);

FrameView read_frame(const Bytes& frame) {
  FrameView view;
  US_CHECK(parse_frame(frame, static_cast<uint32_t>(frame.size()), {}, view) == FrameStatus::kTcp);
  return view;
}

struct Plan {
  RigSetup rig;
  int receive_buffer = 0;  // of the kernel's socket
  double loss = 0;         // of segments with data, both ways
  uint64_t seed = 1;
};

class Wire {
 public:
  Wire(KernelHost& kernel, const Plan& plan) : kernel_(kernel), plan_(plan), rig_(plan.rig), rng_(plan.seed) {
    socket_ = kernel_.connect(RelayRig::kGuestPort, plan.receive_buffer);
    for (const Bytes& frame : kernel_.settle())
      if (read_frame(frame).segment.flags == tcp_flag::kSyn) take_syn(frame);
  }

  // One virtual round trip: what the relay has sent goes to the kernel, what that says comes back.
  void round() {
    ++rounds;
    const std::deque<RelayRig::Sent> flight = std::exchange(rig_.sent_to_peer, {});
    flight_segments = 0;
    for (const RelayRig::Sent& sent : flight) to_kernel(sent.segment);
    std::vector<Bytes> frames = kernel_.settle();
    // A delayed ACK, a timeout of the kernel's: nothing else is under way.
    if (frames.empty() && flight_segments == 0 && waits_left_ > 0) {
      auto frame = kernel_.next(kKernelTimer);
      if (frame)
        frames.push_back(std::move(*frame));
      else
        --waits_left_;
    }
    rig_.advance(kRoundTrip);
    for (const Bytes& frame : frames) to_relay(frame);
  }

  // The guest: says `total` bytes as the relay's window allows, acknowledges all it gets.
  void guest_turn(uint32_t total) {
    for (const RelayRig::Sent& sent : std::exchange(rig_.sent_to_guest, {})) {
      if (sent.segment.has('R')) guest_reset = true;
      guest_edge_ = std::max(guest_edge_, *sent.segment.ack + (*sent.segment.window << *rig_.setup().peer.scale));
    }
    if (guest_reset) return;
    while (rig_.next(true) <= total) {
      const uint32_t length = std::min({total + 1 - rig_.next(true), 20'000u, guest_edge_ - rig_.next(true)});
      if (length == 0) break;
      rig_.send(true, length);
    }
    if (acked_by_guest_ != rig_.got(true)) rig_.guest(".");
    acked_by_guest_ = rig_.got(true);
  }

  // The kernel's application.
  void kernel_writes(uint32_t total) {
    while (written < total) {
      Bytes bytes;
      for (uint32_t i = 0; i < std::min(total - written, 16384u); ++i) bytes.push_back(peer_byte(1 + written + i));
      const ssize_t sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      written += static_cast<uint32_t>(sent);
    }
  }
  void kernel_reads() {
    Bytes bytes(65536);
    for (;;) {
      const ssize_t got = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
      if (got <= 0) return;
      for (ssize_t i = 0; i < got; ++i)
        if (bytes[static_cast<size_t>(i)] != guest_byte(1 + read++)) ++wrong;
    }
  }
  int socket_error() const {
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    return error;
  }
  void close_kernel() { socket_.reset(); }

  // Both directions at once, with `between` after each round.
  void transfer(uint32_t from_guest, uint32_t from_kernel, const std::function<void()>& between = {}) {
    wait_in_vain_at_most(kWaitsMax);
    while (rounds < 2000 && waits_left_ > 0 && rig_.violation().empty() &&
           (read < from_guest || rig_.got(true) <= from_kernel)) {
      guest_turn(from_guest);
      kernel_writes(from_kernel);
      round();
      kernel_reads();
      if (between) between();
    }
  }

  RelayRig& rig() { return rig_; }
  int rounds = 0;
  uint32_t flight_segments = 0;  // to the kernel, in the latest round
  uint64_t lost_bytes = 0;
  uint32_t written = 0;
  uint32_t read = 0;
  uint32_t wrong = 0;
  bool guest_reset = false;
  // How often a wait for a timer of the kernel's may bring nothing; after that none is waited for.
  void wait_in_vain_at_most(int times) { waits_left_ = times; }

 private:
  void take_syn(const Bytes& frame) {
    const FrameView view = read_frame(frame);
    RigSide& client = rig_.setup().peer;
    client.isn = view.segment.seq.value();
    port_ = view.segment.source_port;
    client.scale = *view.segment.options.window_scale;
    client.clock = view.segment.options.timestamps->value;
    client.syn_window = view.segment.window;
    rig_.put(false, with_rigs_port(frame));
    ScriptSegment answer = *parse_script_segment("S. 0:0(0) ack 1 <mss 1460, sackok>");
    answer.window = rig_.setup().guest.syn_window;
    answer.window_scale = rig_.setup().guest.scale;
    answer.timestamps = {rig_.setup().guest.clock, client.clock};
    rig_.put(true, rig_.slow_frame(true, answer).bytes());
    guest_edge_ = 1 + client.syn_window;
    rig_.begin_judging();
    send(answer);
    for (const Bytes& last : kernel_.settle()) to_relay(last);
  }

  // The rig knows its peer by a fixed port.
  Bytes with_rigs_port(const Bytes& frame) const {
    const FrameView view = read_frame(frame);
    SlowFrame out = rig_.slow_frame(false, rig_.to_script(view.segment, true));
    out.options.assign(frame.begin() + view.tcp_offset + 20, frame.begin() + view.payload_offset);
    out.payload.assign(frame.begin() + view.payload_offset, frame.end());
    out.seq = view.segment.seq.value();
    out.ack = view.segment.ack.value();
    out.flags = view.segment.flags;
    return out.bytes();
  }
  void send(const ScriptSegment& s) {
    SlowFrame frame = rig_.slow_frame(true, s);
    frame.destination_port = port_;
    kernel_.put(frame.bytes());
  }
  bool lose(uint32_t length) {
    if (length == 0 || !rng_.chance(plan_.loss)) return false;
    lost_bytes += length;
    return true;
  }
  void to_kernel(const ScriptSegment& s) {
    if (s.length > 0) ++flight_segments;
    if (!lose(s.length)) send(s);
  }
  void to_relay(const Bytes& frame) {
    const FrameView view = read_frame(frame);
    if (view.segment.source_port != port_) return;  // of an earlier connection
    const ScriptSegment s = rig_.to_script(view.segment, true);
    if (lose(s.length)) return;
    rig_.judge().peer_says(s, *s.seq, *s.seq + s.length + (s.has('F') ? 1 : 0), rig_.solo());
    rig_.put(false, with_rigs_port(frame));
  }

  KernelHost& kernel_;
  const Plan& plan_;
  RelayRig rig_;
  Rng rng_;
  UniqueFd socket_;
  uint16_t port_ = 0;
  uint32_t guest_edge_ = 0;
  uint32_t acked_by_guest_ = 1;
  static constexpr int kWaitsMax = 10;
  int waits_left_ = kWaitsMax;
};

class Interop : public testing::Test {
 protected:
  void SetUp() override {
    kernel_ = KernelHost::create(kKernel, kOurs);
    if (!kernel_) GTEST_SKIP() << kernel_.error().message;
    plan.rig.solo = true;
    plan.rig.guest.window = 65535;
  }
  KernelHost& kernel() { return *kernel_; }
  Plan plan;

 private:
  Result<KernelHost> kernel_ = fail(ErrorKind::kSystem, "not made");
};

TEST_F(Interop, SlowStartDoublesEachRoundTripWithLinuxAsTheReceiver) {
  Wire wire(kernel(), plan);
  std::vector<uint64_t> windows;
  wire.transfer(600'000, 0, [&] { windows.push_back(wire.rig().flow()->to_peer().cwnd()); });
  EXPECT_EQ(wire.read, 600'000u);
  EXPECT_EQ(wire.wrong, 0u);
  // 10, 20, 40 … segments: six round trips, and some for what pacing spreads.
  EXPECT_GE(wire.rounds, 6);
  EXPECT_LE(wire.rounds, 20);
  EXPECT_GE(windows.back(), windows.front() * 8);
  EXPECT_EQ(wire.rig().flow()->to_peer().stats().bytes_retransmitted, 0u);
  EXPECT_EQ(wire.rig().violation(), "");
}

TEST_F(Interop, LostSegmentsAreSentAgainAndNoOthers) {
  plan.loss = 0.02;
  for (const uint64_t seed : {1, 2, 3}) {
    plan.seed = seed;
    Wire wire(kernel(), plan);
    wire.transfer(1'000'000, 0);
    EXPECT_EQ(wire.read, 1'000'000u);
    EXPECT_EQ(wire.wrong, 0u);
    ASSERT_NE(wire.rig().flow(), nullptr);
    const SenderStats& stats = wire.rig().flow()->to_peer().stats();
    EXPECT_GE(stats.bytes_retransmitted, wire.lost_bytes);
    EXPECT_LE(stats.bytes_retransmitted, wire.lost_bytes + 10 * 1448) << stats.timeouts << " timeouts";
    EXPECT_EQ(wire.rig().violation(), "");
  }
}

TEST_F(Interop, LinuxRepairsWhatIsLostOnItsWayToTheRelay) {
  plan.loss = 0.02;
  Wire wire(kernel(), plan);
  wire.transfer(0, 1'000'000);
  EXPECT_EQ(wire.rig().got(true), 1'000'001u);
  EXPECT_EQ(wire.rig().violation(), "");
}

TEST_F(Interop, BothDirectionsAtOnceWithLossAndTakeovers) {
  plan.rig.solo = false;
  plan.loss = 0.01;
  Wire wire(kernel(), plan);
  RelayRig& rig = wire.rig();
  int takeovers = 0;
  wire.transfer(1'000'000, 1'000'000, [&] {
    if (wire.rounds % 2 == 0) rig.cut();
    if (wire.rounds % 2 == 1) rig.commit();
    rig.durable();
    if (wire.rounds % 10 != 9) return;
    rig.take_over();
    ++takeovers;
  });
  EXPECT_EQ(wire.read, 1'000'000u);
  EXPECT_EQ(wire.wrong, 0u);
  EXPECT_EQ(rig.got(true), 1'000'001u);
  EXPECT_GE(takeovers, 2);
  EXPECT_EQ(rig.violation(), "");
}

TEST_F(Interop, AStalledReaderIsProbedAndServedWhenItReads) {
  plan.receive_buffer = 8192;
  Wire wire(kernel(), plan);
  const auto pass = [&](int rounds) {
    for (int i = 0; i < rounds; ++i) {
      wire.guest_turn(200'000);
      wire.round();
    }
  };
  wire.wait_in_vain_at_most(1);
  pass(50);    // until the window is closed: Linux delays these ACKs
  pass(5000);  // 100 s in which the application reads nothing, and Linux answers each probe at once
  ASSERT_EQ(wire.rig().relay().size(), 1u);
  const SenderStats& stats = wire.rig().flow()->to_peer().stats();
  EXPECT_GE(stats.window_probes, 3u);
  EXPECT_EQ(stats.timeouts, 0u);
  EXPECT_LT(wire.rig().flow()->to_peer().una().value() - plan.rig.guest.isn, 100'000u);
  wire.rounds = 0;
  wire.transfer(200'000, 0);
  EXPECT_EQ(wire.read, 200'000u);
  EXPECT_EQ(wire.wrong, 0u);
  EXPECT_EQ(wire.rig().violation(), "");
}

TEST_F(Interop, LinuxProbesOurClosedWindowAndGoesOnWhenItOpens) {
  plan.rig.limits.handshake.ingress_capacity = plan.rig.guest.syn_window = 32768;
  Wire wire(kernel(), plan);
  wire.rig().guest(". win 0");
  wire.kernel_writes(200'000);
  wire.wait_in_vain_at_most(2);
  for (int i = 0; i < 12; ++i) wire.round();  // Linux probes on its own clock
  ASSERT_NE(wire.rig().flow(), nullptr);
  EXPECT_LT(wire.rig().flow()->from_peer().next().distance_to(wire.rig().flow()->from_peer().right_edge()), 1448u);
  wire.rig().guest(".");
  wire.rounds = 0;
  wire.transfer(0, 200'000);
  EXPECT_EQ(wire.rig().got(true), 200'001u);
  EXPECT_EQ(wire.rig().violation(), "");
}

TEST_F(Interop, LinuxTakesTheGuestsResetAndTheRelayTakesLinuxes) {
  Wire one(kernel(), plan);
  one.transfer(10'000, 10'000);
  one.rig().guest("R.");
  one.round();
  EXPECT_EQ(one.socket_error(), ECONNRESET);
  EXPECT_EQ(one.rig().relay().size(), 0u);

  Wire two(kernel(), plan);
  two.guest_turn(10'000);
  two.round();
  two.close_kernel();  // with data that nobody has read: Linux resets (RFC 2525 section 2.17)
  two.round();
  two.guest_turn(10'000);
  EXPECT_TRUE(two.guest_reset);
  EXPECT_EQ(two.rig().relay().size(), 0u);
}

}  // namespace
}  // namespace us
