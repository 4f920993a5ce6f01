// Many connections that each live for a moment, while the primary dies.
#include <atomic>
#include <deque>
#include <thread>

#include "tcp_relay.h"

namespace us::e2e {
namespace {

constexpr unsigned kConnections = 1000;
constexpr unsigned kAtOnce = 40;
constexpr uint64_t kRequest = 2000;

class TcpShort : public TcpRelayTest {
 protected:
  ~TcpShort() override { join(); }

  // Connect, one request, its answer, close; the next, until all are done.
  void start() {
    for (unsigned i = 0; i < kAtOnce; ++i)
      workers_.emplace_back([this] {
        for (unsigned number = next_++; number < kConnections; number = next_++) one(number);
      });
  }
  void join() {
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
  }

  void one(unsigned number) {
    auto opened = TcpConnection::open(
        client(), {.port = kEchoPort, .seed = number, .upload_bytes = kRequest, .incoming = Incoming::kEcho});
    if (!opened) return note(opened.error().message);
    const TcpConnection& connection = **opened;
    for (int tries = 0; connection.end() == TcpEnd::kOpen && tries < 6000; ++tries) ::usleep(10'000);
    if (connection.end() != TcpEnd::kEnded || connection.received() != kRequest) return note(connection.describe());
    ++done_;
  }
  void note(const std::string& failure) {
    const std::lock_guard lock(mutex_);
    failures_.push_back(failure);
  }

  std::atomic<unsigned> next_ = 0;
  std::atomic<unsigned> done_ = 0;
  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::vector<std::string> failures_;
};

TEST_F(TcpShort, AThousandConnectionsDuringATakeoverAllComplete) {
  ASSERT_NO_FATAL_FAILURE(start_accelerated());
  start();
  ASSERT_OK(cluster_->wait_until("a third of the connections", kSoon * 2,
                                 [this]() -> Result<bool> { return done_ >= kConnections / 3; }));
  const unsigned before = done_;
  ASSERT_NO_FATAL_FAILURE(kill_primary());
  const unsigned after = done_;
  join();
  EXPECT_LT(after, kConnections - kAtOnce) << "the takeover came too late";
  EXPECT_GE(after, before);
  EXPECT_EQ(done_, kConnections);
  EXPECT_THAT(failures_, testing::IsEmpty());
  expect_no_flows_soon();
}

}  // namespace
}  // namespace us::e2e
