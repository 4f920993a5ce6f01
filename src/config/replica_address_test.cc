#include "config/replica_address.h"

#include <gtest/gtest.h>

namespace us {
namespace {

TEST(ReplicaAddress, ReadsIpv4AndBracketedIpv6) {
  const auto v4 = parse_replica_address("10.0.0.1:7400");
  ASSERT_TRUE(v4);
  EXPECT_EQ(v4->ip, "10.0.0.1");
  EXPECT_EQ(v4->port, 7400);
  EXPECT_FALSE(v4->is_ipv6());
  const auto v6 = parse_replica_address("[fd00:0::1]:65535");
  ASSERT_TRUE(v6);
  EXPECT_EQ(v6->ip, "fd00::1");  // one spelling for one address
  EXPECT_TRUE(v6->is_ipv6());
  EXPECT_EQ(v6->text(), "[fd00::1]:65535");
  EXPECT_EQ(parse_replica_address(v4->text()), v4);
}

TEST(ReplicaAddress, RefusesEverythingElse) {
  for (const char* text : {"", ":", "10.0.0.1", "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:65536", "10.0.0.1:x",
                           "10.0.0.1:7400 ", "10.0.0:7400", "host:7400", "fd00::1:7400", "[fd00::1]", "[10.0.0.1]:1",
                           "[fe80::1%eth0]:7400", "[]:1", "10.0.0.1:-1", "10.0.0.1:+1"})
    EXPECT_FALSE(parse_replica_address(text)) << text;
}

}  // namespace
}  // namespace us
