#include "core/virtio/split_ring.h"

#include <gtest/gtest.h>

#include <array>

#include "base/rng.h"
#include "core/virtio/fake_driver.h"

namespace us {
namespace {

constexpr uint16_t kSize = 16;

class SplitRingTest : public testing::Test {
 protected:
  void start(RingDirection direction = RingDirection::kFromDriver, SplitRing::Options options = {}, uint16_t base = 0) {
    ring.emplace(direction, ram.memory);
    ASSERT_TRUE(ring->start(driver.setup(base), options).has_value());
  }
  RingFault fault_of_next() {
    EXPECT_EQ(ring->next(chain), SplitRing::Next::kFault);
    return ring->fault();
  }
  void post(std::initializer_list<uint32_t> sizes, bool writable = false, bool indirect = false) {
    ASSERT_TRUE(driver.post(std::vector<uint32_t>(sizes), writable, indirect).has_value());
  }
  void use_one() {
    ASSERT_EQ(ring->next(chain), SplitRing::Next::kChain);
    ring->use(chain, 0);
  }

  FakeRam ram{1 << 20};
  FakeDriver driver{ram, 0, kSize, 512 << 10};
  std::optional<SplitRing> ring;
  RingChain chain;
};

TEST_F(SplitRingTest, RefusesASizeThatIsNoPowerOfTwoOrTooLarge) {
  for (const uint32_t size : {0u, 3u, 2048u, 0x10000u}) {
    SplitRing r(RingDirection::kFromDriver, ram.memory);
    RingSetup s = driver.setup();
    s.size = size;
    EXPECT_FALSE(r.start(s, {}).has_value()) << size;
    EXPECT_FALSE(r.running());
  }
}

TEST_F(SplitRingTest, RefusesPartsThatAreMisalignedOrOutsideRam) {
  const RingSetup good = driver.setup();
  for (uint64_t RingSetup::*part : {&RingSetup::descriptors_user, &RingSetup::avail_user, &RingSetup::used_user}) {
    for (const uint64_t wrong : {good.*part + 1, uint64_t{0}, FakeRam::kUserBase + ram.size - 16, ~uint64_t{15}}) {
      SplitRing r(RingDirection::kFromDriver, ram.memory);
      RingSetup s = good;
      s.*part = wrong;
      EXPECT_FALSE(r.start(s, {}).has_value()) << wrong;
    }
  }
  SplitRing r(RingDirection::kFromDriver, ram.memory);
  RingSetup s = good;
  s.base = 0x10000;
  EXPECT_FALSE(r.start(s, {}).has_value());
}

TEST_F(SplitRingTest, GivesChainsInOrderAndTheDriverGetsThemBack) {
  start();
  post({100});
  post({20, 30, 40});
  ASSERT_EQ(ring->next(chain), SplitRing::Next::kChain);
  EXPECT_EQ(chain.bytes, 100u);
  EXPECT_EQ(chain.pieces.size(), 1u);
  ring->use(chain, 7);
  ASSERT_EQ(ring->next(chain), SplitRing::Next::kChain);
  EXPECT_EQ(chain.bytes, 90u);
  EXPECT_EQ(chain.pieces.size(), 3u);
  ring->use(chain, 9);
  EXPECT_EQ(ring->next(chain), SplitRing::Next::kEmpty);
  EXPECT_FALSE(driver.collect().has_value()) << "published before publish()";
  ring->publish();
  EXPECT_EQ(driver.collect()->written, 7u);
  EXPECT_EQ(driver.collect()->written, 9u);
  EXPECT_FALSE(driver.collect().has_value());
}

TEST_F(SplitRingTest, ForgetsWhatWasOnlyLookedAt) {
  start();
  post({1});
  post({2});
  use_one();
  ASSERT_EQ(ring->next(chain), SplitRing::Next::kChain);
  ring->rewind();
  ASSERT_EQ(ring->next(chain), SplitRing::Next::kChain);
  EXPECT_EQ(chain.bytes, 2u);
  ring->rewind();
  ring->publish();
  EXPECT_EQ(ring->stop(), 1u);
}

TEST_F(SplitRingTest, GoesOnAfterStopAndStartAcrossTheWrapOfTheIndex) {
  driver.set_avail_index(0xfffe);
  driver.set_used_index(0xfffe);
  uint16_t base = 0xfffe;
  for (int round = 0; round < 6; ++round) {
    start(RingDirection::kFromDriver, {.event_index = true}, base);
    post({64});
    use_one();
    ring->publish();
    base = ring->stop();
    EXPECT_EQ(base, static_cast<uint16_t>(0xfffe + round + 1));
    EXPECT_EQ(driver.used_index(), base);
    ASSERT_TRUE(driver.collect().has_value());
  }
}

TEST_F(SplitRingTest, TouchesNothingWhileStopped) {
  start();
  post({64});
  ring->stop();
  const Bytes before = ram.copy();
  EXPECT_EQ(ring->next(chain), SplitRing::Next::kEmpty);
  EXPECT_FALSE(ring->enable_kick());
  ring->disable_kick();
  EXPECT_FALSE(ring->may_have_missed_interrupt());
  ring->publish();
  EXPECT_FALSE(ring->wants_interrupt());
  EXPECT_EQ(ram.copy(), before);
}

TEST_F(SplitRingTest, MarksTheUsedRingAsWritten) {
  start();
  post({64});
  ram.dirty.drain([](PageIndex) {});
  use_one();
  ring->publish();
  std::vector<uint64_t> pages;
  ram.dirty.drain([&](PageIndex p) { pages.push_back(p.value()); });
  EXPECT_EQ(pages, std::vector<uint64_t>{driver.used_at() / kPageSize});
}

// --- indirect ---

TEST_F(SplitRingTest, FollowsAnIndirectTable) {
  start(RingDirection::kFromDriver, {.indirect = true});
  post({10, 20, 30}, false, true);
  ASSERT_EQ(ring->next(chain), SplitRing::Next::kChain);
  EXPECT_EQ(chain.bytes, 60u);
}

TEST_F(SplitRingTest, FollowsAnIndirectTableAfterPlainDescriptors) {
  start(RingDirection::kFromDriver, {.indirect = true});
  driver.set_descriptor(0, FakeDriver::guest(0x20000), 5, FakeDriver::kNext, 1);
  driver.set_descriptor(1, FakeDriver::guest(0x30000), 16, FakeDriver::kIndirect);
  driver.set_descriptor(0x30000, 0, FakeDriver::guest(0x40000), 6, 0, 0);
  driver.offer(0);
  ASSERT_EQ(ring->next(chain), SplitRing::Next::kChain);
  EXPECT_EQ(chain.bytes, 11u);
}

TEST_F(SplitRingTest, AllowsAnIndirectTableLongerThanTheRing) {
  start(RingDirection::kFromDriver, {.indirect = true});
  for (uint16_t i = 0; i < 100; ++i)
    driver.set_descriptor(0x30000, i, FakeDriver::guest(0x40000), 1, i < 99 ? FakeDriver::kNext : 0,
                          static_cast<uint16_t>(i + 1));
  driver.set_descriptor(0, FakeDriver::guest(0x30000), 1600, FakeDriver::kIndirect);
  driver.offer(0);
  ASSERT_EQ(ring->next(chain), SplitRing::Next::kChain);
  EXPECT_EQ(chain.bytes, 100u);
}

// --- a hostile driver ---

TEST_F(SplitRingTest, FaultsWhenTheAvailableIndexJumps) {
  start();
  driver.set_avail_index(kSize + 1);
  EXPECT_EQ(fault_of_next(), RingFault::kAvailIndexJumped);
}

TEST_F(SplitRingTest, FaultsOnAHeadPastTheTable) {
  start();
  driver.offer(kSize);
  EXPECT_EQ(fault_of_next(), RingFault::kHeadOutOfRange);
}

TEST_F(SplitRingTest, FaultsOnALinkPastTheTable) {
  start();
  driver.set_descriptor(0, FakeDriver::guest(0x20000), 5, FakeDriver::kNext, kSize);
  driver.offer(0);
  EXPECT_EQ(fault_of_next(), RingFault::kNextOutOfRange);
}

TEST_F(SplitRingTest, FaultsOnALoop) {
  start();
  driver.set_descriptor(0, FakeDriver::guest(0x20000), 5, FakeDriver::kNext, 1);
  driver.set_descriptor(1, FakeDriver::guest(0x20000), 5, FakeDriver::kNext, 0);
  driver.offer(0);
  EXPECT_EQ(fault_of_next(), RingFault::kChainTooLong);
}

TEST_F(SplitRingTest, TakesAChainAsLongAsTheRing) {
  start();
  post(std::initializer_list<uint32_t>{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1});
  ASSERT_EQ(ring->next(chain), SplitRing::Next::kChain);
  EXPECT_EQ(chain.pieces.size(), kSize);
}

TEST_F(SplitRingTest, FaultsOnALoopInAnIndirectTable) {
  start(RingDirection::kFromDriver, {.indirect = true});
  driver.set_descriptor(0x30000, 0, FakeDriver::guest(0x40000), 6, FakeDriver::kNext, 0);
  driver.set_descriptor(0, FakeDriver::guest(0x30000), 16, FakeDriver::kIndirect);
  driver.offer(0);
  EXPECT_EQ(fault_of_next(), RingFault::kChainTooLong);
}

TEST_F(SplitRingTest, FaultsOnABufferOutsideRam) {
  for (const uint64_t at : {uint64_t{0}, FakeRam::kGuestBase + (1 << 20) - 4, ~uint64_t{2}}) {
    driver = FakeDriver(ram, 0, kSize, 512 << 10);
    start();
    driver.set_descriptor(0, at, 5, 0);
    driver.offer(0);
    EXPECT_EQ(fault_of_next(), RingFault::kBufferOutsideRam) << at;
  }
}

TEST_F(SplitRingTest, FaultsOnABufferOfTheWrongDirection) {
  start(RingDirection::kFromDriver);
  post({8}, true);
  EXPECT_EQ(fault_of_next(), RingFault::kWrongDirection);
  driver = FakeDriver(ram, 0, kSize, 512 << 10);
  start(RingDirection::kToDriver);
  post({8}, false);
  EXPECT_EQ(fault_of_next(), RingFault::kWrongDirection);
}

TEST_F(SplitRingTest, FaultsOnIndirectDescriptorsThatBreakTheRules) {
  struct Case {
    bool negotiated;
    uint32_t bytes;
    uint16_t flags;
    uint64_t table;
    RingFault fault;
  };
  constexpr uint64_t kTable = FakeRam::kGuestBase + 0x30000;
  constexpr uint64_t kLast = FakeRam::kGuestBase + (1 << 20) - 16;
  for (const Case& c : {
           Case{false, 16, 0, kTable, RingFault::kIndirectNotNegotiated},
           Case{true, 16, FakeDriver::kNext, kTable, RingFault::kIndirectWithNext},
           Case{true, 0, 0, kTable, RingFault::kIndirectSize},
           Case{true, 24, 0, kTable, RingFault::kIndirectSize},
           Case{true, 16 * 1025, 0, kTable, RingFault::kIndirectSize},
           Case{true, 16, 0, 0x1000, RingFault::kIndirectOutsideRam},
           Case{true, 32, 0, kLast, RingFault::kIndirectOutsideRam},
       }) {
    driver = FakeDriver(ram, 0, kSize, 512 << 10);
    start(RingDirection::kFromDriver, {.indirect = c.negotiated});
    driver.set_descriptor((1 << 20) - 16, 0, FakeDriver::guest(0x40000), 1, FakeDriver::kNext, 1);
    driver.set_descriptor(0, c.table, c.bytes, static_cast<uint16_t>(FakeDriver::kIndirect | c.flags));
    driver.offer(0);
    EXPECT_EQ(fault_of_next(), c.fault) << to_string(c.fault);
  }
}

TEST_F(SplitRingTest, FaultsOnANestedIndirectDescriptor) {
  start(RingDirection::kFromDriver, {.indirect = true});
  driver.set_descriptor(0x30000, 0, FakeDriver::guest(0x30000), 16, FakeDriver::kIndirect, 0);
  driver.set_descriptor(0, FakeDriver::guest(0x30000), 16, FakeDriver::kIndirect);
  driver.offer(0);
  EXPECT_EQ(fault_of_next(), RingFault::kIndirectNested);
}

TEST_F(SplitRingTest, StandsStillAfterAFaultUntilStartedAgain) {
  start();
  post({4});
  driver.offer(kSize);
  use_one();
  EXPECT_EQ(fault_of_next(), RingFault::kHeadOutOfRange);
  EXPECT_EQ(fault_of_next(), RingFault::kHeadOutOfRange);
  EXPECT_FALSE(ring->enable_kick());
  ring->publish();
  EXPECT_TRUE(driver.collect().has_value()) << "what was used before the fault is given back";
  EXPECT_EQ(ring->stop(), 1u);
  driver = FakeDriver(ram, 0, kSize, 512 << 10);
  driver.set_avail_index(0);
  driver.set_used_index(0);
  ASSERT_TRUE(ring->start(driver.setup(), {}).has_value());
  post({4});
  EXPECT_EQ(ring->next(chain), SplitRing::Next::kChain);
}

TEST_F(SplitRingTest, FaultsWhenANewMemoryTableNoLongerHoldsIt) {
  start();
  post({4});
  use_one();
  ring->publish();
  const MemoryRegion elsewhere{GuestPhysAddr{0}, kPageSize, 0, 0};
  ASSERT_TRUE(ram.memory.set_regions({&elsewhere, 1}).has_value());
  ring->memory_changed();
  EXPECT_EQ(fault_of_next(), RingFault::kRingOutsideRam);
  EXPECT_FALSE(ring->running());
  EXPECT_FALSE(ring->wants_interrupt());
  EXPECT_FALSE(ring->enable_kick());
}

// --- notifications ---

TEST_F(SplitRingTest, InterruptsUnlessTheFlagForbids) {
  start();
  for (const uint16_t forbid : {uint16_t{0}, uint16_t{1}}) {
    driver.set_avail_flags(forbid);
    post({4});
    use_one();
    ring->publish();
    EXPECT_EQ(ring->wants_interrupt(), forbid == 0);
    EXPECT_FALSE(ring->wants_interrupt()) << "nothing new";
  }
}

TEST_F(SplitRingTest, InterruptsOnlyWhenTheUsedEventIsPassed) {
  start(RingDirection::kFromDriver, {.event_index = true});
  const auto use = [&](int n) {
    for (int i = 0; i < n; ++i) {
      post({4});
      use_one();
    }
    ring->publish();
    return ring->wants_interrupt();
  };
  driver.set_used_event(100);
  EXPECT_TRUE(use(1)) << "the first after a start always interrupts: what the driver knows is not known";
  driver.set_used_event(3);
  EXPECT_FALSE(use(1));  // used 2
  EXPECT_FALSE(use(1));  // used 3: entry 2
  EXPECT_TRUE(use(1));   // used 4: entry 3, the one waited for
  EXPECT_FALSE(use(1));
  driver.set_used_event(7);
  EXPECT_TRUE(use(5)) << "passed in the middle of a batch";
}

TEST_F(SplitRingTest, ADelayedInterruptIsNotSentIfTheDriverHasLookedMeanwhile) {
  start(RingDirection::kFromDriver, {.event_index = true});
  post({4});
  use_one();
  EXPECT_TRUE(ring->flush());
  for (const bool has_looked : {false, true}) {
    const uint16_t used = driver.used_index();
    driver.set_used_event(used);
    for (int i = 0; i < 3; ++i) {
      post({4});
      use_one();
      ring->publish();
    }
    if (has_looked) driver.set_used_event(driver.used_index());
    EXPECT_EQ(ring->wants_interrupt(), !has_looked);
  }
}

TEST_F(SplitRingTest, AsksForAKickBehindWhatItHasSeen) {
  for (const bool event_index : {false, true}) {
    driver = FakeDriver(ram, 0, kSize, 512 << 10);
    driver.set_avail_index(0);
    start(RingDirection::kFromDriver, {.event_index = event_index});
    ring->disable_kick();
    EXPECT_EQ(driver.used_flags(), event_index ? 0 : 1);
    post({4});
    EXPECT_TRUE(ring->enable_kick()) << "one is there already";
    use_one();
    EXPECT_EQ(ring->next(chain), SplitRing::Next::kEmpty);
    EXPECT_FALSE(ring->enable_kick());
    EXPECT_EQ(driver.used_flags(), 0);
    EXPECT_EQ(driver.avail_event(), event_index ? 1 : 0);
    ring->publish();
  }
}

TEST_F(SplitRingTest, AKickForMoreIsAskedForWhenWhatIsThereDoesNotDo) {
  start(RingDirection::kToDriver, {.event_index = true});
  post({4}, true);
  ASSERT_EQ(ring->next(chain), SplitRing::Next::kChain);
  ASSERT_EQ(ring->next(chain), SplitRing::Next::kEmpty);
  ring->rewind();
  EXPECT_FALSE(ring->enable_kick()) << "the one chain that is there would be reported for ever";
  EXPECT_EQ(driver.avail_event(), 1);
}

TEST_F(SplitRingTest, KnowsThatTheDriverMayHaveMissedAnInterrupt) {
  driver.set_used_index(5);
  driver.set_avail_index(5);
  driver.set_used_event(5);
  start(RingDirection::kFromDriver, {.event_index = true}, 5);
  EXPECT_FALSE(ring->may_have_missed_interrupt()) << "it has seen all five";
  driver.set_used_event(3);
  EXPECT_TRUE(ring->may_have_missed_interrupt());
}

// --- anything at all ---

// Random descriptors near the truth, random indices.  The walker must stay inside RAM (the sanitizer watches), end,
// and mark every byte it changes.
TEST(SplitRingProperty, SurvivesARandomDriver) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    Rng rng(seed);
    FakeRam ram(128 << 10);
    FakeDriver driver(ram, 0, kSize, 64 << 10);
    const auto direction = rng.chance(0.5) ? RingDirection::kFromDriver : RingDirection::kToDriver;
    SplitRing ring(direction, ram.memory);
    const SplitRing::Options options{rng.chance(0.5), rng.chance(0.7)};
    ASSERT_TRUE(ring.start(driver.setup(), options).has_value());
    RingChain chain;
    for (int step = 0; step < 60; ++step) {
      const uint64_t table = rng.chance(0.5) ? 0 : 0x18000;
      const uint64_t at = rng.chance(0.9) ? FakeDriver::guest(rng.below(ram.size)) : rng.next();
      const auto bytes = static_cast<uint32_t>(rng.chance(0.8) ? rng.below(4096) : rng.next());
      const bool to_table = rng.chance(0.3);
      auto flags = static_cast<uint16_t>(rng.below(8));
      if (rng.chance(0.8)) flags = static_cast<uint16_t>((flags & 5) | (direction == RingDirection::kToDriver ? 2 : 0));
      driver.set_descriptor(table, rng.below(kSize), to_table ? FakeDriver::guest(0x18000) : at,
                            to_table ? static_cast<uint32_t>(16 * rng.below(20)) : bytes, flags,
                            static_cast<uint16_t>(rng.below(kSize + 1)));
      if (rng.chance(0.7)) driver.offer(static_cast<uint16_t>(rng.below(kSize + (rng.chance(0.05) ? 2 : 0))));
      if (rng.chance(0.01)) driver.set_avail_index(static_cast<uint16_t>(rng.next()));
      WriteAudit audit(ram);
      while (ring.next(chain) == SplitRing::Next::kChain) {
        ASSERT_LE(chain.pieces.size(), SplitRing::kMaxIndirect + kSize);
        if (rng.chance(0.2)) break;
        ring.use(chain, 1);
      }
      ring.rewind();
      ring.publish();
      ring.enable_kick();
      ASSERT_FALSE(audit.unmarked().has_value()) << "seed " << seed;
      if (ring.fault() != RingFault::kNone || rng.chance(0.05)) {
        const uint16_t base = ring.stop();
        driver.set_avail_index(base);
        ASSERT_TRUE(ring.start(driver.setup(base), options).has_value());
      }
    }
  }
}

}  // namespace
}  // namespace us
