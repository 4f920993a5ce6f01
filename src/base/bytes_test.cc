#include "base/bytes.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "base/time.h"

namespace us {
namespace {

TEST(Bytes, WhatIsWrittenIsReadBack) {
  Bytes out;
  ByteWriter w(out);
  w.le<uint32_t>(0x01020304);
  w.be<uint16_t>(0xaabb);
  w.text("epoch");
  EXPECT_EQ(out[0], 0x04);
  EXPECT_EQ(out[4], 0xaa);
  ByteReader r(out);
  EXPECT_EQ(r.le<uint32_t>(), 0x01020304u);
  EXPECT_EQ(r.be<uint16_t>(), 0xaabbu);
  EXPECT_EQ(r.text(16), "epoch");
  EXPECT_TRUE(r.done());
}

TEST(Bytes, AShortReadFailsThisAndEveryLaterRead) {
  const Bytes in{1, 2, 3};
  ByteReader r(in);
  EXPECT_EQ(r.le<uint32_t>(), 0u);
  EXPECT_FALSE(r.ok());
  EXPECT_EQ(r.le<uint8_t>(), 0u);
  EXPECT_EQ(r.remaining(), 0u);
  EXPECT_TRUE(r.bytes(1).empty());
}

TEST(Bytes, ATextOverItsLimitIsRefused) {
  Bytes out;
  ByteWriter(out).text("generation");
  ByteReader r(out);
  EXPECT_EQ(r.text(4), "");
  EXPECT_FALSE(r.ok());
}

TEST(Rng, TheSameSeedGivesTheSameNumbersWithinBounds) {
  Rng a(7), b(7);
  for (int i = 0; i < 1000; ++i) {
    const int64_t v = a.between(-3, 3);
    EXPECT_EQ(v, b.between(-3, 3));
    EXPECT_GE(v, -3);
    EXPECT_LE(v, 3);
  }
}

TEST(Time, InstantsAndDurationsAddUp) {
  const Instant t = Instant::from_nanos(5) + Duration::millis(2);
  EXPECT_EQ((t - Instant::from_nanos(5)).to_micros(), 2000);
  EXPECT_LT(t, Instant::far_future());
}

}  // namespace
}  // namespace us
