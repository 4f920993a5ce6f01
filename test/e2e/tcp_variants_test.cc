// Clients whose TCP differs: each kind of Linux client at once, both directions, across a takeover.
#include <netinet/tcp.h>

#include "tcp_relay.h"

namespace us::e2e {
namespace {

constexpr unsigned kAll = TCPI_OPT_TIMESTAMPS | TCPI_OPT_SACK | TCPI_OPT_WSCALE;
constexpr uint64_t kPace = 4 << 20;  // bytes per second

struct Variant {
  const char* name;
  std::string sysctl = {};  // set while it connects
  std::string value = {}, usual = {};
  std::string congestion = "cubic";
  unsigned options = kAll;  // that the handshake must have agreed upon
};

const std::vector<Variant>& variants() {
  static const std::vector<Variant> list = {
      {.name = "cubic"},
      {.name = "bbr", .congestion = "bbr"},
      {.name = "no timestamps",
       .sysctl = "net.ipv4.tcp_timestamps",
       .value = "0",
       .usual = "1",
       .options = TCPI_OPT_SACK | TCPI_OPT_WSCALE},
      {.name = "no SACK",
       .sysctl = "net.ipv4.tcp_sack",
       .value = "0",
       .usual = "1",
       .options = TCPI_OPT_TIMESTAMPS | TCPI_OPT_WSCALE},
      {.name = "no window scaling",
       .sysctl = "net.ipv4.tcp_window_scaling",
       .value = "0",
       .usual = "1",
       .options = TCPI_OPT_TIMESTAMPS | TCPI_OPT_SACK},
      {.name = "ECN", .sysctl = "net.ipv4.tcp_ecn", .value = "1", .usual = "2", .options = kAll | TCPI_OPT_ECN},
  };
  return list;
}

class TcpVariants : public TcpRelayTest {
 protected:
  void open_variant(const Variant& variant, const char* address) {
    SCOPED_TRACE(std::string(variant.name) + " to " + address);
    const auto set = [&](const std::string& value) -> Status {
      return variant.sysctl.empty() ? Status() : set_sysctl(client(), variant.sysctl, value);
    };
    ASSERT_OK(set(variant.value));
    auto opened = open({.address = address,
                        .port = kEchoPort,
                        .seed = 30 + connections_.size(),
                        .upload_bytes = kUntilTold,
                        .incoming = Incoming::kEcho,
                        .pace_bytes_per_second = kPace,
                        .congestion = variant.congestion});
    ASSERT_OK(set(variant.usual));
    ASSERT_TRUE(opened);
    constexpr unsigned kLooked = kAll | TCPI_OPT_ECN;
    EXPECT_EQ(opened->agreed_options() & kLooked, variant.options);
    connections_.push_back(std::move(opened));
  }
  void expect_progress(uint64_t bytes) {
    for (const auto& connection : connections_)
      wait_for_progress(*connection, 0, connection->received() + bytes, Duration::seconds(60));
  }

  Connections connections_;
};

TEST_F(TcpVariants, EveryKindOfClientKeepsItsConnectionAndItsBytes) {
  ASSERT_NO_FATAL_FAILURE(start_accelerated());
  const bool bbr = can_use_congestion_control(client(), "bbr");
  for (const char* address : {demo::kGuestAddress, demo::kGuestAddress6})
    for (const Variant& variant : variants())
      if (bbr || variant.congestion != "bbr") {
        ASSERT_NO_FATAL_FAILURE(open_variant(variant, address));
      }
  expect_progress(1 << 20);
  for (unsigned i = 0; i < (long_run() ? 4u : 1u); ++i) {
    if (i > 0) {
      ASSERT_NO_FATAL_FAILURE(protect_again());
    }
    ASSERT_NO_FATAL_FAILURE(kill_primary());
    for (const auto& connection : connections_) expect_relayed(*connection);
    expect_progress(1 << 20);
  }
  for (const auto& connection : connections_) connection->stop_upload();
  expect_all_end(connections_, Duration::seconds(60));
  for (const auto& connection : connections_) EXPECT_EQ(connection->received(), connection->sent());
  expect_no_flows_soon();
  if (!bbr) GTEST_SKIP() << "this machine's kernel has no bbr, so no client used it; all others passed";
}

}  // namespace
}  // namespace us::e2e
