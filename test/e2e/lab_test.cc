// The test network itself: what the other tests take for granted.
#include "demo/lab.h"

#include <fmt/format.h>
#include <unistd.h>

#include "demo/command.h"
#include "e2e.h"
#include "os/child_process.h"

namespace us::e2e {
namespace {

class Network : public testing::Test {
 protected:
  void SetUp() override {
    auto made = demo::Lab::create(fmt::format("us-{}", ::getpid()));
    ASSERT_OK(made);
    lab_.emplace(std::move(*made));
  }
  bool reaches(const demo::NetNs& from, const char* address) const {
    // A connection refused is an answer too: the packets got there and back.
    const auto tried = demo::run_command(from.wrap({"bash", "-c", fmt::format("exec 3<>/dev/tcp/{}/1", address)}),
                                         Duration::seconds(2));
    return tried && tried->output.find("refused") != std::string::npos;
  }
  // The kernel may still hold on to an address that did not answer a moment ago.
  bool comes_to_reach(const demo::NetNs& from, const char* address) const {
    for (int tries = 0; tries < 50; ++tries) {
      if (reaches(from, address)) return true;
      ::usleep(200'000);
    }
    return false;
  }

  std::optional<demo::Lab> lab_;
};

TEST_F(Network, ReplicationCableOfOneHostCutsItFromTheOther) {
  ASSERT_TRUE(reaches(lab_->host(0), "10.60.0.2"));
  ASSERT_OK(lab_->set_replication_cable(0, false));
  EXPECT_FALSE(reaches(lab_->host(0), "10.60.0.2"));
  ASSERT_OK(lab_->set_replication_cable(0, true));
  EXPECT_TRUE(comes_to_reach(lab_->host(0), "10.60.0.2"));
}

TEST_F(Network, DataAndReplicationLinksAreApart) {
  EXPECT_FALSE(reaches(lab_->client(), "10.60.0.1"));
  EXPECT_FALSE(reaches(lab_->host(0), "10.50.0.1"));
}

TEST_F(Network, PowerOffLeavesNoProcessAndPowerOnGivesAFreshHost) {
  auto process = ChildProcess::spawn({.argv = lab_->host(1).wrap({"sleep", "100"}), .inherited = {}});
  ASSERT_OK(process);
  for (int tries = 0; lab_->host(1).processes().empty() && tries < 10'000; ++tries)
    ::usleep(1000);  // until it is there
  ASSERT_FALSE(lab_->host(1).processes().empty());
  ASSERT_OK(lab_->power_off(1));
  EXPECT_TRUE(lab_->host(1).processes().empty());
  EXPECT_FALSE(reaches(lab_->host(0), "10.60.0.2"));
  ASSERT_OK(lab_->power_on(1));
  EXPECT_TRUE(comes_to_reach(lab_->host(0), "10.60.0.2"));
}

}  // namespace
}  // namespace us::e2e
