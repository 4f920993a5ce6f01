#include "core/epoch/output_gate.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/rng.h"

namespace us {
namespace {

Instant at(int64_t ms) { return Instant{} + Duration::millis(ms); }

// A frame that can be told from others.
EthernetFrame frame(uint32_t id, size_t bytes = 60) {
  EthernetFrame f(bytes);
  store_le(f.ethernet().data(), id);
  return f;
}

struct Gate : testing::Test {
  void push(uint64_t epoch, uint32_t id) { gate.push(Epoch{epoch}, frame(id), at(0)); }
  std::vector<uint32_t> pop_all(Instant now = at(0)) {
    std::vector<uint32_t> ids;
    while (const auto f = gate.pop(now)) ids.push_back(load_le<uint32_t>(f->ethernet().data()));
    return ids;
  }
  void protect() {
    gate.set_mode(GateMode::kSolo);
    gate.set_mode(GateMode::kProtected);
    gate.release_until(at(1000));
  }
  using Ids = std::vector<uint32_t>;
  OutputGate gate{{.bytes_max = 300, .packets_max = 4}};
};

TEST_F(Gate, HoldsEverythingAtFirst) {
  push(1, 10);
  gate.commit(Epoch{1});
  gate.release_until(at(1000));
  EXPECT_EQ(pop_all(), Ids{});
  EXPECT_EQ(gate.mode(), GateMode::kHeld);
}

TEST_F(Gate, HoldsAPacketUntilItsEpochCommits) {
  protect();
  push(1, 10);
  push(1, 11);
  push(2, 20);
  EXPECT_EQ(pop_all(), Ids{});
  gate.commit(Epoch{1});
  push(2, 21);
  EXPECT_EQ(pop_all(), (Ids{10, 11}));
  EXPECT_EQ(pop_all(), Ids{});
  gate.commit(Epoch{2});
  EXPECT_EQ(pop_all(), (Ids{20, 21}));
}

TEST_F(Gate, ACommitCoversTheEpochsBeforeIt) {
  protect();
  push(1, 10);
  push(2, 20);
  push(4, 40);
  gate.commit(Epoch{3});
  EXPECT_EQ(pop_all(), (Ids{10, 20}));
}

TEST_F(Gate, ALateCommitOfAnOldEpochTakesNothingBack) {
  protect();
  push(2, 20);
  gate.commit(Epoch{2});
  gate.commit(Epoch{1});
  EXPECT_EQ(pop_all(), Ids{20});
}

TEST_F(Gate, ATagThatIsAlreadyCommittedWaitsForTheNextCommit) {
  protect();
  gate.commit(Epoch{5});
  push(3, 30);
  EXPECT_EQ(pop_all(), Ids{});
  gate.commit(Epoch{6});
  EXPECT_EQ(pop_all(), Ids{30});
}

TEST_F(Gate, ReleasesAtOnceInSolo) {
  gate.set_mode(GateMode::kSolo);
  push(0, 1);
  push(0, 2);
  EXPECT_EQ(pop_all(at(1'000'000)), (Ids{1, 2}));
}

TEST_F(Gate, ReleasesWhatWasHeldWhenItGoesSolo) {
  push(1, 10);
  protect();
  push(2, 20);
  gate.set_mode(GateMode::kSolo);
  EXPECT_EQ(pop_all(), (Ids{10, 20}));
}

TEST_F(Gate, ForgetsTheCommitsOfAnEarlierSessionWhenANewOneStarts) {
  protect();
  gate.commit(Epoch{100});
  gate.set_mode(GateMode::kSolo);
  gate.set_mode(GateMode::kProtected);
  push(1, 10);
  gate.commit(Epoch{0});
  EXPECT_EQ(pop_all(), Ids{});
  gate.commit(Epoch{1});
  EXPECT_EQ(pop_all(), Ids{10});
}

TEST_F(Gate, WhatWasLetOutInSoloStaysReleasableWhenProtectionStarts) {
  gate.set_mode(GateMode::kSolo);
  push(7, 70);
  gate.set_mode(GateMode::kProtected);
  gate.release_until(at(10));
  push(1, 10);
  EXPECT_EQ(pop_all(), Ids{70});
}

TEST_F(Gate, ReleasesNothingAtOrAfterTheEndOfTheLease) {
  protect();
  push(1, 10);
  push(1, 11);
  gate.commit(Epoch{1});
  EXPECT_FALSE(gate.open(at(1000)));
  EXPECT_EQ(pop_all(at(1000)), Ids{});
  EXPECT_TRUE(gate.has_releasable());
  gate.release_until(at(500));
  EXPECT_TRUE(gate.open(at(999))) << "a lease is never shortened";
  gate.release_until(at(2000));
  EXPECT_EQ(pop_all(at(1999)), (Ids{10, 11}));
}

TEST_F(Gate, HeldStopsEvenWhatHasCommitted) {
  protect();
  push(1, 10);
  gate.commit(Epoch{1});
  gate.set_mode(GateMode::kHeld);
  EXPECT_FALSE(gate.open(at(0)));
  EXPECT_EQ(pop_all(), Ids{});
  EXPECT_FALSE(gate.has_releasable());
  gate.set_mode(GateMode::kProtected);
  EXPECT_EQ(pop_all(), Ids{10});
}

TEST_F(Gate, IsFullByPacketsOrBytesAndStillTakesWhatIsPushed) {
  protect();
  for (uint32_t i = 0; i < 3; ++i) push(1, i);
  EXPECT_FALSE(gate.full());
  push(1, 3);
  EXPECT_TRUE(gate.full());
  push(1, 4);
  gate.commit(Epoch{1});
  EXPECT_EQ(pop_all(), (Ids{0, 1, 2, 3, 4}));
  EthernetFrame in_large_buffer = frame(9, 300);
  in_large_buffer.resize(60);
  gate.push(Epoch{2}, std::move(in_large_buffer), at(0));
  EXPECT_TRUE(gate.full()) << "memory counts, not what is in it";
  gate.clear();
  EXPECT_FALSE(gate.full());
}

TEST_F(Gate, DropsOnlyWhatHasNotCommitted) {
  protect();
  push(1, 10);
  push(2, 20);
  push(2, 21);
  gate.commit(Epoch{1});
  EXPECT_EQ(gate.drop_uncommitted(), 2u);
  EXPECT_EQ(gate.counters().dropped_packets, 2u);
  EXPECT_EQ(gate.counters().gated_packets, 1u);
  EXPECT_EQ(gate.counters().gated_bytes, 60u);
  EXPECT_EQ(pop_all(), Ids{10});
  push(3, 30);
  gate.commit(Epoch{3});
  EXPECT_EQ(gate.clear(), 1u);
  EXPECT_TRUE(gate.empty());
  EXPECT_EQ(pop_all(), Ids{});
}

TEST_F(Gate, CountsWhatPassedAndHowLongItWaited) {
  protect();
  push(1, 10);
  gate.push(Epoch{1}, frame(11, 100), at(2));
  gate.commit(Epoch{1});
  EXPECT_EQ(gate.counters().gated_bytes, 160u);
  pop_all(at(8));
  EXPECT_EQ(gate.counters().gated_packets, 0u);
  EXPECT_EQ(gate.counters().gated_bytes, 0u);
  EXPECT_EQ(gate.counters().gated_packets_max, 2u);
  EXPECT_EQ(gate.counters().gated_bytes_max, 160u);
  EXPECT_EQ(gate.counters().released_packets, 2u);
  EXPECT_EQ(gate.counters().released_bytes, 160u);
  EXPECT_EQ(gate.wait().count(), 2u);
  EXPECT_EQ(gate.wait().sum(), Duration::millis(14));
}

// Output commit and order, for any sequence of calls of a session: nothing leaves before its commit, nothing is lost,
// nothing is doubled, order is kept.
TEST(GateLaw, NothingLeavesEarlyOrOutOfOrder) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    Rng rng(seed);
    OutputGate gate;
    gate.set_mode(GateMode::kSolo);
    gate.set_mode(GateMode::kProtected);
    uint64_t epoch = 1, committed = 0;
    int64_t now = 0, lease = 0;
    bool held = false;
    std::vector<uint64_t> epoch_of;
    uint32_t next_out = 0;
    for (int step = 0; step < 500; ++step) {
      switch (rng.below(8)) {
        case 0:
          ++epoch;
          break;
        case 1:
          if (committed + 1 < epoch) gate.commit(Epoch{committed += 1 + rng.below(epoch - committed - 1)});
          break;
        case 2:
          lease = std::max(lease, now + rng.between(-20, 40));
          gate.release_until(at(lease));
          break;
        case 3:
          now += rng.between(0, 10);
          break;
        case 4:
          held = rng.chance(0.2);
          gate.set_mode(held ? GateMode::kHeld : GateMode::kProtected);
          break;
        case 5:
          while (const auto f = gate.pop(at(now))) {
            ASSERT_FALSE(held) << "seed " << seed;
            ASSERT_LT(now, lease) << "seed " << seed;
            const auto id = load_le<uint32_t>(f->ethernet().data());
            ASSERT_EQ(id, next_out++) << "seed " << seed;
            ASSERT_LE(epoch_of[id], committed) << "seed " << seed;
          }
          break;
        default:
          gate.push(Epoch{epoch}, frame(static_cast<uint32_t>(epoch_of.size())), at(now));
          epoch_of.push_back(epoch);
      }
    }
    gate.set_mode(GateMode::kSolo);
    while (const auto f = gate.pop(at(now))) ASSERT_EQ(load_le<uint32_t>(f->ethernet().data()), next_out++);
    EXPECT_EQ(next_out, epoch_of.size()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace us
