#include "core/tcp/hystart.h"

#include <gtest/gtest.h>

namespace us {
namespace {

// One round: `acks` ACKs of one 1000-byte segment each, all with the same round-trip time.
class Rounds {
 public:
  void round(int64_t rtt_ms, int acks = 10) {
    const SeqNum end = una_ + static_cast<uint32_t>(acks) * 1000;
    for (int i = 0; i < acks; ++i) {
      una_ += 1000;
      AckSample sample;
      sample.una = una_;
      // The data of the next round is sent as this round is ACKed.
      sample.nxt = end + static_cast<uint32_t>(i + 1) * 1000;
      sample.rtt = Duration::millis(rtt_ms);
      hystart.on_ack(sample);
    }
  }
  HyStart hystart;

 private:
  SeqNum una_{0xfffff000};  // the rounds pass the wrap-around
};

TEST(HyStart, AConstantRoundTripTimeKeepsSlowStart) {
  Rounds r;
  for (int i = 0; i < 20; ++i) r.round(40);
  EXPECT_FALSE(r.hystart.in_conservative_phase());
  EXPECT_FALSE(r.hystart.done());
  EXPECT_EQ(r.hystart.scale(8000), 8000u);
}

TEST(HyStart, ARiseByAnEighthEntersTheConservativePhaseAndFiveRoundsEndSlowStart) {
  Rounds r;
  r.round(80);
  r.round(80);
  r.round(91);
  EXPECT_TRUE(r.hystart.in_conservative_phase());
  EXPECT_EQ(r.hystart.scale(8000), 2000u);
  for (int i = 0; i < 4; ++i) r.round(92);
  EXPECT_TRUE(r.hystart.in_conservative_phase());
  r.round(92);
  EXPECT_TRUE(r.hystart.done());
}

TEST(HyStart, ASmallerRiseIsNoise) {
  Rounds r;
  r.round(80);
  r.round(80);
  r.round(88);  // the threshold is 80 / 8 = 10 ms
  EXPECT_FALSE(r.hystart.in_conservative_phase());
}

TEST(HyStart, TheThresholdIsAtLeastFourAndAtMostSixteenMilliseconds) {
  Rounds shorter;
  shorter.round(1);
  shorter.round(1);
  shorter.round(4);
  EXPECT_FALSE(shorter.hystart.in_conservative_phase());
  shorter.round(8);
  EXPECT_TRUE(shorter.hystart.in_conservative_phase());
  Rounds longer;
  longer.round(400);
  longer.round(400);
  longer.round(417);
  EXPECT_TRUE(longer.hystart.in_conservative_phase());
}

TEST(HyStart, FewSamplesDecideNothing) {
  Rounds r;
  r.round(80);
  r.round(80);
  r.round(200, 7);
  EXPECT_FALSE(r.hystart.in_conservative_phase());
}

TEST(HyStart, AFallingRoundTripTimeResumesSlowStart) {
  Rounds r;
  r.round(80);
  r.round(80);
  r.round(100);
  EXPECT_TRUE(r.hystart.in_conservative_phase());
  r.round(82);
  EXPECT_FALSE(r.hystart.in_conservative_phase());
  EXPECT_FALSE(r.hystart.done());
}

}  // namespace
}  // namespace us
