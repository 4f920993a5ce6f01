// Strangers on the replication port.  Whatever they send or do not send, the pair of hosts goes on.
#include <array>
#include <atomic>
#include <thread>

#include "base/rng.h"
#include "demo/stream.h"
#include "e2e.h"

namespace us::e2e {
namespace {

class HostilePeer : public E2e {
 protected:
  // Connects to the replication port of `host` from the other one and sends `bytes`, then stays silent.
  // A host may refuse the connection, or hang up in the middle.
  void attack(size_t host, const Bytes& bytes) {
    std::thread([&] {
      ASSERT_OK(cluster_->lab().host(1 - host).enter());
      auto stream = demo::Stream::connect(demo::kReplicationAddress[host], 7400, never_);
      if (!stream) return;
      static_cast<void>(stream->send(bytes));
      strangers_.push_back(std::move(*stream));
    }).join();
  }

  static Bytes noise(size_t length, uint64_t seed) {
    Rng rng(seed);
    Bytes out(length);
    for (uint8_t& byte : out) byte = static_cast<uint8_t>(rng.next());
    return out;
  }

  const std::atomic<bool> never_ = false;
  std::vector<demo::Stream> strangers_;  // kept open
};

TEST_F(HostilePeer, GarbageAndSilenceDoNotKeepAStandbyFromItsPrimary) {
  ASSERT_NO_FATAL_FAILURE(create());
  ASSERT_OK(cluster_->start_standby(1));
  ASSERT_OK(cluster_->wait_role(1, "standby", kSoon));
  attack(1, noise(1 << 20, 1));
  attack(1, {});           // connects and says nothing
  attack(1, noise(3, 2));  // stops in the middle of a header
  ASSERT_OK(cluster_->start_primary(0));
  ASSERT_OK(cluster_->wait_guest(kBoot));
  ASSERT_OK(cluster_->wait_protected(0, kSync));
}

TEST_F(HostilePeer, StrangersDoNotDisturbAProtectedGuest) {
  ASSERT_NO_FATAL_FAILURE(start_protected());
  start_load();
  for (uint64_t i = 0; i < 50; ++i) attack(1, noise(1000 * i, i));
  for (uint64_t i = 0; i < 5; ++i) attack(0, noise(1000 * i, i));
  expect_load_goes_on();
  ASSERT_OK(cluster_->wait_protected(0, kSoon));
  ASSERT_OK(cluster_->power_off(0));
  ASSERT_OK(cluster_->wait_role(1, "primary", kSoon));
  expect_load_goes_on();
  expect_load_unharmed();
}

// The standby's host accepts everything and does nothing: TCP stays connected.  The primary must notice by its
// heartbeats.
TEST_F(HostilePeer, StandbyThatFreezesIsGivenUp) {
  ASSERT_NO_FATAL_FAILURE(start_protected());
  start_load();
  const auto frozen = cluster_->lab().host(1).processes();
  for (const pid_t pid : frozen) ::kill(pid, SIGSTOP);
  ASSERT_OK(cluster_->wait_until("the primary going solo", kSoon, [this]() -> Result<bool> {
    US_ASSIGN(const DaemonStatus now, cluster_->status(0));
    return now.role == "primary" && now.state == "solo";
  }));
  expect_load_goes_on();
  for (const pid_t pid : frozen) ::kill(pid, SIGCONT);
  // It finds out that it is no standby any more, and must not take over.
  ASSERT_OK(cluster_->sleep(Duration::seconds(2)));
  EXPECT_EQ(role(0), "primary");
  EXPECT_NE(role(1), "primary");
  expect_load_unharmed();
}

}  // namespace
}  // namespace us::e2e
