#include "core/tcp/sack_generator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace us {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

SeqRange range(uint32_t start, uint32_t end) { return {SeqNum(start), SeqNum(end)}; }

struct SackTest : ::testing::Test {
  RangeSet ranges{100};
  SackGenerator sack;

  void arrives(uint32_t start, uint32_t end) {
    ranges.add(range(start, end));
    sack.on_data_ahead(SeqNum(start), ranges);
  }
  std::vector<SeqRange> blocks(uint32_t ack) {
    TcpOptions o;
    sack.fill(SeqNum(ack), ranges, o);
    return {o.sack().begin(), o.sack().end()};
  }
};

using SackGeneratorTest = SackTest;

// RFC 2018 section 5, case 2: the first of eight segments is lost.
TEST_F(SackGeneratorTest, GrowsOneBlockWhileTheFirstSegmentIsMissing) {
  arrives(5500, 6000);
  EXPECT_THAT(blocks(5000), ElementsAre(range(5500, 6000)));
  arrives(6000, 6500);
  EXPECT_THAT(blocks(5000), ElementsAre(range(5500, 6500)));
}

// RFC 2018 section 5, case 3: the 2nd, 4th, 6th and 8th segments are lost.
TEST_F(SackGeneratorTest, ReportsTheLatestBlockFirstAsInTheExampleOfRfc2018) {
  arrives(6000, 6500);
  EXPECT_THAT(blocks(5500), ElementsAre(range(6000, 6500)));
  arrives(7000, 7500);
  EXPECT_THAT(blocks(5500), ElementsAre(range(7000, 7500), range(6000, 6500)));
  arrives(8000, 8500);
  EXPECT_THAT(blocks(5500), ElementsAre(range(8000, 8500), range(7000, 7500), range(6000, 6500)));
  // The fourth segment comes late and joins two blocks.
  arrives(6500, 7000);
  EXPECT_THAT(blocks(5500), ElementsAre(range(6000, 7500), range(8000, 8500)));
  // The second one: the cumulative ACK passes the joined block.
  ranges.advance(SeqNum(6000));
  EXPECT_THAT(blocks(7500), ElementsAre(range(8000, 8500)));
}

TEST_F(SackGeneratorTest, RemembersTheFourLatestBlocks) {
  for (uint32_t i = 1; i <= 6; ++i) {
    arrives(1000 * i, 1000 * i + 100);
    blocks(0);
  }
  EXPECT_THAT(blocks(0), ElementsAre(range(6000, 6100), range(5000, 5100), range(4000, 4100), range(3000, 3100)));
}

TEST_F(SackGeneratorTest, WhatOneAckCannotReportIsReportedByTheNextInTheOrderOfArrival) {
  for (uint32_t i = 1; i <= 8; ++i) arrives(1000 * i, 1000 * i + 100);
  EXPECT_THAT(blocks(0), ElementsAre(range(3000, 3100), range(2000, 2100), range(1000, 1100)));
  EXPECT_TRUE(sack.unreported());
  EXPECT_THAT(blocks(0), ElementsAre(range(6000, 6100), range(5000, 5100), range(4000, 4100)));
  EXPECT_TRUE(sack.unreported());
  EXPECT_THAT(blocks(0), ElementsAre(range(8000, 8100), range(7000, 7100), range(6000, 6100), range(5000, 5100)));
  EXPECT_FALSE(sack.unreported());
}

TEST_F(SackGeneratorTest, WhatTheAckHasPassedOrABlockHasTakenInIsNotReportedByItself) {
  for (uint32_t i = 1; i <= 8; ++i) arrives(1000 * i, 1000 * i + 100);
  ranges.advance(SeqNum(4100));
  EXPECT_THAT(blocks(4100), ElementsAre(range(7000, 7100), range(6000, 6100), range(5000, 5100)));
  EXPECT_TRUE(sack.unreported());
  arrives(8100, 8200);
  EXPECT_THAT(blocks(4100), ElementsAre(range(8000, 8200), range(7000, 7100), range(6000, 6100), range(5000, 5100)));
  EXPECT_FALSE(sack.unreported());
}

TEST_F(SackGeneratorTest, ADuplicateTakesThePlaceOfABlockWhichThenWaits) {
  for (uint32_t i = 1; i <= 3; ++i) arrives(1000 * i, 1000 * i + 100);
  sack.on_duplicate(range(100, 200));
  EXPECT_THAT(blocks(500), ElementsAre(range(100, 200), range(2000, 2100), range(1000, 1100)));
  EXPECT_TRUE(sack.unreported());
  EXPECT_THAT(blocks(500), ElementsAre(range(3000, 3100), range(2000, 2100), range(1000, 1100)));
}

// RFC 2883 section 4.1.1 and 4.1.2.
TEST_F(SackGeneratorTest, ReportsADuplicateBelowTheAckOnceAndFirst) {
  sack.on_duplicate(range(3000, 3500));
  EXPECT_THAT(blocks(4000), ElementsAre(range(3000, 3500)));
  EXPECT_THAT(blocks(4000), IsEmpty());
  arrives(4500, 5000);
  sack.on_duplicate(range(3000, 3500));
  EXPECT_THAT(blocks(4000), ElementsAre(range(3000, 3500), range(4500, 5000)));
}

// RFC 2883 section 4.2.1 (example 5): the larger block that holds the duplicate comes second.
TEST_F(SackGeneratorTest, TheBlockAroundADuplicateFollowsIt) {
  arrives(1000, 2000);
  arrives(5000, 5500);
  sack.on_duplicate(range(1000, 1500));
  EXPECT_THAT(blocks(500), ElementsAre(range(1000, 1500), range(1000, 2000), range(5000, 5500)));
}

TEST_F(SackGeneratorTest, ADuplicateThatMayNotBeAcknowledgedYetIsNotReported) {  // tcp.md, rule 1
  sack.on_duplicate(range(3000, 3500));
  EXPECT_THAT(blocks(2000), IsEmpty());
  sack.on_duplicate(range(3000, 3500));
  EXPECT_THAT(blocks(3400), IsEmpty());
  arrives(3000, 3400);
  sack.on_duplicate(range(3000, 3500));
  EXPECT_THAT(blocks(2000), ElementsAre(range(3000, 3400)));
}

}  // namespace
}  // namespace us
