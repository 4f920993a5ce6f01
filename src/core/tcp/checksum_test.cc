#include "core/tcp/checksum.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace us {
namespace {

// RFC 1071 section 1 read literally: 16-bit words in network order, an end-around carry after each addition.
uint16_t slow_sum(const Bytes& bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes.size(); i += 2) {
    const uint32_t low = i + 1 < bytes.size() ? bytes[i + 1] : 0u;
    sum += (uint32_t{bytes[i]} << 8) | low;
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return static_cast<uint16_t>(sum);
}

TEST(InternetSum, AgreesWithTheExampleOfRfc1071) {
  const Bytes bytes{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  InternetSum sum;
  sum.add(bytes);
  EXPECT_EQ(sum.folded(), 0xddf2);
  EXPECT_EQ(sum.checksum(), 0x220d);
}

TEST(InternetSum, OfNothingAndOfAllOnes) {
  EXPECT_EQ(InternetSum().checksum(), 0xffff);
  InternetSum sum;
  sum.add(Bytes(65536, 0xff));
  EXPECT_EQ(sum.folded(), 0xffff);
}

RC_GTEST_PROP(InternetSum, AgreesWithASlowSumHoweverTheBytesAreCut, (const std::vector<Bytes>& pieces)) {
  Bytes all;
  InternetSum sum;
  for (const Bytes& piece : pieces) {
    sum.add(piece);
    all.insert(all.end(), piece.begin(), piece.end());
  }
  RC_ASSERT(sum.folded() == slow_sum(all));
}

RC_GTEST_PROP(InternetSum, FieldsCountAsTheirBytesInNetworkOrder, (uint16_t a, uint32_t b)) {
  InternetSum sum;
  sum.add_u16(a);
  sum.add_u32(b);
  Bytes bytes;
  ByteWriter w(bytes);
  w.be(a);
  w.be(b);
  RC_ASSERT(sum.folded() == slow_sum(bytes));
}

RC_GTEST_PROP(InternetSum, LongBuffersAgreeToo, (uint64_t seed)) {
  Bytes bytes(*rc::gen::inRange<size_t>(0, 70'000));
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>((seed * (i + 1)) >> 24);
  InternetSum sum;
  sum.add(bytes);
  RC_ASSERT(sum.folded() == slow_sum(bytes));
}

}  // namespace
}  // namespace us
