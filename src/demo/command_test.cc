#include "demo/command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace us::demo {
namespace {

TEST(Command, CollectsOutputAndExitStatus) {
  const auto result = run_command({"sh", "-c", "echo out; echo err >&2; exit 3"});
  ASSERT_TRUE(result);
  EXPECT_EQ(result->exit_status, 3);
  EXPECT_EQ(result->output, "out\nerr\n");
}

TEST(Command, CheckedFailureShowsTheCommandAndItsOutput) {
  const auto result = run_checked({"sh", "-c", "echo why; exit 1"});
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, testing::AllOf(testing::HasSubstr("sh -c"), testing::HasSubstr("why")));
}

TEST(Command, ProgramThatDoesNotEndIsKilledAtTheLimit) {
  const auto result = run_command({"sleep", "100"}, Duration::millis(50));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::kTimeout);
}

TEST(Command, MissingProgramIsAnError) { EXPECT_FALSE(run_command({"no-such-program-here"})); }

}  // namespace
}  // namespace us::demo
