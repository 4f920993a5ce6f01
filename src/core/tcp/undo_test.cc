#include "core/tcp/undo.h"

#include <gtest/gtest.h>

namespace us {
namespace {

Instant at_ms(int64_t ms) { return Instant::from_nanos(0) + Duration::millis(ms); }
EchoTime sent_at_ms(int64_t ms) { return {at_ms(ms), at_ms(ms + 1) - Duration::nanos(1)}; }
SeqRange range(uint32_t start, uint32_t end) { return {SeqNum(start), SeqNum(end)}; }

Undo episode() {
  Undo undo;
  undo.begin(SeqNum(1000));
  undo.on_retransmitted(range(1000, 2000), at_ms(100));
  undo.on_retransmitted(range(2000, 3000), at_ms(110));
  return undo;
}

TEST(Undo, AnEchoOlderThanTheFirstRetransmissionProvesTheMistake) {
  Undo undo = episode();
  undo.on_una(SeqNum(2000));
  EXPECT_TRUE(undo.proven_by_echo(sent_at_ms(50)));
  EXPECT_TRUE(undo.proven_by_echo(sent_at_ms(99)));
}

TEST(Undo, AnEchoOfTheRetransmissionOrOfTheSameTickProvesNothing) {
  Undo undo = episode();
  undo.on_una(SeqNum(2000));
  EXPECT_FALSE(undo.proven_by_echo(sent_at_ms(100)));
  EXPECT_FALSE(undo.proven_by_echo(std::nullopt));
}

TEST(Undo, AnAckBelowTheRetransmissionProvesNothing) {
  Undo undo = episode();
  undo.on_una(SeqNum(1000));
  EXPECT_FALSE(undo.proven_by_echo(sent_at_ms(50)));
}

TEST(Undo, DsacksForAllRetransmissionsProveTheMistake) {
  Undo undo = episode();
  EXPECT_FALSE(undo.proven_by_dsack());
  undo.on_dsack(range(1000, 2000));
  EXPECT_FALSE(undo.proven_by_dsack());
  undo.on_dsack(range(2000, 3000));
  EXPECT_TRUE(undo.proven_by_dsack());
}

TEST(Undo, ADsackOfEarlierDataIsNotCounted) {
  Undo undo = episode();
  undo.on_dsack(range(0, 1000));
  undo.on_dsack(range(1000, 2000));
  EXPECT_FALSE(undo.proven_by_dsack());
}

TEST(Undo, TheEpisodeEndsARoundTripAfterRecovery) {
  Undo undo = episode();
  undo.on_recovery_end(SeqNum(9000));
  undo.on_una(SeqNum(9000));
  EXPECT_TRUE(undo.active());
  undo.on_una(SeqNum(9001));
  EXPECT_FALSE(undo.active());
  undo.on_dsack(range(1000, 2000));
  undo.on_dsack(range(2000, 3000));
  EXPECT_FALSE(undo.proven_by_dsack());
}

TEST(Undo, WithoutARetransmissionThereIsNothingToProve) {
  Undo undo;
  undo.begin(SeqNum(1000));
  EXPECT_FALSE(undo.proven_by_dsack());
  undo.on_una(SeqNum(2000));
  EXPECT_FALSE(undo.proven_by_echo(sent_at_ms(0)));
}

}  // namespace
}  // namespace us
