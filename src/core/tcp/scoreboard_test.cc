#include "core/tcp/scoreboard.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/rng.h"

namespace us {
namespace {

constexpr SeqNum kStart{0xfffff000};  // every test passes the wrap-around

Instant at_ms(int64_t ms) { return Instant::from_nanos(0) + Duration::millis(ms); }
SeqRange bytes(uint32_t from, uint32_t to) { return {kStart + from, kStart + to}; }

class ScoreboardTest : public testing::Test {
 protected:
  // The state of each thousand bytes as a letter, from una on: f in flight, s SACKed, l lost.
  std::string picture(uint32_t unit = 1000) {
    EXPECT_TRUE(board.consistent());
    std::string out;
    Scoreboard copy = board;
    copy.ack_to(copy.end(), [&](const SentRun& run) {
      for (uint32_t n = 0; n < run.length / unit; ++n) out += "fsl"[static_cast<int>(run.state)];
    });
    return out;
  }
  uint64_t sack(SeqRange block) {
    uint64_t newly = 0;
    board.sack(block, [&](const SentRun& run) { newly += run.length; });
    return newly;
  }
  uint64_t ack(uint32_t to) {
    uint64_t total = 0;
    board.ack_to(kStart + to, [&](const SentRun& run) { total += run.length; });
    return total;
  }
  uint64_t lose(SeqRange range) {
    return board.mark_lost([&](const SentRun& run) {
      return range.contains(run.start) ? Scoreboard::Judgement::kLost : Scoreboard::Judgement::kKeep;
    });
  }

  Scoreboard board{kStart, 64};
};

TEST_F(ScoreboardTest, ABurstOfOneInstantIsOneRun) {
  for (int i = 0; i < 10; ++i) board.on_sent(1000, at_ms(1), 0);
  EXPECT_EQ(board.run_count(), 1u);
  board.on_sent(1000, at_ms(2), 0);
  EXPECT_EQ(board.run_count(), 2u);
  EXPECT_EQ(board.in_flight_bytes(), 11'000u);
  EXPECT_EQ(board.end(), kStart + 11'000);
}

TEST_F(ScoreboardTest, ACumulativeAckRemovesWholeAndPartOfARun) {
  board.on_sent(4000, at_ms(1), 0);
  board.on_sent(4000, at_ms(2), 0);
  EXPECT_EQ(ack(5000), 5000u);
  EXPECT_EQ(board.run_count(), 1u);
  EXPECT_EQ(board.in_flight_bytes(), 3000u);
  EXPECT_EQ(board.head().start, kStart + 5000);
  EXPECT_EQ(picture(), "fff");
}

TEST_F(ScoreboardTest, ASackBlockSplitsARunAndTheLastHoleJoinsItAgain) {
  board.on_sent(6000, at_ms(1), 0);
  EXPECT_EQ(sack(bytes(2000, 3000)), 1000u);
  EXPECT_EQ(picture(), "ffsfff");
  EXPECT_EQ(sack(bytes(4000, 5000)), 1000u);
  EXPECT_EQ(picture(), "ffsfsf");
  EXPECT_EQ(board.run_count(), 5u);
  EXPECT_EQ(sack(bytes(2000, 5000)), 1000u) << "only what is new counts";
  EXPECT_EQ(picture(), "ffsssf");
  EXPECT_EQ(board.run_count(), 3u);
  EXPECT_EQ(board.sacked_end(), kStart + 5000);
  EXPECT_EQ(sack(bytes(2000, 5000)), 0u);
}

TEST_F(ScoreboardTest, SackedRunsOfDifferentTimesJoin) {
  for (int i = 0; i < 8; ++i) board.on_sent(1000, at_ms(i), 0);
  sack(bytes(1000, 8000));
  EXPECT_EQ(board.run_count(), 2u);
}

TEST_F(ScoreboardTest, LostBytesLeaveTheFlightAndComeBackWhenSentAgain) {
  board.on_sent(6000, at_ms(1), 0);
  sack(bytes(3000, 6000));
  EXPECT_EQ(lose(bytes(0, 3000)), 3000u);
  EXPECT_EQ(board.in_flight_bytes(), 0u);
  EXPECT_EQ(board.first_lost(), bytes(0, 3000));
  board.on_retransmitted(bytes(0, 1000), at_ms(9), 0);
  EXPECT_EQ(picture(), "fllsss");
  EXPECT_EQ(board.first_lost(), bytes(1000, 3000));
  EXPECT_TRUE(board.head().retransmitted);
  EXPECT_EQ(board.head().sent_at, at_ms(9));
  board.on_retransmitted(bytes(1000, 3000), at_ms(9), 0);
  EXPECT_EQ(board.run_count(), 2u);
}

TEST_F(ScoreboardTest, ARetransmissionMayCoverLostRunsOfDifferentHistory) {
  for (int i = 0; i < 3; ++i) board.on_sent(1000, at_ms(i), 0);
  lose(bytes(0, 1000));
  board.on_retransmitted(bytes(0, 1000), at_ms(5), 0);
  lose(bytes(0, 3000));
  EXPECT_EQ(board.first_lost(), bytes(0, 3000));
  board.on_retransmitted(bytes(0, 2500), at_ms(9), 0);
  EXPECT_EQ(board.in_flight_bytes(), 2500u);
  EXPECT_EQ(board.run_count(), 2u);
  EXPECT_TRUE(board.consistent());
}

TEST_F(ScoreboardTest, TheLastSegmentCanBeSentAgainAsAProbe) {
  board.on_sent(3000, at_ms(1), 0);
  board.on_retransmitted(bytes(2000, 3000), at_ms(9), 0);
  EXPECT_EQ(board.in_flight_bytes(), 3000u);
  EXPECT_TRUE(board.tail().retransmitted);
  EXPECT_FALSE(board.head().retransmitted);
}

TEST_F(ScoreboardTest, HeadAndTailCanBeMarkedLost) {
  board.on_sent(3000, at_ms(1), 0);
  EXPECT_EQ(board.mark_head_lost(1000), 1000u);
  EXPECT_EQ(board.mark_head_lost(1000), 0u);
  board.mark_tail_lost(1000);
  EXPECT_EQ(picture(), "lfl");
}

TEST_F(ScoreboardTest, AnUndoneRecoveryPutsTheLostBackInFlight) {
  board.on_sent(4000, at_ms(1), 0);
  sack(bytes(3000, 4000));
  lose(bytes(0, 3000));
  board.forget_losses();
  EXPECT_EQ(picture(), "fffs");
}

TEST_F(ScoreboardTest, ARenegingPeerMakesTheSackedLost) {
  board.on_sent(4000, at_ms(1), 0);
  sack(bytes(0, 2000));
  EXPECT_TRUE(board.head_is_sacked());
  board.forget_sacks();
  EXPECT_EQ(picture(), "llff");
  EXPECT_EQ(board.sacked_bytes(), 0u);
}

TEST_F(ScoreboardTest, BytesAdoptedFromAnotherHostAreLostAndAmbiguous) {
  board.adopt(5000);
  EXPECT_EQ(board.first_lost(), bytes(0, 5000));
  EXPECT_TRUE(board.head().retransmitted);
  EXPECT_EQ(board.in_flight_bytes(), 0u);
}

TEST_F(ScoreboardTest, AnUndoneRecoveryLeavesLostWhatThisHostNeverSent) {
  board.adopt(5000);
  board.on_retransmitted(bytes(0, 2000), at_ms(0), 0);
  lose(bytes(0, 2000));
  EXPECT_EQ(board.first_lost(), bytes(0, 5000));
  board.forget_losses();
  EXPECT_EQ(picture(), "fflll");
}

TEST_F(ScoreboardTest, APeerThatSacksEveryOtherByteCannotMakeItGrow) {
  for (int i = 0; i < 10; ++i) board.on_sent(10'000, at_ms(i), 0);
  for (uint32_t at = 1; at < 100'000; at += 2) sack(bytes(at, at + 1));
  EXPECT_LE(board.run_count(), 64u);
  EXPECT_GT(board.sacks_unrecorded(), 0u);
  EXPECT_TRUE(board.consistent());
  // What a whole block covers is still recorded.
  EXPECT_GT(sack(bytes(50'000, 100'000)), 49'000u);
}

TEST_F(ScoreboardTest, AtTheCapNewBytesJoinTheLastRunWhichThenGivesNoSamples) {
  for (int i = 0; i < 200; ++i) board.on_sent(1000, at_ms(i), 0);
  EXPECT_EQ(board.run_count(), 64u);
  EXPECT_EQ(board.in_flight_bytes(), 200'000u);
  EXPECT_TRUE(board.tail().blurred);
  EXPECT_EQ(board.tail().sent_at, at_ms(199));
  EXPECT_FALSE(board.head().blurred);
}

TEST_F(ScoreboardTest, RetransmissionsAtTheCapDoNotGrowItEither) {
  for (int i = 0; i < 63; ++i) board.on_sent(1000, at_ms(i), 0);
  board.on_sent(200'000, at_ms(63), 0);
  lose(bytes(0, 300'000));
  for (uint32_t i = 0; i < 250; ++i) board.on_retransmitted(bytes(i * 1000, i * 1000 + 1000), at_ms(100 + i), 0);
  EXPECT_LE(board.run_count(), 66u);
  EXPECT_TRUE(board.consistent());
}

TEST_F(ScoreboardTest, AnIdleFlowHoldsNextToNothing) {
  for (int i = 0; i < 60; ++i) board.on_sent(1000, at_ms(i), 0);
  EXPECT_GT(board.memory_bytes(), 1000u);
  ack(60'000);
  EXPECT_TRUE(board.empty());
  EXPECT_EQ(board.memory_bytes(), 0u);
  board.on_sent(1000, at_ms(100), 0);
  ack(61'000);
  EXPECT_LE(board.memory_bytes(), 4 * sizeof(SentRun))
      << "one segment's worth may stay, so that request and response do not allocate";
}

// Against a model with one letter per byte.
TEST_F(ScoreboardTest, RandomOperationsAgreeWithAByteByByteModel) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    Rng rng(seed);
    board = Scoreboard(kStart, 10'000);
    std::string model;
    uint32_t una = 0;
    uint64_t sent = 0;
    for (int step = 0; step < 120; ++step) {
      const uint32_t size = static_cast<uint32_t>(model.size());
      const uint32_t a = static_cast<uint32_t>(rng.below(size + 1));
      const uint32_t b = a + static_cast<uint32_t>(rng.below(size - a + 1));
      switch (rng.below(5)) {
        case 0: {
          const uint32_t n = static_cast<uint32_t>(rng.between(1, 40));
          board.on_sent(n, at_ms(static_cast<int64_t>(sent++ / 2)), 0);
          model.append(n, 'f');
          break;
        }
        case 1: {
          const uint32_t n = a / 4;
          ack(una + n);
          model.erase(0, n);
          una += n;
          break;
        }
        case 2:
          if (a == b) break;
          sack({kStart + una + a, kStart + una + b});
          for (uint32_t i = a; i < b; ++i) model[i] = 's';
          break;
        case 3: {
          const SeqNum limit = kStart + una + a;
          board.mark_lost([&](const SentRun& run) {
            return run.end().after(limit) ? Scoreboard::Judgement::kStop : Scoreboard::Judgement::kLost;
          });
          // Runs that reach beyond the limit were kept: read back which.
          std::string now = picture(1);
          for (uint32_t i = 0; i < size; ++i) {
            if (now[i] == 'l' && model[i] != 'l') {
              ASSERT_NE(model[i], 's');
              ASSERT_LT(i, a);
              model[i] = 'l';
            }
          }
          break;
        }
        case 4:
          if (board.lost_bytes() > 0) {
            const SeqRange lost = board.first_lost();
            const uint32_t n = 1 + static_cast<uint32_t>(rng.below(lost.length()));
            board.on_retransmitted({lost.start, lost.start + n}, at_ms(1000 + step), 0);
            const uint32_t at = (kStart + una).distance_to(lost.start);
            for (uint32_t i = at; i < at + n; ++i) model[i] = 'f';
          }
          break;
      }
      ASSERT_EQ(picture(1), model) << "seed " << seed << " step " << step;
    }
  }
}

}  // namespace
}  // namespace us
