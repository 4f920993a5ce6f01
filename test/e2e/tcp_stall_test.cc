// Ends that do not answer: readers that stall, and a client that is gone.
#include <fmt/format.h>

#include "demo/command.h"
#include "tcp_relay.h"

namespace us::e2e {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kBytes = 32 * kMiB;
// Of one connection: two buffers of 4 MiB, and what they need besides.
constexpr uint64_t kMemoryMax = 10 * kMiB;
constexpr const char* kSecondAddress = "10.50.0.77";

class TcpStall : public TcpRelayTest {
 protected:
  uint64_t number(const TcpConnection& connection, const char* key) {
    const nlohmann::json row = flow_of(connection);
    return row.is_null() ? 0 : row.value(key, uint64_t{0});
  }
  // Nothing moves for a while: its buffers and windows are full.
  void wait_stalled(const TcpConnection& connection, const std::function<uint64_t()>& moved) {
    uint64_t before = moved();
    unsigned quiet = 0;
    EXPECT_TRUE(cluster_->wait_until("the connection being stalled", kSoon, [&]() -> Result<bool> {
      const uint64_t now = moved();
      quiet = now == before ? quiet + 1 : 0;
      before = now;
      return quiet >= 10;
    })) << connection.describe();
  }
  void change_client_address(const char* verb) {
    ASSERT_OK(demo::run_checked(
        {"ip", "-n", client().name(), "addr", verb, std::string(kSecondAddress) + "/32", "dev", "lan0"}));
  }
  std::string ends_noted_by_guest() { return cluster_->run_in_guest("cat /run/tcp-ends").value_or(""); }
};

// Rule 7: a zero window is respected and probed, on either side, also by a host that has just taken over.
TEST_F(TcpStall, ReadersThatStallAcrossATakeoverGetEveryByte) {
  ASSERT_NO_FATAL_FAILURE(start_accelerated());
  const auto reader = open({.request = fmt::format("source 41 {}", kBytes),
                            .seed = 41,
                            .incoming = Incoming::kFile,
                            .receive_buffer_bytes = 64 * 1024});
  ASSERT_TRUE(reader);
  reader->set_reading(false);
  ASSERT_OK(cluster_->run_in_guest("touch /run/stall"));
  const auto writer = open({.request = "sink 42", .seed = 42, .upload_bytes = kBytes});
  ASSERT_TRUE(writer);
  wait_stalled(*reader, [&] { return number(*reader, "egress_bytes"); });
  wait_stalled(*writer, [&] { return writer->sent(); });
  EXPECT_LT(reader->received(), kBytes);
  EXPECT_LT(writer->sent(), kBytes);
  EXPECT_GE(number(*reader, "unacked_bytes"), kMiB) << flow_of(*reader).dump(2);
  EXPECT_EQ(number(*reader, "inflight"), 0u) << flow_of(*reader).dump(2);

  ASSERT_NO_FATAL_FAILURE(kill_primary());
  for (const auto* connection : {reader.get(), writer.get()}) {
    expect_relayed(*connection);
    EXPECT_LT(number(*connection, "memory_bytes"), kMemoryMax);
    EXPECT_EQ(connection->end(), TcpEnd::kOpen) << connection->describe();
  }
  reader->set_reading(true);
  ASSERT_OK(cluster_->run_in_guest("rm /run/stall"));
  expect_end(*reader);
  expect_end(*writer);
  EXPECT_EQ(reader->received(), kBytes);
  EXPECT_EQ(writer->text(), fmt::format("{} ok\n", kBytes));
  expect_no_flows_soon();
}

// Rule 6: the relay does not vouch for a client that is gone, and nobody else suffers from it.  That the relay itself
// gives up, after 15 minutes, is a matter of unit tests and the simulation.
TEST_F(TcpStall, ClientThatVanishesIsFoundDeadByKeepAliveAndHarmsNobody) {
  ASSERT_NO_FATAL_FAILURE(start_accelerated());
  ASSERT_NO_FATAL_FAILURE(change_client_address("add"));
  const auto idle = open({.source = kSecondAddress, .request = "idle 43", .keep_open = true});
  const auto reader = open({.source = kSecondAddress,
                            .request = fmt::format("source 44 {}", 100 * kBytes),
                            .seed = 44,
                            .incoming = Incoming::kFile});
  const auto other = open({.port = kEchoPort,
                           .seed = 45,
                           .upload_bytes = kUntilTold,
                           .incoming = Incoming::kEcho,
                           .pace_bytes_per_second = 4 * kMiB});
  ASSERT_TRUE(idle && reader && other);
  // Keep-alive alone does no harm: three probes and more are answered.
  ASSERT_OK(cluster_->sleep(Duration::seconds(5)));
  EXPECT_FALSE(flow_of(*idle).is_null());
  wait_for_progress(*reader, 0, kMiB, kSoon);

  ASSERT_NO_FATAL_FAILURE(change_client_address("del"));
  EXPECT_TRUE(cluster_->wait_until("the guest's keep-alive giving the client up", kSoon, [&]() -> Result<bool> {
    return ends_noted_by_guest().find("idle 43: 0 ok, Connection timed out") != std::string::npos;
  })) << ends_noted_by_guest();
  EXPECT_TRUE(flow_of(*idle).is_null());
  ASSERT_OK(cluster_->wait_until("timeouts toward the client that is gone", kSoon,
                                 [&]() -> Result<bool> { return number(*reader, "timeouts") >= 3; }));
  EXPECT_LT(number(*reader, "memory_bytes"), kMemoryMax);
  wait_for_progress(*other, 0, other->received() + 4 * kMiB, kSoon);

  ASSERT_NO_FATAL_FAILURE(kill_primary());
  expect_relayed(*reader);
  wait_for_progress(*other, 0, other->received() + 4 * kMiB, kSoon);
  EXPECT_LT(number(*reader, "memory_bytes"), kMemoryMax);
  other->stop_upload();
  expect_end(*other);
  EXPECT_EQ(other->received(), other->sent());
}

}  // namespace
}  // namespace us::e2e
