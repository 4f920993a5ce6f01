// The loads against the guest's own services (guest/services), both in one network namespace of this machine: that they
// count right and end, not how fast it is.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "demo/command.h"
#include "services.h"
#include "tcp/datagrams.h"
#include "tcp/exchanges.h"
#include "tcp/streams.h"

namespace us::bench {
namespace {

class LoadsTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto made = demo::NetNs::create("us-" + std::to_string(::getpid()) + "-loads");
    if (!made) return;
    ns_ = new demo::NetNs(std::move(*made));
    ASSERT_TRUE(demo::run_checked({"ip", "-n", ns_->name(), "link", "set", "lo", "up"}));
    // They serve until this process ends.
    serve(guest::serve_load);
    serve(guest::serve_echo_tcp);
    serve(guest::serve_echo_udp);
    const Client client{*ns_, "127.0.0.1", "reno", interrupted_};
    for (int tries = 0; tries < 200; ++tries) {
      const auto ready = inside<UniqueFd>(*ns_, [&] { return client.connect(kLoadPort); });
      const auto echo = inside<UniqueFd>(*ns_, [&] { return client.connect(kEchoPort); });
      if (ready && echo) return;
      ::usleep(10'000);
    }
    FAIL() << "the services do not listen";
  }
  static void TearDownTestSuite() { delete ns_; }
  static void serve(void (*service)()) {
    std::thread([service] {
      if (ns_->enter()) service();
    }).detach();
  }
  void SetUp() override {
    if (ns_ == nullptr) GTEST_SKIP() << "needs the right to make a network namespace";
    interrupted_ = false;
  }
  Client client() const { return {*ns_, "127.0.0.1", "reno", interrupted_}; }

  static inline demo::NetNs* ns_ = nullptr;
  static inline std::atomic<bool> interrupted_ = false;
};

constexpr Duration kShort = Duration::millis(200);

TEST_F(LoadsTest, StreamsRunInBothDirectionsAtOnceAndEachIsCounted) {
  const auto rates =
      measure_streams(client(), {.from_guest = 3, .to_guest = 2, .skip = Duration::millis(50), .length = kShort});
  ASSERT_TRUE(rates) << rates.error().message;
  ASSERT_EQ(rates->from_guest.size(), 3u);
  ASSERT_EQ(rates->to_guest.size(), 2u);
  for (const double rate : rates->from_guest) EXPECT_GT(rate, 0);
  for (const double rate : rates->to_guest) EXPECT_GT(rate, 0);
}

TEST_F(LoadsTest, RequestsGoOnUntilThereAreEnough) {
  const auto times = measure_requests(client(), 1024, {.count = 20, .least = 1, .limit = Duration::seconds(60)});
  ASSERT_TRUE(times) << times.error().message;
  EXPECT_EQ(times->size(), 20u);
}

TEST_F(LoadsTest, SoManyAsAreAskedForAreMadeEvenAfterTheLimit) {
  const auto times = measure_requests(client(), 1, {.count = 100, .least = 7, .limit = {}});
  ASSERT_TRUE(times) << times.error().message;
  EXPECT_EQ(times->size(), 7u);
}

TEST_F(LoadsTest, IncastRoundsMoveTheirBlocksInEitherDirection) {
  for (const bool from_guest : {true, false}) {
    const auto times = measure_incast(client(), {.clients = 20, .block = 300'000, .from_guest = from_guest},
                                      {.count = 3, .least = 3, .limit = {}});
    ASSERT_TRUE(times) << times.error().message;
    EXPECT_EQ(times->size(), 3u);
    for (const Duration time : *times) EXPECT_GT(time, Duration{});
  }
}

TEST_F(LoadsTest, DatagramsComeBack) {
  for (const bool icmp : {false, true}) {
    const auto result = measure_datagrams(client(), {.icmp = icmp, .bytes = 200, .per_second = 500, .length = kShort});
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_EQ(result->sent, 100u);
    EXPECT_EQ(result->lost, 0u);
    EXPECT_EQ(result->duplicated, 0u);
    EXPECT_EQ(result->round_trips.size(), 100u);
  }
}

TEST_F(LoadsTest, AServiceThatIsNotThereIsAnErrorAndNoFigure) {
  const auto times = measure_fetches(client(), 1000, false, {.count = 1, .least = 1, .limit = {}});
  ASSERT_FALSE(times);
  EXPECT_NE(times.error().message.find("port 80"), std::string::npos);
}

TEST_F(LoadsTest, AnInterruptEndsAMeasurement) {
  interrupted_ = true;
  EXPECT_FALSE(measure_streams(client(), {.from_guest = 1, .length = Duration::seconds(60)}));
  EXPECT_FALSE(measure_requests(client(), 1, {.count = 10, .least = 10, .limit = Duration::seconds(60)}));
  EXPECT_FALSE(measure_datagrams(client(), {.length = Duration::seconds(60)}));
}

}  // namespace
}  // namespace us::bench
