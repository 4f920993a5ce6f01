#include "core/tcp/receive_window.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace us {
namespace {

// With room enough for rounding.
uint16_t offer(ReceiveWindow& w, SeqNum ack, SeqNum capacity_edge, uint32_t step) {
  return w.offer(ack, capacity_edge, later(capacity_edge, w.right_edge()) + (1u << 20), step);
}

constexpr uint32_t kStep = 1448;

TEST(ReceiveWindow, OffersWhatTheBufferHasRoomFor) {
  ReceiveWindow w(SeqNum(1000), 0);
  EXPECT_EQ(offer(w, SeqNum(1000), SeqNum(21'000), kStep), 20'000);
  EXPECT_EQ(w.right_edge(), SeqNum(21'000));
  EXPECT_EQ(offer(w, SeqNum(5000), SeqNum(21'000), kStep), 16'000);
}

TEST(ReceiveWindow, NeverTakesBackWhatItOfferedWhenTheCapacityShrinks) {  // tcp.md, rule 2
  ReceiveWindow w(SeqNum(0), 0);
  offer(w, SeqNum(0), SeqNum(20'000), kStep);
  EXPECT_EQ(offer(w, SeqNum(1000), SeqNum(3000), kStep), 19'000);
  EXPECT_EQ(w.right_edge(), SeqNum(20'000));
}

TEST(ReceiveWindow, RoundsUpRatherThanTakeBackTheRestOfAScaledWindow) {  // RFC 7323 section 2.4
  ReceiveWindow w(SeqNum(0), 7);
  EXPECT_EQ(offer(w, SeqNum(0), SeqNum(1000), 1), 7);  // 896
  EXPECT_EQ(w.right_edge(), SeqNum(896));
  EXPECT_EQ(offer(w, SeqNum(1), SeqNum(900), 1), 7);  // 895 would be 6.99
  EXPECT_EQ(w.right_edge(), SeqNum(897));
}

TEST(ReceiveWindow, DoesNotMoveBySillySteps) {  // RFC 9293 section 3.8.6.2.2
  ReceiveWindow w(SeqNum(1000), 0);
  EXPECT_EQ(offer(w, SeqNum(1000), SeqNum(2447), kStep), 0);
  EXPECT_FALSE(w.update_due(SeqNum(1000), SeqNum(1000), SeqNum(2447), kStep));
  EXPECT_TRUE(w.update_due(SeqNum(1000), SeqNum(1000), SeqNum(2448), kStep));
  EXPECT_EQ(offer(w, SeqNum(1000), SeqNum(2448), kStep), 1448);
}

TEST(ReceiveWindow, AnUpdateIsDueOnlyWhenTheWindowDoubles) {
  ReceiveWindow w(SeqNum(10'000), 0);
  EXPECT_FALSE(w.update_due(SeqNum(0), SeqNum(0), SeqNum(19'999), kStep));
  EXPECT_TRUE(w.update_due(SeqNum(0), SeqNum(0), SeqNum(20'000), kStep));
}

TEST(ReceiveWindow, TheHeaderLimitsTheWindowAtEveryScale) {
  ReceiveWindow unscaled(SeqNum(0), 0);
  EXPECT_EQ(offer(unscaled, SeqNum(0), SeqNum(1u << 30), kStep), 65535);
  EXPECT_EQ(unscaled.right_edge(), SeqNum(65535));
  EXPECT_FALSE(unscaled.update_due(SeqNum(0), SeqNum(0), SeqNum(1u << 30), kStep));
  EXPECT_FALSE(unscaled.update_due(SeqNum(0), SeqNum(60'000), SeqNum(1u << 30), kStep))
      << "60000 bytes wait for an ACK";
  ReceiveWindow widest(SeqNum(0), 14);
  EXPECT_EQ(offer(widest, SeqNum(0), SeqNum(1u << 30), kStep), 65535);
  EXPECT_EQ(widest.right_edge(), SeqNum(65535u << 14));
  EXPECT_EQ(offer(widest, SeqNum(1), SeqNum(1u << 30), kStep), 65535);
}

TEST(ReceiveWindow, AnEdgeThatWouldCreepPastTheBufferIsRoundedDown) {  // RFC 7323 section 2.4
  ReceiveWindow w(SeqNum(0), 10);
  const SeqNum hard_edge(2500);
  EXPECT_EQ(w.offer(SeqNum(0), SeqNum(2048), hard_edge, 1), 2);
  EXPECT_EQ(w.offer(SeqNum(400), SeqNum(2048), hard_edge, 1), 2);  // up to 2448
  EXPECT_EQ(w.offer(SeqNum(500), SeqNum(2048), hard_edge, 1), 1);  // 2548 is too far
  EXPECT_EQ(w.right_edge(), SeqNum(2448));                         // still taken
  EXPECT_EQ(w.offer(SeqNum(2448), SeqNum(2048), hard_edge, 1), 0);
}

// The edge that the other side computes does not go back, unless the buffer ends here, and then by the rounding alone.
RC_GTEST_PROP(ReceiveWindow, TheEdgeOnlyGrowsAndStaysInTheBuffer, (uint32_t start)) {
  const auto shift = *rc::gen::inRange<uint8_t>(0, 15);
  const auto reserve = *rc::gen::inRange<uint32_t>(0, 40'000);
  ReceiveWindow w(SeqNum(start), shift);
  SeqNum ack(start);
  SeqNum seen(start);
  SeqNum capacity_edge(start);
  const int steps = *rc::gen::inRange(1, 50);
  for (int i = 0; i < steps; ++i) {
    ack += *rc::gen::inRange<uint32_t>(0, ack.distance_to(w.right_edge()) + 1);
    capacity_edge = later(capacity_edge, ack + *rc::gen::inRange<uint32_t>(0, 1u << 20));
    const SeqNum hard_edge = capacity_edge + reserve;
    const SeqNum edge = ack + (uint32_t{w.offer(ack, capacity_edge, hard_edge, kStep)} << shift);
    RC_ASSERT(edge.at_or_before(hard_edge));
    RC_ASSERT(edge.at_or_before(w.right_edge()));
    if (edge.before(seen)) {
      RC_ASSERT(edge.distance_to(seen) < 1u << shift);
      RC_ASSERT(hard_edge.before(edge + (1u << shift)));
    }
    seen = later(seen, edge);
    RC_ASSERT(seen == w.right_edge());
  }
}

// Found by fuzz/flow_fuzz: one update after the other without end, because the edge that was wanted cannot be said.
RC_GTEST_PROP(ReceiveWindow, AnUpdateMovesTheEdgeAndIsNotDueAgain, ()) {
  const auto shift = *rc::gen::inRange<uint8_t>(0, 15);
  const SeqNum ack(*rc::gen::arbitrary<uint32_t>());
  const auto step = *rc::gen::inRange<uint32_t>(1, 2000);
  ReceiveWindow w(ack + *rc::gen::inRange<uint32_t>(0, 65536), shift);
  const SeqNum next = ack + *rc::gen::inRange<uint32_t>(0, ack.distance_to(w.right_edge()) + 1);
  const SeqNum capacity_edge = next + *rc::gen::inRange<uint32_t>(0, 1u << 20);
  if (!w.update_due(ack, next, capacity_edge, step)) return;
  const SeqNum before = w.right_edge();
  w.offer(ack, capacity_edge, capacity_edge, step);
  RC_ASSERT(before.distance_to(w.right_edge()) >= step);
  RC_ASSERT(!w.update_due(ack, next, capacity_edge, step));
}

}  // namespace
}  // namespace us
