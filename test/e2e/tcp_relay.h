// TcpRelayTest: a protected guest whose TCP connections are relayed (docs/tcp-relay.md), and a primary that can be
// killed again and again.
//
// Every test that claims something of the relay asks expect_relayed(): a connection that fell back to the plain gate
// would pass most of them as well.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "e2e.h"
#include "tcp_client.h"

namespace us::e2e {

class TcpRelayTest : public E2e {
 protected:
  using Connections = std::vector<std::unique_ptr<TcpConnection>>;

  // As start_protected(), with tcp.mode = "accelerated" in the VM file.
  void start_accelerated(demo::ClusterOptions options = {});

  // The primary loses power and the other host goes on; host numbers change their roles in primary_.
  void kill_primary();
  // A fresh host in place of the dead one, until all is protected again.
  void protect_again();
  Status set(const std::string& assignment);  // `understudy set`

  // A connection that is relayed, or a failed test and null.
  std::unique_ptr<TcpConnection> open(TcpPlan plan);
  Result<nlohmann::json> flows();  // those that are relayed
  // The row of the connection; null when it is not relayed.
  nlohmann::json flow_of(const TcpConnection& connection);
  void expect_relayed(const TcpConnection& connection);
  void expect_no_flows_soon();

  // Ends as it should: both directions ended, nothing wrong.
  void expect_end(const TcpConnection& connection, Duration limit = kSoon);
  void expect_all_end(const Connections& connections, Duration limit);
  void wait_for_progress(const TcpConnection& connection, uint64_t sent, uint64_t received, Duration limit);

  const demo::NetNs& client() { return cluster_->lab().client(); }

  size_t primary_ = 0;
};

}  // namespace us::e2e
