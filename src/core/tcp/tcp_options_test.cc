#include "core/tcp/tcp_options.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace us {
namespace {

TEST(TcpOptions, ReadsTheOptionsOfALinuxSyn) {
  const Bytes bytes{2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 1, 2, 0, 0, 0, 0, 1, 3, 3, 7};
  const TcpOptions o = parse_tcp_options(bytes);
  EXPECT_EQ(o.mss, 1460);
  EXPECT_TRUE(o.sack_permitted);
  EXPECT_EQ(o.timestamps, (Timestamps{0x102, 0}));
  EXPECT_EQ(o.window_scale, 7);
  EXPECT_EQ(o.unusual, 0);
}

TEST(TcpOptions, ReadsThePaddedTimestampsOfAnOrdinarySegment) {
  const Bytes bytes{1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_EQ(parse_tcp_options(bytes).timestamps, (Timestamps{0x01020304, 0x05060708}));
}

TEST(TcpOptions, AWindowScaleAboveFourteenCountsAsFourteen) {
  EXPECT_EQ(parse_tcp_options(Bytes{3, 3, 14}).window_scale, 14);
  EXPECT_EQ(parse_tcp_options(Bytes{3, 3, 15}).window_scale, 14);
  EXPECT_EQ(parse_tcp_options(Bytes{3, 3, 255}).window_scale, 14);
}

TEST(TcpOptions, NothingIsReadAfterTheEndOfTheList) {
  const TcpOptions o = parse_tcp_options(Bytes{1, 0, 2, 4, 0x05, 0xb4});
  EXPECT_FALSE(o.mss);
  EXPECT_EQ(o.unusual, 0);
}

TEST(TcpOptions, NamesEveryKindThatTheRelayDoesNotUnderstand) {
  EXPECT_EQ(parse_tcp_options(Bytes{30, 4, 0, 0}).unusual, TcpOptions::kMultipath);
  EXPECT_EQ(parse_tcp_options(Bytes{34, 2}).unusual, TcpOptions::kFastOpen);
  EXPECT_EQ(parse_tcp_options(Bytes{254, 4, 0xf9, 0x89}).unusual, TcpOptions::kFastOpen);
  EXPECT_EQ(parse_tcp_options(Bytes{254, 4, 0xe2, 0xd4}).unusual, TcpOptions::kUnknown);
  EXPECT_EQ(parse_tcp_options(Bytes{29, 4, 1, 2}).unusual, TcpOptions::kAo);
  EXPECT_EQ(parse_tcp_options(Bytes{69, 2}).unusual, TcpOptions::kUnknown);
  Bytes md5(18, 0);
  md5[0] = 19;
  md5[1] = 18;
  EXPECT_EQ(parse_tcp_options(md5).unusual, TcpOptions::kMd5);
}

TEST(TcpOptions, AnImpossibleLengthIsMalformedAndEndsTheReading) {
  // Length zero, one, past the end, missing; and lengths that the kind does not have.
  for (const Bytes& bytes : {Bytes{8, 0}, Bytes{8, 1}, Bytes{8, 10, 0}, Bytes{1, 8}, Bytes{2, 3, 0}, Bytes{3, 4, 0, 0},
                             Bytes{4, 3, 0}, Bytes{5, 2}, Bytes{5, 6, 0, 0, 0, 0}, Bytes{8, 4, 0, 0}})
    EXPECT_EQ(parse_tcp_options(bytes).unusual, TcpOptions::kMalformed) << int{bytes[0]} << ' ' << bytes.size();
  const TcpOptions o = parse_tcp_options(Bytes{3, 3, 5, 2, 0, 5, 0xb4});
  EXPECT_EQ(o.window_scale, 5);
  EXPECT_FALSE(o.mss);
}

TEST(TcpOptions, ThreeSackBlocksFitBesideTimestampsAndFourWithout) {
  TcpOptions o;
  for (uint32_t i = 0; i < 5; ++i) o.add_sack({SeqNum(10 * i), SeqNum(10 * i + 5)});
  EXPECT_EQ(o.sack_count, 4);
  std::array<uint8_t, 40> out;
  EXPECT_EQ(write_tcp_options(o, out), 36u);
  o.timestamps = Timestamps{1, 2};
  EXPECT_EQ(write_tcp_options(o, out), 40u);
  const TcpOptions back = parse_tcp_options(out);
  EXPECT_EQ(back.sack_count, 3);
  EXPECT_EQ(back.sack()[2], (SeqRange{SeqNum(20), SeqNum(25)}));
}

RC_GTEST_PROP(TcpOptions, WhatIsWrittenIsReadBack, (uint32_t value, uint32_t echo, bool sack_permitted)) {
  TcpOptions o;
  if (*rc::gen::arbitrary<bool>()) o.timestamps = Timestamps{value, echo};
  const bool syn = *rc::gen::arbitrary<bool>();
  if (syn) {
    o.mss = *rc::gen::arbitrary<uint16_t>();
    o.sack_permitted = sack_permitted;
    if (*rc::gen::arbitrary<bool>()) o.window_scale = *rc::gen::inRange<uint8_t>(0, 15);
  } else {
    const int count = *rc::gen::inRange(0, o.timestamps ? 4 : 5);
    for (int i = 0; i < count; ++i)
      o.add_sack({SeqNum(*rc::gen::arbitrary<uint32_t>()), SeqNum(*rc::gen::arbitrary<uint32_t>())});
  }
  std::array<uint8_t, 40> out;
  const size_t length = write_tcp_options(o, out);
  RC_ASSERT(length % 4 == 0);
  const TcpOptions back = parse_tcp_options(ByteSpan(out).first(length));
  RC_ASSERT(back.mss == o.mss);
  RC_ASSERT(back.window_scale == o.window_scale);
  RC_ASSERT(back.sack_permitted == o.sack_permitted);
  RC_ASSERT(back.timestamps == o.timestamps);
  RC_ASSERT(back.unusual == 0);
  RC_ASSERT(std::equal(back.sack().begin(), back.sack().end(), o.sack().begin(), o.sack().end()));
}

RC_GTEST_PROP(TcpOptions, AnyBytesCanBeRead, ()) {
  const auto bytes = *rc::gen::container<Bytes>(*rc::gen::inRange<size_t>(0, 41), rc::gen::arbitrary<uint8_t>());
  const TcpOptions o = parse_tcp_options(bytes);
  RC_ASSERT(o.sack_count <= TcpOptions::kSackBlocksMax);
  RC_ASSERT(o.window_scale.value_or(0) <= TcpOptions::kWindowScaleMax);
}

}  // namespace
}  // namespace us
