#include "core/tcp/ip_address.h"

#include <gtest/gtest.h>

namespace us {
namespace {

IpAddress v6(std::array<uint8_t, 16> bytes) { return IpAddress::from_v6_bytes(bytes.data()); }

TEST(IpAddress, WritesIpv6AsRfc5952Recommends) {
  EXPECT_EQ(to_string(v6({})), "::");
  EXPECT_EQ(to_string(v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})), "::1");
  EXPECT_EQ(to_string(v6({0x20, 0x01, 0x0d, 0xb8})), "2001:db8::");
  EXPECT_EQ(to_string(v6({0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1})), "2001:db8:0:1:1:1:1:1");
  EXPECT_EQ(to_string(v6({0x20, 0x01, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1})), "2001:0:0:1::1");
  EXPECT_EQ(to_string(v6({0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1})), "2001:db8::1:0:0:1");
}

TEST(IpAddress, WritesEndpoints) {
  EXPECT_EQ(to_string(Endpoint{IpAddress::v4(192, 0, 2, 1), 80}), "192.0.2.1:80");
  EXPECT_EQ(to_string(Endpoint{v6({0x20, 0x01}), 443}), "[2001::]:443");
}

TEST(IpAddress, AMappedAddressIsNotTheIpv4Address) {
  const auto mapped = v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1});
  EXPECT_NE(mapped, IpAddress::v4(192, 0, 2, 1));
  // Nor is the IPv6 address whose first four bytes are the same.
  EXPECT_NE(v6({192, 0, 2, 1}), IpAddress::v4(192, 0, 2, 1));
  EXPECT_NE(std::hash<IpAddress>{}(v6({192, 0, 2, 1})), std::hash<IpAddress>{}(IpAddress::v4(192, 0, 2, 1)));
}

TEST(IpAddress, IsMadeOfFourOrSixteenBytesOnly) {
  const Bytes bytes(16, 1);
  for (size_t n = 0; n <= 16; ++n)
    EXPECT_EQ(IpAddress::from_bytes(ByteSpan(bytes).first(n)).has_value(), n == 4 || n == 16) << n;
}

}  // namespace
}  // namespace us
