#include "core/tcp/peer_window.h"

#include <gtest/gtest.h>

namespace us {
namespace {

PeerWindow window_of(uint32_t size) {
  return {.scale = 7, .size = size, .largest = size, .update_seq = SeqNum(500), .update_ack = SeqNum(1000)};
}

TEST(PeerWindow, ScalesTheFieldAndCountsFromTheAcknowledgment) {
  PeerWindow w = window_of(0);
  EXPECT_TRUE(w.on_segment(SeqNum(500), SeqNum(2000), 100));
  EXPECT_EQ(w.size, 12'800u);
  EXPECT_EQ(w.edge(), SeqNum(14'800));
}

TEST(PeerWindow, TheLargestScaleDoesNotOverflow) {
  PeerWindow w{.scale = PeerWindow::kScaleMax};
  w.on_segment(SeqNum(1), SeqNum(1), 0xffff);
  EXPECT_EQ(w.size, 0xffffu << 14);
}

TEST(PeerWindow, AnOlderSegmentChangesNothing) {
  PeerWindow w = window_of(5000);
  EXPECT_FALSE(w.on_segment(SeqNum(499), SeqNum(2000), 1));
  EXPECT_FALSE(w.on_segment(SeqNum(500), SeqNum(999), 1));
  EXPECT_EQ(w.size, 5000u);
}

TEST(PeerWindow, AShrunkWindowIsTakenAsItIs) {
  PeerWindow w = window_of(5120);
  EXPECT_TRUE(w.on_segment(SeqNum(500), SeqNum(1000), 10));
  EXPECT_EQ(w.edge(), SeqNum(2280));
  EXPECT_EQ(w.largest, 5120u);
}

TEST(PeerWindow, TheSameWindowAgainIsNoUpdate) {
  PeerWindow w = window_of(1280);
  EXPECT_FALSE(w.on_segment(SeqNum(500), SeqNum(1000), 10));
}

}  // namespace
}  // namespace us
