// What the end-to-end tests share: a cluster for each test, which the test's failure keeps for inspection, and a load.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "demo/clients.h"
#include "demo/cluster.h"

// Ends the test when a Status or Result is an error, and shows it.
#define ASSERT_OK(expression)                                          \
  do {                                                                 \
    const auto& e2e_result = (expression);                             \
    ASSERT_TRUE(e2e_result.has_value()) << e2e_result.error().message; \
  } while (0)

namespace us::e2e {

using demo::Cluster;
using demo::DaemonStatus;

inline constexpr Duration kBoot = Duration::seconds(90);
inline constexpr Duration kSoon = Duration::seconds(20);
inline constexpr Duration kSync = Duration::seconds(90);

// True for the long runs (`./do test --long`).
bool long_run();

// The understudy executable under test.
std::string program();

class E2e : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  // Host A runs the guest, host B is its standby, and all is protected.
  void start_protected(demo::ClusterOptions options = {});
  // Only the network and the files.
  void create(demo::ClusterOptions options = {});
  // The rest of start_protected().
  void protect();
  void start_load();  // with the ledger, where the guest has a disk

  // The clients still have their connections and are being served.
  void expect_load_goes_on();
  // Ends the load and checks every figure of it.
  void expect_load_unharmed();

  // Replaces `from` by `to` in a host's VM file.
  void edit_vm_file(size_t host, const std::string& from, const std::string& to);
  std::string log(size_t host) const;
  std::string role(size_t host);
  Status wait_services();  // of a guest that has rebooted
  std::string boot_id();   // changes when the guest boots

  bool has_disk_ = false;            // set by create()
  Duration patience_ = kSoon;        // how long a client may have to wait to be served
  bool expects_difference_ = false;  // every test is audited all along, and by default no difference may be found
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<demo::Clients> load_;
};

}  // namespace us::e2e
