// Files in both directions, each byte compared, while hosts die, protection comes and goes, and modes change.
#include <fmt/format.h>

#include "config/runtime_settings.h"
#include "tcp_relay.h"

namespace us::e2e {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kPace = 16 * kMiB;  // bytes per second, so that nothing starves
constexpr uint64_t kSeedDown = 11;
constexpr uint64_t kSeedUp = 12;

class TcpBulk : public TcpRelayTest {
 protected:
  TcpPlan download(uint64_t bytes) const {
    return {.request = fmt::format("source {} {}", kSeedDown, bytes), .seed = kSeedDown, .incoming = Incoming::kFile};
  }
  TcpPlan upload(uint64_t bytes) const {
    return {.request = fmt::format("sink {}", kSeedUp), .seed = kSeedUp, .upload_bytes = bytes};
  }
  // Silent connections, which must still be there at the end.
  void open_idle(size_t count) {
    for (size_t i = 0; i < count; ++i)
      idle_.push_back(open({.port = kEchoPort, .seed = 20 + i, .keep_open = true, .incoming = Incoming::kEcho}));
  }
  void expect_idle_alive() {
    for (const auto& connection : idle_) {
      ASSERT_TRUE(connection);
      connection->upload_to(connection->sent() + 1000);
      wait_for_progress(*connection, connection->sent(), connection->sent() + 1000, kSoon);
      connection->end_upload();
    }
    expect_all_end(idle_, kSoon);
  }

  // The demo's load, which downloads, and beside it one connection up and one both ways.  They last until
  // expect_transfers_right().
  void start_transfers() {
    start_load();
    running_.push_back(open({.request = fmt::format("sink {}", kSeedUp),
                             .seed = kSeedUp,
                             .upload_bytes = kUntilTold,
                             .pace_bytes_per_second = kPace}));
    running_.push_back(open({.port = kEchoPort,
                             .seed = 13,
                             .upload_bytes = kUntilTold,
                             .incoming = Incoming::kEcho,
                             .pace_bytes_per_second = kPace}));
    for (const auto& connection : running_) ASSERT_TRUE(connection);
  }
  void expect_transfers_go_on() {
    expect_load_goes_on();
    wait_for_progress(*running_[0], running_[0]->sent() + 4 * kMiB, 0, Duration::seconds(30));
    wait_for_progress(*running_[1], 0, running_[1]->received() + kMiB, Duration::seconds(30));
  }
  void expect_transfers_right() {
    expect_load_unharmed();
    for (const auto& connection : running_) connection->stop_upload();
    expect_all_end(running_, Duration::seconds(60));
    EXPECT_EQ(running_[0]->text(), fmt::format("{} ok\n", running_[0]->sent()));
    EXPECT_EQ(running_[1]->received(), running_[1]->sent());
  }

  Connections idle_;
  Connections running_;
};

// Rules 1, 2 and 4: nothing lost, nothing twice, nothing taken back, in both directions, whatever host dies when.
TEST_F(TcpBulk, FilesInBothDirectionsSurviveTakeovers) {
  const uint64_t bytes = (long_run() ? 1024 : 256) * kMiB;
  const unsigned takeovers = long_run() ? 4 : 1;
  ASSERT_NO_FATAL_FAILURE(start_accelerated());
  Connections both;
  both.push_back(open(download(bytes)));
  both.push_back(open(upload(bytes)));
  ASSERT_TRUE(both[0] && both[1]);
  for (unsigned i = 1; i <= takeovers; ++i) {
    const uint64_t mark = bytes / (takeovers + 1) * i / 2;
    wait_for_progress(*both[0], 0, mark, Duration::seconds(120));
    wait_for_progress(*both[1], mark, 0, Duration::seconds(120));
    ASSERT_LT(both[0]->received(), bytes) << "the takeover comes too late";
    ASSERT_LT(both[1]->sent(), bytes) << "the takeover comes too late";
    ASSERT_NO_FATAL_FAILURE(kill_primary());
    for (const auto& connection : both)
      if (connection->end() == TcpEnd::kOpen) expect_relayed(*connection);
    if (i < takeovers) {
      ASSERT_NO_FATAL_FAILURE(protect_again());
    }
  }
  expect_all_end(both, Duration::seconds(180));
  EXPECT_EQ(both[0]->received(), bytes);
  EXPECT_EQ(both[1]->text(), fmt::format("{} ok\n", bytes));
  expect_no_flows_soon();
}

// Rule 11: protected, on its own, protected again, and never a connection that notices.
TEST_F(TcpBulk, ProtectionComesAndGoesUnderTransfers) {
  ASSERT_NO_FATAL_FAILURE(start_accelerated());
  ASSERT_NO_FATAL_FAILURE(start_transfers());
  open_idle(3);
  for (unsigned round = 0; round < (long_run() ? 5u : 1u); ++round) {
    ASSERT_OK(cluster_->power_off(1 - primary_));
    ASSERT_OK(cluster_->wait_until("the primary going on alone", kSoon, [this]() -> Result<bool> {
      US_ASSIGN(const DaemonStatus now, cluster_->status(primary_));
      return now.state == "solo";
    }));
    expect_transfers_go_on();
    ASSERT_NO_FATAL_FAILURE(protect_again());
    expect_transfers_go_on();
  }
  ASSERT_NO_FATAL_FAILURE(kill_primary());
  expect_transfers_go_on();
  expect_idle_alive();
  expect_transfers_right();
  expect_no_flows_soon();
}

// Connections that are relayed stay so in every mode; only what the relay does for them changes.
TEST_F(TcpBulk, ModesChangeUnderTransfers) {
  ASSERT_NO_FATAL_FAILURE(start_accelerated());
  ASSERT_NO_FATAL_FAILURE(start_transfers());
  const auto& modes = tcp_mode_names();
  for (const std::string_view mode : modes) {
    SCOPED_TRACE(mode);
    ASSERT_OK(set(fmt::format("tcp.mode={}", mode)));
    expect_transfers_go_on();
    for (const auto& connection : running_) expect_relayed(*connection);
    // One that begins and ends in this mode, relayed or not.
    auto brief =
        TcpConnection::open(client(), {.port = kEchoPort, .upload_bytes = 100'000, .incoming = Incoming::kEcho});
    ASSERT_OK(brief);
    Connections one;
    one.push_back(std::move(*brief));
    expect_all_end(one, kSoon);
    EXPECT_EQ(one[0]->received(), 100'000u);
    ASSERT_FALSE(HasFailure());
  }
  // The other host has its modes from its VM file.
  ASSERT_OK(set("tcp.mode=ack-peer"));
  ASSERT_NO_FATAL_FAILURE(kill_primary());
  expect_transfers_go_on();
  expect_transfers_right();
  expect_no_flows_soon();
}

}  // namespace
}  // namespace us::e2e
