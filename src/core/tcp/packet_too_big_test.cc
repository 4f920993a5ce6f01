#include "core/tcp/packet_too_big.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "core/tcp/slow_frame.h"

namespace us {
namespace {

constexpr size_t kEthernet = 14;

// A segment of 1500 bytes from the guest, as a router would quote it.
SlowFrame sent(bool v6) {
  SlowFrame f = v6 ? SlowFrame::ipv6() : SlowFrame();
  f.seq = 0xcafe0001;
  f.payload = Bytes(v6 ? 1440 : 1460, 7);
  return f;
}

struct Report {
  SlowFrame segment;
  uint32_t limit = 1400;
  uint8_t type = 3;
  uint8_t code = 4;
  size_t quoted_bytes = 48;
  std::vector<uint32_t> vlans{};
  bool to_source = true;

  Bytes icmp(const SlowFrame& outer) const {
    Bytes out{type, code, 0, 0};
    ByteWriter w(out);
    w.be(limit);
    const Bytes quoted = segment.bytes();
    w.bytes(ByteSpan(quoted).subspan(kEthernet, quoted_bytes));
    Bytes summed;
    ByteWriter pseudo(summed);
    if (segment.v6) {
      pseudo.bytes(outer.source);
      pseudo.bytes(outer.destination);
      pseudo.be(static_cast<uint32_t>(out.size()));
      pseudo.be(uint32_t{58});
    }
    pseudo.bytes(out);
    store_be(out.data() + 2, slow_internet_checksum(summed));
    return out;
  }

  Bytes bytes() const {
    SlowFrame outer = sent(segment.v6);
    std::swap(outer.source, outer.destination);
    if (to_source) outer.destination = segment.source;
    outer.protocol = segment.v6 ? 58 : 1;
    outer.fragment = 0;
    const Bytes message = icmp(outer);
    Bytes out(12, 9);
    ByteWriter w(out);
    for (uint32_t vlan : vlans) w.be(vlan);
    w.be(static_cast<uint16_t>(segment.v6 ? 0x86dd : 0x0800));
    w.bytes(outer.ip_header(message.size()));
    w.bytes(message);
    return out;
  }
};

Report v4() {
  Report r;
  r.segment = sent(false);
  return r;
}
Report v6() {
  Report r;
  r.segment = sent(true);
  r.type = 2;
  r.code = 0;
  r.quoted_bytes = 60;
  return r;
}

TEST(PacketTooBig, NamesTheConnectionTheSegmentAndTheLimit) {  // tcp.md, rule 9
  Report r = v4();
  r.vlans = {0x81000007};
  const auto four = parse_packet_too_big(r.bytes());
  ASSERT_TRUE(four);
  EXPECT_EQ(to_string(four->source), "192.0.2.1:4000");
  EXPECT_EQ(to_string(four->destination), "198.51.100.2:80");
  EXPECT_EQ(four->seq, SeqNum(0xcafe0001));
  EXPECT_EQ(four->ip_bytes, 1400u);
  const auto six = parse_packet_too_big(v6().bytes());
  ASSERT_TRUE(six);
  EXPECT_EQ(to_string(six->destination), "[2001:db8::ab02]:80");
  EXPECT_EQ(six->seq, SeqNum(0xcafe0001));
  EXPECT_EQ(six->ip_bytes, 1400u);
}

TEST(PacketTooBig, ARouterThatNamesNoLimitGetsTheNextPlateau) {  // RFC 1191 section 7.1
  Report r = v4();
  r.limit = 0;
  EXPECT_EQ(parse_packet_too_big(r.bytes())->ip_bytes, 1492u);
  r.segment.payload.resize(1000);
  EXPECT_EQ(parse_packet_too_big(r.bytes())->ip_bytes, 1006u);
}

TEST(PacketTooBig, IsNeverBelowWhatIpGuaranteesNorAtTheSizeOfTheSegment) {
  Report r = v4();
  r.limit = 1;
  EXPECT_EQ(parse_packet_too_big(r.bytes())->ip_bytes, 68u);
  r.limit = 1500;
  EXPECT_FALSE(parse_packet_too_big(r.bytes()));
  r.limit = 1499;
  EXPECT_TRUE(parse_packet_too_big(r.bytes()));
  r = v6();
  r.limit = 576;
  EXPECT_EQ(parse_packet_too_big(r.bytes())->ip_bytes, 1280u);
  r.limit = 0xffffffff;
  EXPECT_FALSE(parse_packet_too_big(r.bytes()));
}

TEST(PacketTooBig, ReportsAboutOthersAndOfOtherKindsAreNot) {
  for (Report r : {v4(), v6()}) {
    r.to_source = false;
    r.segment.source.back() ^= 1;
    EXPECT_FALSE(parse_packet_too_big(r.bytes()));
    r.to_source = true;
    EXPECT_TRUE(parse_packet_too_big(r.bytes()));
    Report other = r;
    other.code ^= 1;
    EXPECT_FALSE(parse_packet_too_big(other.bytes()));
    other = r;
    other.type ^= 1;
    EXPECT_FALSE(parse_packet_too_big(other.bytes()));
    other = r;
    other.segment.protocol = 17;
    EXPECT_FALSE(parse_packet_too_big(other.bytes()));
    Bytes bad = r.bytes();
    bad.back() ^= 1;
    EXPECT_FALSE(parse_packet_too_big(bad));
  }
  EXPECT_FALSE(parse_packet_too_big(sent(false).bytes()));
}

TEST(PacketTooBig, EveryTruncationIsRefused) {
  for (const Report& r : {v4(), v6()}) {
    const Bytes bytes = r.bytes();
    for (size_t n = 0; n < bytes.size(); ++n) EXPECT_FALSE(parse_packet_too_big(ByteSpan(bytes).first(n))) << n;
    Report shorter = r;
    for (shorter.quoted_bytes = 0; shorter.quoted_bytes < (r.segment.v6 ? 48u : 28u); ++shorter.quoted_bytes)
      EXPECT_FALSE(parse_packet_too_big(shorter.bytes())) << shorter.quoted_bytes;
    EXPECT_TRUE(parse_packet_too_big(shorter.bytes()));
  }
}

}  // namespace
}  // namespace us
