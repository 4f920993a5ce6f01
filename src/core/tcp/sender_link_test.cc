// A sender over a modelled link: goodput against theory, and what must hold whatever the link does.
#include "core/tcp/sender_link.h"

#include <gtest/gtest.h>

#include <cmath>

namespace us {
namespace {

double goodput(LinkSetup setup, Duration time, int seeds = 1) {
  double sum = 0;
  for (int seed = 1; seed <= seeds; ++seed) {
    setup.seed = static_cast<uint64_t>(seed);
    const LinkResult result = SenderLink(setup).run(time);
    EXPECT_EQ(result.violation, "") << "seed " << seed;
    sum += result.megabits();
  }
  return sum / seeds;
}

// What AIMD reaches at a random loss rate p, in Mbit/s: 1.22 segments per round trip over the root of p
// (RFC 9438 section 5.1; CUBIC's Reno-friendly region has the same mean).
double reno_response(const LinkSetup& setup) {
  return 1.2247 / std::sqrt(setup.loss) * setup.mss * 8e-6 / setup.rtt.to_seconds();
}

TEST(SenderLink, FillsACleanLinkAtAnyRoundTrip) {
  for (const int64_t rtt_ms : {1, 20, 80}) {
    for (const CongestionKind kind : {CongestionKind::kCubic, CongestionKind::kNewReno}) {
      LinkSetup setup;
      setup.rtt = Duration::millis(rtt_ms);
      setup.config.congestion = kind;
      const double wire = 200.0 * setup.mss / (setup.mss + 66);
      EXPECT_GT(goodput(setup, Duration::seconds(20)), 0.95 * wire) << rtt_ms << " ms";
    }
  }
}

TEST(SenderLink, FillsACleanLinkWithoutPacingAndInSmallSegments) {
  LinkSetup setup;
  setup.config.pacing = false;
  EXPECT_GT(goodput(setup, Duration::seconds(10)), 0.95 * 191);
  setup.config.burst_bytes_max = setup.mss;
  EXPECT_GT(goodput(setup, Duration::seconds(10)), 0.95 * 191);
}

TEST(SenderLink, UnderRandomLossCubicIsAsGoodAsTheResponseFunctionAndAsNewReno) {
  for (const int64_t rtt_ms : {20, 80}) {
    for (const double loss : {0.001, 0.01}) {
      LinkSetup setup;
      setup.rtt = Duration::millis(rtt_ms);
      setup.loss = loss;
      const double cubic = goodput(setup, Duration::seconds(30), 8);
      setup.config.congestion = CongestionKind::kNewReno;
      const double reno = goodput(setup, Duration::seconds(30), 8);
      EXPECT_GT(cubic, 0.9 * reno_response(setup)) << rtt_ms << " ms, loss " << loss;
      EXPECT_GT(cubic, 0.98 * reno) << rtt_ms << " ms, loss " << loss;
    }
  }
}

TEST(SenderLink, RandomLossIsRepairedWithoutTimeouts) {
  LinkSetup setup;
  setup.loss = 0.01;
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    setup.seed = seed;
    const LinkResult result = SenderLink(setup).run(Duration::seconds(20));
    EXPECT_LE(result.stats.timeouts, 2u) << "seed " << seed;
    const double resent = static_cast<double>(result.stats.bytes_retransmitted) / setup.mss;
    EXPECT_LT(resent, 1.1 * static_cast<double>(result.drops_random) + 5) << "seed " << seed;
  }
}

TEST(SenderLink, MildReorderingCostsNothing) {
  LinkSetup clean;
  LinkSetup reordered;
  reordered.reordering = 0.02;
  EXPECT_GT(goodput(reordered, Duration::seconds(10), 3), 0.95 * goodput(clean, Duration::seconds(10)));
}

TEST(SenderLink, LostAcksCostNothing) {
  LinkSetup setup;
  setup.ack_loss = 0.1;
  EXPECT_GT(goodput(setup, Duration::seconds(10), 3), 0.95 * 191);
}

TEST(SenderLink, EpochsDoNotMatterWhileTheBufferCoversThem) {
  LinkSetup setup;
  setup.buffer_bytes = 16u << 20;
  for (const int64_t epoch_ms : {10, 25, 50, 100}) {
    setup.epoch = Duration::millis(epoch_ms);
    EXPECT_GT(goodput(setup, Duration::seconds(10)), 0.95 * 191) << epoch_ms << " ms";
  }
}

TEST(SenderLink, WithoutSackItStillFillsACleanLinkAndSurvivesALossyOne) {
  LinkSetup setup;
  setup.sack = false;
  EXPECT_GT(goodput(setup, Duration::seconds(20)), 0.85 * 191);
  setup.loss = 0.001;
  EXPECT_GT(goodput(setup, Duration::seconds(20), 3), 0.7 * reno_response(setup));
}

TEST(SenderLink, TheGuestsSideRunsAtTheSpeedOfTheLink) {
  LinkSetup setup;
  setup.bits_per_second = 5e9;
  setup.rtt = Duration::micros(200);
  setup.queue_bdp = 1e3;
  setup.buffer_bytes = 256u << 10;
  setup.config = SenderConfig::for_guest();
  EXPECT_GT(goodput(setup, Duration::millis(500)), 0.9 * 5000 * 1448 / 1514);
}

// Whatever happens, the receiver gets exactly the bytes that were committed, in order, once, and the FIN; nothing goes
// beyond committed or the peer's window (checked in the model).
TEST(SenderLink, EveryByteArrivesOnceWhateverTheLinkDoes) {
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    Rng rng(seed);
    LinkSetup setup;
    setup.seed = seed;
    setup.bits_per_second = 1e6 * static_cast<double>(rng.between(1, 100));
    setup.rtt = Duration::millis(rng.between(1, 120));
    setup.queue_bdp = 0.05 * static_cast<double>(rng.between(1, 40));
    setup.loss = rng.chance(0.5) ? 0.001 * static_cast<double>(rng.between(0, 150)) : 0;
    setup.ack_loss = rng.chance(0.5) ? 0.001 * static_cast<double>(rng.between(0, 300)) : 0;
    setup.reordering = rng.chance(0.3) ? 0.01 * static_cast<double>(rng.between(0, 30)) : 0;
    setup.sack = rng.chance(0.7);
    if (!setup.sack) {  // one hole per round trip, and a back-off that only new data ends: slow, but not endless
      setup.loss /= 3;
      setup.ack_loss /= 3;
    }
    setup.timestamps = rng.chance(0.5);
    setup.mss = static_cast<uint32_t>(rng.between(100, 1460));
    setup.buffer_bytes = static_cast<uint32_t>(rng.between(4, 2000)) << 10;
    setup.config.pacing = rng.chance(0.5);
    setup.config.runs_max = static_cast<size_t>(rng.between(8, 300));
    setup.config.congestion = rng.chance(0.7) ? CongestionKind::kCubic : CongestionKind::kNewReno;
    setup.first = SeqNum(static_cast<uint32_t>(rng.next()));
    if (rng.chance(0.5)) setup.epoch = Duration::millis(rng.between(1, 100));
    if (rng.chance(0.3)) setup.takeover_every = Duration::millis(rng.between(50, 3000));
    const uint64_t total = static_cast<uint64_t>(rng.between(0, 600'000));
    SenderLink link(setup);
    const LinkResult result = link.run(Duration::seconds(3000), total);
    ASSERT_EQ(result.violation, "") << "seed " << seed;
    ASSERT_TRUE(link.finished()) << "seed " << seed << ": " << result.bytes << " of " << total << " in "
                                 << result.time.to_seconds() << " s";
    ASSERT_EQ(link.sender().unacked_bytes(), 0u);
  }
}

// tcp.md, rule 4: a takeover costs a window's ramp-up, not a timer.
TEST(SenderLink, ATakeoverCostsLittle) {
  LinkSetup setup;
  setup.takeover_every = Duration::seconds(2);
  EXPECT_GT(goodput(setup, Duration::seconds(10)), 0.75 * 191);
}

}  // namespace
}  // namespace us
