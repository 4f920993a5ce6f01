#include "core/replica/wire_definition.h"

#include <gtest/gtest.h>

namespace us {
namespace {

TEST(Definition, TheSameTextHasNoDifference) {
  const char* text = "memory = 536870912\nnic = 52:54:00:00:00:01\n";
  EXPECT_EQ(explain_definition_difference(text, text), "");
  EXPECT_EQ(definition_hash(text), definition_hash(text));
}

TEST(Definition, EachKeyThatDiffersIsNamedWithBothValues) {
  EXPECT_EQ(explain_definition_difference("cpus = 1\nmemory = 512\n", "cpus = 1\nmemory = 1024\n"),
            "memory is \"512\" on the primary and \"1024\" on the standby");
  EXPECT_NE(definition_hash("cpus = 1\n"), definition_hash("cpus = 2\n"));
}

TEST(Definition, AKeyOnOneSideOnlyIsAbsentOnTheOther) {
  EXPECT_EQ(explain_definition_difference("cpu = max\n", "firmware = a = b\n"),
            "cpu is \"max\" on the primary and absent on the standby; "
            "firmware is absent on the primary and \"a = b\" on the standby");
}

TEST(Definition, RepeatedKeysAreComparedAsAListInOrder) {
  EXPECT_EQ(explain_definition_difference("nic = a\nnic = b\n", "nic = b\nnic = a\n"),
            "nic is \"a\", \"b\" on the primary and \"b\", \"a\" on the standby");
}

TEST(Definition, LongValuesAreShortened) {
  const std::string text = explain_definition_difference("append = " + std::string(5000, 'x') + "\n", "append = y\n");
  EXPECT_LT(text.size(), 400u);
  EXPECT_NE(text.find("..."), std::string::npos);
}

TEST(Definition, AnyTextIsTaken) {
  EXPECT_EQ(explain_definition_difference("no separator", ""),
            "no separator is \"\" on the primary and absent on the standby");
  EXPECT_EQ(explain_definition_difference("\n\n\n", "\n"), "");
}

}  // namespace
}  // namespace us
