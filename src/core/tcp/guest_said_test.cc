// Which segments of the guest make somebody wait for the end of the epoch (GuestSaid, flow.h).
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "core/tcp/relay_rig.h"

namespace us {
namespace {

constexpr uint32_t kStep = 60'000;

class GuestSaidTest : public testing::Test {
 protected:
  explicit GuestSaidTest(const RigSetup& setup = {}) : rig(setup) {
    rig.connect();
    rig.cut();
    rig.commit();
  }
  GuestSaid guest(const std::string& text) {
    rig.guest(text);
    return rig.relay().guest_said();
  }
  // So much data, in large segments; what the last of them was.
  GuestSaid guest_sends(uint32_t bytes) {
    GuestSaid said = GuestSaid::kNothing;
    for (const uint32_t end = at + bytes; at < end; at += kStep)
      said = guest(fmt::format(". {}:{}({})", at, at + kStep, kStep));
    return said;
  }
  void peer_takes_everything() {
    for (int i = 0; i < 1000 && rig.flow()->to_peer().unacked_bytes() > 0; ++i) {
      rig.peer(".");
      rig.advance(Duration::millis(10));
    }
    ASSERT_EQ(rig.flow()->to_peer().unacked_bytes(), 0u);
  }
  RelayRig rig;
  uint32_t at = 1;
};

class GuestSaidWithoutAckPeerTest : public GuestSaidTest {
 protected:
  static RigSetup without_ack_peer() {
    RigSetup setup;
    setup.options.ack_peer = false;
    return setup;
  }
  GuestSaidWithoutAckPeerTest() : GuestSaidTest(without_ack_peer()) {}
};

TEST_F(GuestSaidTest, DataAndTheEndOfTheConnectionAreAwaited) {
  EXPECT_EQ(guest(". 1:101(100)"), GuestSaid::kResponse);
  EXPECT_EQ(guest(". 1:101(100)"), GuestSaid::kNothing) << "said before";
  EXPECT_EQ(guest("F. 101:101(0)"), GuestSaid::kResponse);
}

TEST_F(GuestSaidTest, AResetIsAwaited) { EXPECT_EQ(guest("R. 1:1(0)"), GuestSaid::kResponse); }

TEST_F(GuestSaidTest, AnAckOfDataThatTheRelayAcksByItselfIsNot) {
  rig.peer(". 1:1001(1000)");
  EXPECT_EQ(guest(". ack 1001"), GuestSaid::kNothing);
}

TEST_F(GuestSaidWithoutAckPeerTest, AnAckOfTheGuestIsAwaited) {
  rig.peer(". 1:1001(1000)");
  EXPECT_EQ(guest(". ack 1001"), GuestSaid::kResponse);
  EXPECT_EQ(guest(". ack 1001"), GuestSaid::kNothing) << "no news";
}

TEST_F(GuestSaidTest, OfALongBurstOnlyTheBeginningAndTheEndAreAwaited) {
  EXPECT_EQ(guest_sends(kBurstMax), GuestSaid::kBulk);
  EXPECT_EQ(guest(fmt::format("F. {}:{}(0)", at, at)), GuestSaid::kResponse);
}

TEST_F(GuestSaidTest, AResponseOfAMegabyteIsNoLongBurst) { EXPECT_EQ(guest_sends(1u << 20), GuestSaid::kResponse); }

TEST_F(GuestSaidTest, WhenThePeerHasEverythingANewBurstBegins) {
  ASSERT_EQ(guest_sends(kBurstMax), GuestSaid::kBulk);
  rig.cut();
  rig.commit();
  peer_takes_everything();
  EXPECT_EQ(guest_sends(kStep), GuestSaid::kResponse);
}

TEST_F(GuestSaidTest, ALittleNowAndThenIsNoLongBurst) {
  ASSERT_EQ(guest_sends(kBurstMax), GuestSaid::kBulk);
  rig.advance(Duration::seconds(1));
  EXPECT_EQ(guest_sends(kStep), GuestSaid::kResponse) << "although the peer still has to take the rest";
}

TEST_F(GuestSaidTest, ABufferHalfFullOfTheRunningEpochIsAwaited) {
  const uint32_t half = HandshakeLimits().egress_capacity / 2;
  ASSERT_EQ(guest_sends(half - kStep), GuestSaid::kBulk);
  EXPECT_EQ(guest_sends(kStep * 2), GuestSaid::kResponse);
  rig.cut();
  EXPECT_EQ(guest_sends(kStep), GuestSaid::kBulk) << "the cut is made, its commit is on its way";
}

}  // namespace
}  // namespace us
