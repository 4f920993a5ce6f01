#include "config/derived_names.h"

#include <gtest/gtest.h>

#include <set>

namespace us::config {
namespace {

TEST(DerivedNames, TapIsReadableWhenItFits) {
  EXPECT_EQ(derived_tap_name("web", 0), "us-web-0");
  EXPECT_EQ(derived_tap_name("ninechars", 7), "us-ninechars-7");
}

TEST(DerivedNames, TapsOfLongNamesFitAndDiffer) {
  std::set<std::string> seen;
  for (const char* vm : {"production-database-1", "production-database-2", "production-web"}) {
    for (size_t nic = 0; nic < 8; ++nic) {
      const std::string tap = derived_tap_name(vm, nic);
      EXPECT_LE(tap.size(), kInterfaceNameMax);
      EXPECT_TRUE(is_interface_name(tap));
      EXPECT_TRUE(seen.insert(tap).second) << tap;
    }
  }
}

// Two hosts, and two versions of the program, must agree.
TEST(DerivedNames, NeverChangeBetweenVersions) {
  EXPECT_EQ(derived_tap_name("production-database-1", 0), "us-produc802a-0");
  EXPECT_EQ(derived_mac("web", 0), (std::array<uint8_t, 6>{0x52, 0x54, 0x00, 0x61, 0x79, 0xfe}));
}

TEST(DerivedNames, MacsDifferByVmAndPosition) {
  EXPECT_NE(derived_mac("web", 0), derived_mac("web", 1));
  EXPECT_NE(derived_mac("web", 0), derived_mac("db", 0));
}

TEST(DerivedNames, KnowsWhatTheKernelTakesAsAnInterfaceName) {
  for (const char* good : {"br0", "a", "us-web-0", "123456789012345"}) EXPECT_TRUE(is_interface_name(good)) << good;
  for (const char* bad : {"", "1234567890123456", "a b", "a/b", "a:0", "a%d", ".", "..", "all", "default", "a\n"})
    EXPECT_FALSE(is_interface_name(bad)) << bad;
}

}  // namespace
}  // namespace us::config
