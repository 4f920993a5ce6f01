#include "core/tcp/prr.h"

#include <gtest/gtest.h>

namespace us {
namespace {

constexpr uint32_t kMss = 1000;

// Each ACK delivers one segment; sends whole segments as the window allows.
struct Recovery {
  Recovery(uint64_t recover_fs, uint64_t inflight_now, uint64_t threshold)
      : inflight(inflight_now), ssthresh(threshold) {
    prr.begin(recover_fs);
  }
  uint64_t ack(uint64_t delivered, bool safe = false) {
    inflight -= std::min(inflight, delivered);
    prr.on_ack({.delivered = delivered, .inflight = inflight, .ssthresh = ssthresh, .mss = kMss, .safe = safe});
    uint64_t sent = 0;
    while (inflight + kMss <= prr.window()) {
      inflight += kMss;
      prr.on_sent(kMss);
      sent += kMss;
    }
    return sent;
  }
  Prr prr;
  uint64_t inflight;
  uint64_t ssthresh;
};

TEST(Prr, TheFirstAckSendsTheFastRetransmission) {
  Recovery r(20'000, 19'000, 14'000);
  EXPECT_EQ(r.ack(1000), 1000u);
}

TEST(Prr, ReducesInProportionToWhatIsDelivered) {
  Recovery r(100'000, 99'000, 70'000);
  uint64_t sent = 0;
  for (int i = 0; i < 90; ++i) {
    sent += r.ack(1000);
    // Never more than its share, never more than a segment behind it; the first one is for free.
    const double share = 0.7 * 1000 * (i + 1);
    EXPECT_LE(static_cast<double>(sent), share + 1000);
    EXPECT_GE(static_cast<double>(sent), share - 1000);
  }
  EXPECT_NEAR(static_cast<double>(r.inflight), 70'000, 2'000);
}

TEST(Prr, AfterHeavyLossItSendsWhatWasDelivered) {
  // 60 of 100 segments are lost: what is in flight is below ssthresh at once.
  Recovery r(100'000, 40'000, 70'000);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(r.ack(1000), 1000u);
}

TEST(Prr, SafeAcksLetItGrowByOneSegmentMoreUpToTheThreshold) {
  Recovery r(100'000, 40'000, 70'000);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(r.ack(1000, true), 2000u);
  for (int i = 0; i < 100; ++i) r.ack(1000, true);
  EXPECT_EQ(r.inflight, 70'000u);
}

TEST(Prr, AnAckThatDeliversNothingSendsNothing) {
  Recovery r(100'000, 40'000, 70'000);
  r.ack(1000);
  EXPECT_EQ(r.ack(0), 0u);
}

TEST(Prr, ALossOfAlmostEverythingDoesNotStall) {
  Recovery r(10'000, 0, 7'000);
  EXPECT_EQ(r.ack(0), 1000u);
  EXPECT_EQ(r.ack(1000, true), 2000u);
}

}  // namespace
}  // namespace us
