#include "core/tcp/persist.h"

#include <gtest/gtest.h>

namespace us {
namespace {

Instant at_ms(int64_t ms) { return Instant::from_nanos(0) + Duration::millis(ms); }
constexpr Duration kRto = Duration::millis(200);

TEST(PersistTimer, ProbesAtDoublingIntervalsUpToItsBound) {
  PersistTimer timer(15, Duration::seconds(120));
  Instant now = at_ms(0);
  timer.start_if_idle(now, kRto);
  int64_t expected = 200;
  for (int i = 0; i < 40; ++i) {
    EXPECT_EQ((*timer.deadline() - now).to_millis(), std::min<int64_t>(expected, 120'000));
    now = *timer.deadline();
    timer.on_probe(now, kRto);
    expected = std::min<int64_t>(expected * 2, 1'000'000);
  }
}

TEST(PersistTimer, APeerThatAnswersIsNeverGivenUp) {
  PersistTimer timer(3, Duration::seconds(120));
  for (int i = 0; i < 1000; ++i) {
    timer.on_probe(at_ms(i), kRto);
    EXPECT_FALSE(timer.gave_up());
    timer.on_answer();
  }
}

TEST(PersistTimer, ASilentPeerIsGivenUp) {
  PersistTimer timer(3, Duration::seconds(120));
  for (int i = 0; i < 3; ++i) timer.on_probe(at_ms(i), kRto);
  EXPECT_FALSE(timer.gave_up());
  timer.on_probe(at_ms(4), kRto);
  EXPECT_TRUE(timer.gave_up());
}

TEST(PersistTimer, StoppingForgetsTheBackOff) {
  PersistTimer timer(15, Duration::seconds(120));
  timer.on_probe(at_ms(0), kRto);
  timer.stop();
  EXPECT_FALSE(timer.deadline());
  timer.start_if_idle(at_ms(0), kRto);
  EXPECT_EQ(timer.deadline(), at_ms(200));
}

}  // namespace
}  // namespace us
