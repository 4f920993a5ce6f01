#include "core/replica/wire_text.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace us {
namespace {

TEST(WireText, PlainAndForeignTextIsClean) {
  for (const char* text : {"", "a b\tc\n", "h\xc3\xb6st", "\xe4\xb8\xbb\xe6\xa9\x9f", "\xf0\x9f\x90\xa7", "\xc2\xa0",
                           "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"})
    EXPECT_TRUE(is_clean_text(text)) << text;
}

TEST(WireText, ControlsAndBrokenUtf8AreNot) {
  const std::string_view texts[] = {
      "\x1b[2J",
      "\r",
      "\x7f",
      {"\0", 1},
      "\xc2\x9b",          // C1 control
      "\x80",              // tail without a head
      "\xc3",              // cut
      "\xe4\xb8",          // cut
      "\xf0\x9f\x90",      // cut
      "\xc0\xaf",          // overlong
      "\xe0\x9f\xbf",      // overlong
      "\xf0\x8f\xbf\xbf",  // overlong
      "\xed\xa0\x80",      // surrogate
      "\xf4\x90\x80\x80",  // above U+10FFFF
      "\xf5\x80\x80\x80",
      "\xff",
  };
  for (const std::string_view text : texts) {
    EXPECT_FALSE(is_clean_text(text));
    EXPECT_TRUE(is_clean_text(clean_text(text, 100)));
    EXPECT_FALSE(clean_text(text, 100).empty());
  }
}

TEST(WireText, IsCutBetweenCharacters) {
  EXPECT_EQ(clean_text("a\xc3\xb6z", 2), "a");
  EXPECT_EQ(clean_text("a\xc3\xb6z", 3), "a\xc3\xb6");
  EXPECT_EQ(clean_text("a\x01z", 10), "a?z");
}

RC_GTEST_PROP(WireTextProperty, CleaningAlwaysCleansAndLeavesCleanTextAlone, (const std::string& text)) {
  const std::string clean = clean_text(text, 50);
  RC_ASSERT(is_clean_text(clean));
  RC_ASSERT(clean.size() <= 50u);
  RC_ASSERT(clean_text(clean, 50) == clean);
  if (is_clean_text(text) && text.size() <= 50) RC_ASSERT(clean == text);
}

}  // namespace
}  // namespace us
