#include "config/units.h"

#include <gtest/gtest.h>

namespace us::config {
namespace {

TEST(Units, ReadsSizesInBinaryUnits) {
  EXPECT_EQ(parse_size("512M"), 512u << 20);
  EXPECT_EQ(parse_size("2G"), uint64_t{2} << 30);
  EXPECT_EQ(parse_size("0K"), 0u);
  EXPECT_EQ(parse_size("8388607T"), uint64_t{8388607} << 40);
}

TEST(Units, RefusesWhatIsNotAWholeNumberAndAUnit) {
  for (const char* text :
       {"", "512", "M", "1.5G", "-1M", "+1M", " 1M", "1M ", "1MB", "1 M", "0x10M", "8388608T", "99999999999999999999M"})
    EXPECT_FALSE(parse_size(text)) << text;
  for (const char* text : {"", "25", "ms", "2.5ms", "-25ms", "25 ms", "25m", "25MS", "9223372037s"})
    EXPECT_FALSE(parse_duration(text)) << text;
}

TEST(Units, ReadsTimes) {
  EXPECT_EQ(parse_duration("25ms"), Duration::millis(25));
  EXPECT_EQ(parse_duration("100us"), Duration::micros(100));
  EXPECT_EQ(parse_duration("7ns"), Duration::nanos(7));
  EXPECT_EQ(parse_duration("9223372036s"), Duration::seconds(9223372036));
}

TEST(Units, WritesTheLargestUnitThatDivides) {
  EXPECT_EQ(size_text(512 * kMiB), "512M");
  EXPECT_EQ(size_text(1536 * kMiB), "1536M");
  EXPECT_EQ(size_text(kGiB), "1G");
  EXPECT_EQ(size_text(5), "5 bytes");
  EXPECT_EQ(duration_text(Duration::millis(25)), "25ms");
  EXPECT_EQ(duration_text(Duration::millis(1000)), "1s");
  EXPECT_EQ(duration_text(Duration::nanos(0)), "0s");
}

}  // namespace
}  // namespace us::config
