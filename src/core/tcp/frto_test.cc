#include "core/tcp/frto.h"

#include <gtest/gtest.h>

namespace us {
namespace {

using Verdict = Frto::Verdict;
constexpr SeqNum kUna{0xfffff000};
constexpr SeqNum kRecover{0x00001000};  // the flight lies across the wrap-around

Frto after_timeout() {
  Frto frto;
  frto.begin(kRecover);
  return frto;
}

TEST(Frto, TheFirstAckBelowTheRecoveryPointAsksForNewData) {
  Frto frto = after_timeout();
  EXPECT_EQ(frto.on_ack({.una = kUna + 1000, .nxt = kRecover, .una_moved = true, .new_data_waits = true}),
            Verdict::kSendNew);
}

TEST(Frto, OriginalDataAcknowledgedMeansTheTimeoutWasSpurious) {
  Frto frto = after_timeout();
  frto.on_ack({.una = kUna + 1000, .nxt = kRecover, .una_moved = true, .new_data_waits = true});
  EXPECT_EQ(frto.on_ack({.una = kUna + 2000, .nxt = kRecover + 2000, .una_moved = true, .original_delivered = true}),
            Verdict::kSpurious);
  EXPECT_FALSE(frto.active());
}

TEST(Frto, ADuplicateAfterTheNewDataMeansTheLossWasReal) {
  Frto frto = after_timeout();
  frto.on_ack({.una = kUna + 1000, .nxt = kRecover, .una_moved = true, .new_data_waits = true});
  EXPECT_EQ(frto.on_ack({.una = kUna + 1000, .nxt = kRecover + 2000, .sacked_or_duplicate = true}),
            Verdict::kUndecided);
  EXPECT_FALSE(frto.active());
  EXPECT_EQ(frto.on_ack({.una = kUna + 2000, .nxt = kRecover + 2000, .una_moved = true, .original_delivered = true}),
            Verdict::kUndecided);
}

TEST(Frto, WithoutNewDataItGoesOnAsUsual) {
  Frto frto = after_timeout();
  EXPECT_EQ(frto.on_ack({.una = kUna + 1000, .nxt = kRecover, .una_moved = true}), Verdict::kUndecided);
  EXPECT_FALSE(frto.active());
}

TEST(Frto, AnAckOfEverythingDecidesNothing) {
  Frto frto = after_timeout();
  EXPECT_EQ(frto.on_ack({.una = kRecover, .nxt = kRecover, .una_moved = true, .new_data_waits = true}),
            Verdict::kUndecided);
  EXPECT_FALSE(frto.active());
}

}  // namespace
}  // namespace us
