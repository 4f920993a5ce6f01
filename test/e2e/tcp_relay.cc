#include "tcp_relay.h"

namespace us::e2e {
namespace {

using Json = nlohmann::json;

}  // namespace

void TcpRelayTest::start_accelerated(demo::ClusterOptions options) {
  ASSERT_NO_FATAL_FAILURE(create(std::move(options)));
  for (size_t host = 0; host < demo::kHosts; ++host)
    ASSERT_NO_FATAL_FAILURE(edit_vm_file(host, "[replication]", "[tcp]\nmode = \"accelerated\"\n\n[replication]"));
  ASSERT_NO_FATAL_FAILURE(protect());
}

void TcpRelayTest::kill_primary() {
  ASSERT_OK(cluster_->power_off(primary_));
  primary_ = 1 - primary_;
  ASSERT_OK(cluster_->wait_role(primary_, "primary", kSoon));
}

void TcpRelayTest::protect_again() {
  ASSERT_OK(cluster_->power_on(1 - primary_));
  ASSERT_OK(cluster_->start_standby(1 - primary_));
  ASSERT_OK(cluster_->wait_protected(primary_, kSync));
}

Status TcpRelayTest::set(const std::string& assignment) {
  US_TRY(cluster_->daemon(primary_)->command("set", {demo::kVmName, assignment}));
  return {};
}

std::unique_ptr<TcpConnection> TcpRelayTest::open(TcpPlan plan) {
  auto opened = TcpConnection::open(client(), std::move(plan));
  EXPECT_TRUE(opened.has_value()) << opened.error().message;
  if (!opened) return nullptr;
  expect_relayed(**opened);
  return std::move(*opened);
}

Result<Json> TcpRelayTest::flows() {
  US_ASSIGN(const std::string text, cluster_->daemon(primary_)->command("flows", {demo::kVmName, "--json"}));
  const Json list = Json::parse(text, nullptr, false);
  if (!list.is_array()) return fail(ErrorKind::kProtocol, "`understudy flows` says " + text);
  Json relayed = Json::array();  // it lists others as well, with the reason
  for (const Json& row : list)
    if (row.value("relayed", false)) relayed.push_back(row);
  return relayed;
}

Json TcpRelayTest::flow_of(const TcpConnection& connection) {
  const auto list = flows();
  if (!list) return nullptr;
  for (const Json& row : *list)
    if (row.value("peer", "") == connection.local()) return row;
  return nullptr;
}

void TcpRelayTest::expect_relayed(const TcpConnection& connection) {
  // The last ACK of the handshake may still be on its way.
  EXPECT_TRUE(cluster_->wait_until("the connection being relayed", kSoon, [&]() -> Result<bool> {
    return !flow_of(connection).is_null();
  })) << connection.describe();
}

void TcpRelayTest::expect_no_flows_soon() {
  Json left;
  EXPECT_TRUE(cluster_->wait_until("the flow table becoming empty", kSoon, [&]() -> Result<bool> {
    US_ASSIGN(left, flows());
    return left.empty();
  })) << left.dump(2);
}

void TcpRelayTest::expect_end(const TcpConnection& connection, Duration limit) {
  const auto ended = cluster_->wait_until("the end of a connection", limit,
                                          [&]() -> Result<bool> { return connection.end() != TcpEnd::kOpen; });
  EXPECT_EQ(connection.end(), TcpEnd::kEnded) << connection.describe() << "\n" << flow_of(connection).dump(2);
}

void TcpRelayTest::expect_all_end(const Connections& connections, Duration limit) {
  for (const auto& connection : connections) expect_end(*connection, limit);
}

void TcpRelayTest::wait_for_progress(const TcpConnection& connection, uint64_t sent, uint64_t received,
                                     Duration limit) {
  EXPECT_TRUE(cluster_->wait_until("progress of a connection", limit,
                                   [&]() -> Result<bool> {
                                     if (connection.sent() >= sent && connection.received() >= received) return true;
                                     if (connection.end() == TcpEnd::kOpen) return false;
                                     return fail(ErrorKind::kRefused, "it has ended");
                                   }))
      << connection.describe() << "\n"
      << flow_of(connection).dump();
}

}  // namespace us::e2e
