// How connections begin and end: resets, half-closed connections, connections that the guest opens.
#include <fmt/format.h>

#include <cerrno>

#include "tcp_relay.h"

namespace us::e2e {
namespace {

constexpr uint64_t kMiB = 1 << 20;

class TcpEndTest : public TcpRelayTest {
 protected:
  void wait_broken(const TcpConnection& connection, int error) {
    EXPECT_TRUE(cluster_->wait_until("the end of the connection", kSoon, [&]() -> Result<bool> {
      return connection.end() != TcpEnd::kOpen;
    })) << flow_of(connection).dump(2);
    EXPECT_EQ(connection.end(), TcpEnd::kBroken) << connection.describe();
    EXPECT_EQ(connection.error(), error) << connection.describe();
  }
  bool guest_noted(const std::string& line) {
    return cluster_->run_in_guest("cat /run/tcp-ends").value_or("").find(line) != std::string::npos;
  }
};

// Rule 5: what the guest's stack believed to be delivered is delivered before the client hears of the reset.
TEST_F(TcpEndTest, ResetByTheGuestComesAfterAllItsData) {
  ASSERT_NO_FATAL_FAILURE(start_accelerated());
  const auto prompt = open({.request = fmt::format("reset 51 {}", 3 * kMiB), .seed = 51, .incoming = Incoming::kFile});
  // This one's client does not read until the guest has long forgotten the connection, and the primary is gone.
  const auto late = open({.request = fmt::format("reset 52 {}", 3 * kMiB),
                          .seed = 52,
                          .incoming = Incoming::kFile,
                          .receive_buffer_bytes = 64 * 1024});
  ASSERT_TRUE(prompt && late);
  late->set_reading(false);
  wait_broken(*prompt, ECONNRESET);
  EXPECT_EQ(prompt->received(), 3 * kMiB);
  ASSERT_OK(cluster_->wait_until("the guest having reset the other connection", kSoon, [&]() -> Result<bool> {
    return cluster_->run_in_guest("grep -c ':2328 .* 01 ' /proc/net/tcp6").value_or("") == "0\n";
  }));
  ASSERT_NO_FATAL_FAILURE(kill_primary());
  late->set_reading(true);
  wait_broken(*late, ECONNRESET);
  EXPECT_EQ(late->received(), 3 * kMiB);
  expect_no_flows_soon();
}

// Rule 5, the FINs: each direction ends by itself, and the other goes on, across a takeover.
TEST_F(TcpEndTest, HalfClosedConnectionsGoOnAfterATakeover) {
  ASSERT_NO_FATAL_FAILURE(start_accelerated());
  // The client ends its direction while the guest has not read a byte.
  ASSERT_OK(cluster_->run_in_guest("touch /run/stall"));
  Connections both;
  both.push_back(open({.request = "sink 53", .seed = 53, .upload_bytes = 300'000}));
  // The guest ends its direction and the client goes on sending.
  both.push_back(open({.request = "source 54 1000000", .seed = 54, .keep_open = true, .incoming = Incoming::kFile}));
  ASSERT_TRUE(both[0] && both[1]);
  wait_for_progress(*both[0], 300'000, 0, kSoon);
  ASSERT_OK(cluster_->wait_until("the end of the guest's direction", kSoon,
                                 [&]() -> Result<bool> { return both[1]->peer_ended(); }));
  EXPECT_EQ(both[1]->received(), 1'000'000u);

  ASSERT_NO_FATAL_FAILURE(kill_primary());
  for (const auto& connection : both) expect_relayed(*connection);
  EXPECT_FALSE(both[0]->peer_ended());
  both[1]->upload_to(2'000'000);
  both[1]->end_upload();
  ASSERT_OK(cluster_->run_in_guest("rm /run/stall"));
  expect_all_end(both, kSoon);
  EXPECT_EQ(both[0]->text(), "300000 ok\n");
  EXPECT_TRUE(cluster_->wait_until("the guest having read to the end", kSoon, [&]() -> Result<bool> {
    return guest_noted("source 54 1000000: 2000000 ok, ended");
  })) << cluster_->run_in_guest("cat /run/tcp-ends").value_or("");
  expect_no_flows_soon();
}

// The guest as the client: busybox nc joins a server of ours to the guest's own HTTP and sink services.
TEST_F(TcpEndTest, ConnectionThatTheGuestOpensSurvivesATakeover) {
  constexpr uint64_t kBytes = 16 * kMiB;
  ASSERT_NO_FATAL_FAILURE(start_accelerated());
  const auto listener = listen_in(client(), 8080);
  ASSERT_OK(listener);
  const auto shell = open({.port = 9999,
                           .request = fmt::format("wget -q -O - 'http://127.0.0.1/big?bytes={}&seed=55' | "
                                                  "(echo 'sink 55'; nc {} 8080) | nc 127.0.0.1 9000",
                                                  kBytes, demo::kClientAddress)});
  ASSERT_TRUE(shell);
  auto accepted = accept_within(listener->get(), kSoon);
  ASSERT_OK(accepted);
  const auto server = TcpConnection::adopt(std::move(*accepted), {.seed = 55,
                                                                  .upload_bytes = kBytes,
                                                                  .keep_open = true,
                                                                  .incoming = Incoming::kFile,
                                                                  .pace_bytes_per_second = 8 * kMiB});
  ASSERT_OK(server);
  expect_relayed(**server);
  wait_for_progress(**server, 2 * kMiB, 2 * kMiB, kSoon);
  ASSERT_EQ((*server)->end(), TcpEnd::kOpen) << "the takeover comes too late";
  ASSERT_NO_FATAL_FAILURE(kill_primary());
  expect_relayed(**server);
  wait_for_progress(**server, kBytes, kBytes, kSoon);
  (*server)->end_upload();  // not before: nc forgets what it has not sent when it sees the end
  expect_end(**server);
  EXPECT_EQ((*server)->received(), kBytes);
  expect_end(*shell);
  EXPECT_EQ(shell->text(), fmt::format("{} ok\n", kBytes));
  expect_no_flows_soon();
}

}  // namespace
}  // namespace us::e2e
