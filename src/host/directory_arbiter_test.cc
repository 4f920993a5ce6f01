#include "host/directory_arbiter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

namespace us {
namespace {

using testing::HasSubstr;

class DirectoryArbiterTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "arbiter.XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  DirectoryArbiter as(const std::string& node, const std::string& vm = "db") { return {directory_, vm, node}; }
  size_t files() const {
    const std::filesystem::directory_iterator all(directory_);
    return static_cast<size_t>(std::distance(begin(all), end(all)));
  }

  std::string directory_;
};

TEST_F(DirectoryArbiterTest, GrantsAGenerationOnceAndForEver) {
  DirectoryArbiter a = as("a"), b = as("b");
  EXPECT_EQ(a.claim(Generation{1}).result, ClaimResult::kGranted);
  const ClaimAnswer refused = b.claim(Generation{1});
  EXPECT_EQ(refused.result, ClaimResult::kTaken);
  EXPECT_EQ(refused.holder, "a");
  EXPECT_EQ(refused.generation, Generation{1});
  EXPECT_EQ(a.claim(Generation{1}).result, ClaimResult::kGranted) << "asking again changes nothing";
}

TEST_F(DirectoryArbiterTest, GrantsNothingBelowTheNewest) {
  DirectoryArbiter a = as("a"), b = as("b");
  ASSERT_EQ(a.claim(Generation{5}).result, ClaimResult::kGranted);
  EXPECT_EQ(b.claim(Generation{4}).result, ClaimResult::kTaken);
  EXPECT_EQ(a.claim(Generation{4}).result, ClaimResult::kTaken) << "not even to the holder of the newest";
  EXPECT_EQ(b.claim(Generation{6}).result, ClaimResult::kGranted);
}

TEST_F(DirectoryArbiterTest, KeepsVmsApart) {
  EXPECT_EQ(as("a", "db").claim(Generation{3}).result, ClaimResult::kGranted);
  EXPECT_EQ(as("b", "db2").claim(Generation{1}).result, ClaimResult::kGranted);
  EXPECT_EQ(as("b", "d").claim(Generation{1}).result, ClaimResult::kGranted);
}

TEST_F(DirectoryArbiterTest, KnowsWhereTheVmStands) {
  EXPECT_EQ(as("a").standing()->generation, Generation{});
  ASSERT_EQ(as("a").claim(Generation{9}).result, ClaimResult::kGranted);
  ASSERT_EQ(as("b").claim(Generation{10}).result, ClaimResult::kGranted);  // 10 is after 9, also as text
  const DirectoryArbiter::Standing standing = as("c").standing().value();
  EXPECT_EQ(standing.generation, Generation{10});
  EXPECT_EQ(standing.holder, "b");
  EXPECT_FALSE(standing.ended);
}

TEST_F(DirectoryArbiterTest, NobodyTakesOverAVmThatWasEnded) {
  ASSERT_EQ(as("a").claim(Generation{1}).result, ClaimResult::kGranted);
  ASSERT_TRUE(as("a").mark_ended(Generation{1}, "powered off"));
  EXPECT_TRUE(as("b").standing()->ended);
  EXPECT_EQ(as("b").claim(Generation{2}).result, ClaimResult::kTaken);
  EXPECT_EQ(as("b").claim_start(Generation{2}).result, ClaimResult::kGranted) << "but it may be started afresh";
  EXPECT_FALSE(as("b").standing()->ended);
  EXPECT_EQ(as("a").claim(Generation{3}).result, ClaimResult::kGranted);
}

TEST_F(DirectoryArbiterTest, AnEndThatComesAfterATakeoverDoesNotEndTheNewGeneration) {
  ASSERT_EQ(as("a").claim(Generation{1}).result, ClaimResult::kGranted);
  ASSERT_EQ(as("b").claim(Generation{2}).result, ClaimResult::kGranted);
  ASSERT_TRUE(as("a").mark_ended(Generation{1}, "powered off"));
  EXPECT_FALSE(as("b").standing()->ended);
}

TEST_F(DirectoryArbiterTest, AMissingDirectoryIsNoAnswerAndSurelyNoClaim) {
  std::filesystem::remove_all(directory_);
  const ClaimAnswer answer = as("a").claim(Generation{1});
  EXPECT_EQ(answer.result, ClaimResult::kUnavailable);
  EXPECT_TRUE(answer.not_recorded);
  EXPECT_THAT(answer.detail, HasSubstr(directory_));
  EXPECT_FALSE(as("a").standing());
  EXPECT_FALSE(as("a").mark_ended(Generation{1}, ""));
}

TEST_F(DirectoryArbiterTest, AnUnwritableDirectoryIsNoAnswerAndSurelyNoClaim) {
  if (::geteuid() == 0) GTEST_SKIP() << "root writes everywhere";
  ASSERT_EQ(::chmod(directory_.c_str(), 0500), 0);
  const ClaimAnswer answer = as("a").claim(Generation{1});
  EXPECT_EQ(answer.result, ClaimResult::kUnavailable);
  EXPECT_TRUE(answer.not_recorded);
}

TEST_F(DirectoryArbiterTest, ForeignFilesAreNoGenerations) {
  for (const char* name : {"db.generation-", "db.generation-7x", "db.generation--3",
                           "db.generation-99999999999999999999", "other", ".db.abcdef"})
    std::ofstream(directory_ + "/" + name) << "x";
  EXPECT_EQ(as("a").standing()->generation, Generation{});
  EXPECT_EQ(as("a").claim(Generation{1}).result, ClaimResult::kGranted);
}

TEST_F(DirectoryArbiterTest, LeavesNothingBehindButItsRecords) {
  ASSERT_EQ(as("a").claim(Generation{1}).result, ClaimResult::kGranted);
  ASSERT_EQ(as("b").claim(Generation{1}).result, ClaimResult::kTaken);
  ASSERT_TRUE(as("a").mark_ended(Generation{1}, "x"));
  EXPECT_EQ(files(), 2u);
}

TEST_F(DirectoryArbiterTest, ExactlyOneOfManyGetsEachGeneration) {
  constexpr int kNodes = 6;
  constexpr uint64_t kGenerations = 30;
  std::array<std::atomic<int>, kGenerations + 1> granted{};
  std::vector<std::thread> nodes;
  for (int i = 0; i < kNodes; ++i)
    nodes.emplace_back([&, i] {
      DirectoryArbiter arbiter = as("node" + std::to_string(i));
      for (uint64_t g = 1; g <= kGenerations; ++g) {
        const ClaimAnswer answer = arbiter.claim(Generation{g});
        EXPECT_NE(answer.result, ClaimResult::kUnavailable) << answer.detail;
        if (answer.result == ClaimResult::kGranted) ++granted[g];
      }
    });
  for (std::thread& node : nodes) node.join();
  for (uint64_t g = 1; g <= kGenerations; ++g) EXPECT_LE(granted[g], 1) << g;
  EXPECT_EQ(granted[kGenerations], 1);
  EXPECT_EQ(granted[1], 1);
}

}  // namespace
}  // namespace us
