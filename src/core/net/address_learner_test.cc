#include "core/net/address_learner.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace us {
namespace {

constexpr MacAddress kMac = {0x52, 0x54, 0, 1, 2, 3};
constexpr MacAddress kOtherMac = {0x52, 0x54, 0, 9, 9, 9};

LearnedAddress v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
  LearnedAddress out;
  out.bytes = {a, b, c, d};
  return out;
}
LearnedAddress v6(uint8_t first, uint8_t last) {
  LearnedAddress out;
  out.v6 = true;
  out.bytes[0] = first;
  out.bytes[15] = last;
  return out;
}

Bytes ethernet(uint16_t type, const MacAddress& from = kMac) {
  Bytes out(6, 0xff);
  ByteWriter w(out);
  w.bytes(from);
  w.be(type);
  return out;
}
Bytes ipv4_from(const LearnedAddress& a, const MacAddress& from = kMac) {
  Bytes out = ethernet(0x0800, from);
  ByteWriter w(out);
  w.zeros(12);
  w.bytes(ByteSpan(a.bytes).first(4));
  w.zeros(4);
  return out;
}
Bytes arp_from(const LearnedAddress& a, const MacAddress& sender = kMac, const MacAddress& from = kMac) {
  Bytes out = ethernet(0x0806, from);
  ByteWriter w(out);
  w.bytes(Bytes{0, 1, 8, 0, 6, 4, 0, 1});
  w.bytes(sender);
  w.bytes(ByteSpan(a.bytes).first(4));
  w.zeros(10);
  return out;
}
Bytes ipv6_from(const LearnedAddress& a) {
  Bytes out = ethernet(0x86dd);
  ByteWriter w(out);
  w.zeros(8);
  w.bytes(a.bytes);
  w.zeros(16);
  return out;
}
Bytes advertisement(const LearnedAddress& source, const LearnedAddress& target) {
  Bytes out = ipv6_from(source);
  out[14 + 6] = 58;
  ByteWriter w(out);
  w.bytes(Bytes{136, 0, 0, 0, 0x20, 0, 0, 0});
  w.bytes(target.bytes);
  return out;
}

using Addresses = std::vector<LearnedAddress>;

TEST(AddressLearner, LearnsFromArpIpv4Ipv6AndAdvertisements) {
  AddressLearner arp(kMac), ip(kMac);
  arp.observe(arp_from(v4(10, 0, 0, 1)));
  arp.observe(advertisement(v6(0xfe, 1), v6(0x20, 7)));
  EXPECT_EQ(arp.addresses(), (Addresses{v4(10, 0, 0, 1), v6(0x20, 7)}));
  ip.observe(ipv4_from(v4(10, 0, 0, 2)));
  ip.observe(ipv6_from(v6(0x20, 8)));
  EXPECT_EQ(ip.addresses(), (Addresses{v4(10, 0, 0, 2), v6(0x20, 8)}));
}

TEST(AddressLearner, AGuestThatForwardsIsNotAnnouncedForOthersAddresses) {
  AddressLearner l(kMac);
  l.observe(ipv4_from(v4(192, 168, 7, 7)));
  l.observe(arp_from(v4(10, 0, 0, 1)));
  l.observe(ipv4_from(v4(192, 168, 7, 8)));
  EXPECT_EQ(l.addresses(), Addresses{v4(10, 0, 0, 1)});
}

TEST(AddressLearner, IgnoresFramesOfAnotherMac) {
  AddressLearner l(kMac);
  l.observe(ipv4_from(v4(10, 0, 0, 1), kOtherMac));
  l.observe(arp_from(v4(10, 0, 0, 1), kMac, kOtherMac));
  l.observe(arp_from(v4(10, 0, 0, 1), kOtherMac, kMac));
  EXPECT_TRUE(l.addresses().empty());
}

TEST(AddressLearner, IgnoresAddressesNoHostCanOwn) {
  AddressLearner l(kMac);
  for (const auto& a : {v4(0, 0, 0, 0), v4(127, 0, 0, 1), v4(224, 0, 0, 1), v4(255, 255, 255, 255)}) {
    l.observe(ipv4_from(a));
    l.observe(arp_from(a));
  }
  for (const auto& a : {v6(0, 0), v6(0, 1), v6(0xff, 2)}) l.observe(ipv6_from(a));
  EXPECT_TRUE(l.addresses().empty());
}

TEST(AddressLearner, NeverHoldsMoreThanItsLimitAndPrefersClaims) {
  AddressLearner l(kMac);
  for (uint8_t i = 1; i <= 40; ++i) l.observe(ipv4_from(v4(10, 0, 0, i)));
  EXPECT_EQ(l.addresses().size(), AddressLearner::kMax);
  for (uint8_t i = 1; i <= 20; ++i) l.observe(advertisement(v6(0xfe, 1), v6(0x20, i)));
  const Addresses now = l.addresses();
  EXPECT_EQ(now.size(), AddressLearner::kMax);
  EXPECT_EQ(now.back(), v6(0x20, 20));
  EXPECT_EQ(now.front(), v6(0x20, 5)) << "the oldest claims made room";
}

TEST(AddressLearner, RestoreOfASnapshotGivesTheSame) {
  AddressLearner a(kMac), b(kMac);
  a.observe(arp_from(v4(10, 0, 0, 1)));
  a.observe(ipv4_from(v4(10, 0, 0, 9)));
  a.observe(ipv6_from(v6(0x20, 3)));
  ASSERT_TRUE(b.restore(a.snapshot()).has_value());
  EXPECT_EQ(a.addresses(), b.addresses());
  for (AddressLearner* l : {&a, &b}) {
    l->observe(ipv4_from(v4(10, 0, 0, 77)));
    l->observe(advertisement(v6(0x20, 3), v6(0x20, 4)));
  }
  EXPECT_EQ(a.snapshot(), b.snapshot());
}

TEST(AddressLearner, RefusesASnapshotThatIsTruncatedOrAbsurd) {
  AddressLearner a(kMac), b(kMac);
  a.observe(arp_from(v4(10, 0, 0, 1)));
  const Bytes good = a.snapshot();
  for (size_t n = 0; n < good.size(); ++n) EXPECT_FALSE(b.restore(ByteSpan(good).first(n)).has_value()) << n;
  for (const size_t at : {0u, 1u, 2u, 3u}) {
    Bytes bad = good;
    bad[at] = 0xee;
    EXPECT_FALSE(b.restore(bad).has_value()) << at;
  }
  EXPECT_TRUE(b.addresses().empty());
}

TEST(AddressLearner, SurvivesAnyFrame) {
  Rng rng(1);
  AddressLearner l(kMac);
  for (int i = 0; i < 20000; ++i) {
    Bytes f = ethernet(std::array<uint16_t, 3>{0x0800, 0x0806, 0x86dd}[rng.below(3)]);
    const uint64_t n = rng.below(90);
    for (uint64_t b = 0; b < n; ++b) f.push_back(static_cast<uint8_t>(rng.next()));
    if (rng.chance(0.1)) f.resize(rng.below(f.size()));
    l.observe(f);
    ASSERT_LE(l.addresses().size(), AddressLearner::kMax);
  }
}

}  // namespace
}  // namespace us
