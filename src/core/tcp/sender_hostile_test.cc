// A peer that says anything: random ACKs, windows, SACK blocks and echoes, at random times.  Nothing may crash, hang,
// grow, or go out that is not committed.
#include <gtest/gtest.h>

#include <array>

#include "base/rng.h"
#include "core/tcp/sender.h"

namespace us {
namespace {

class Enemy {
 public:
  explicit Enemy(uint64_t seed) : rng_(seed) {
    config_.runs_max = 64;
    config_.pacing = rng_.chance(0.5);
    config_.burst_bytes_max = rng_.chance(0.5) ? 65160 : 0;
    config_.congestion = static_cast<CongestionKind>(rng_.below(3));
    SenderState state;
    state.una = state.committed = state.peer.update_ack = SeqNum(static_cast<uint32_t>(rng_.next()));
    state.sack = rng_.chance(0.7);
    state.ecn = rng_.chance(0.5);
    state.mss = static_cast<uint32_t>(rng_.between(SenderState::kMssMin, 9000));
    state.peer.scale = static_cast<uint8_t>(rng_.below(15));
    state.peer.size = state.peer.largest = 0xffffu << rng_.below(state.peer.scale + 1u);
    sender_ = std::make_unique<Sender>(Sender::create(state, config_).value());
  }

  void step() {
    now_ += rng_.chance(0.8) ? Duration::micros(rng_.between(0, 20'000)) : Duration::millis(rng_.between(0, 5'000));
    switch (rng_.below(8)) {
      case 0:
        if (sender_->fin_committed() || sender_->unacked_bytes() > 500'000) break;
        sender_->on_committed(sender_->committed() + static_cast<uint32_t>(rng_.below(100'000)));
        break;
      case 1:
        sender_->on_deadline(now_);
        break;
      case 2:
        sender_->on_packet_too_big(static_cast<uint32_t>(rng_.below(3000)), near(sender_->una()));
        break;
      case 3:
        if (rng_.chance(0.01)) sender_->on_fin();
        if (rng_.chance(0.02)) take_over();
        break;
      default:
        ack();
    }
    flush();
  }

 private:
  // Mostly plausible: the edges of what is outstanding, plus or minus a little.
  SeqNum near(SeqNum seq) {
    const uint32_t outstanding = sender_->una().distance_to(sender_->nxt());
    const uint32_t at = static_cast<uint32_t>(rng_.below(outstanding + 1u));
    switch (rng_.below(6)) {
      case 0:
        return SeqNum(static_cast<uint32_t>(rng_.next()));
      case 1:
        return seq - static_cast<uint32_t>(rng_.below(100));
      case 2:
        return seq + static_cast<uint32_t>(rng_.below(100));
      default:
        return sender_->una() + at;
    }
  }

  void ack() {
    std::array<SeqRange, 8> blocks;
    const size_t count = rng_.below(blocks.size() + 1);
    for (SeqRange& block : blocks) {
      block.start = near(sender_->una());
      block.end = rng_.chance(0.5) ? near(sender_->nxt()) : block.start + static_cast<uint32_t>(rng_.below(10'000));
    }
    AckInfo info;
    info.seq = SeqNum(static_cast<uint32_t>(rng_.below(4)));
    info.ack = rng_.chance(0.5) ? sender_->una() : near(sender_->una());
    info.window = static_cast<uint16_t>(rng_.chance(0.2) ? 0 : rng_.next());
    info.pure = rng_.chance(0.8);
    info.ece = rng_.chance(0.1);
    info.sack = {blocks.data(), count};
    if (rng_.chance(0.5)) {
      const Instant echoed = now_ + Duration::millis(rng_.between(-2'000, 500));
      info.echo = EchoTime{echoed, echoed + Duration::millis(1)};
    }
    const SeqNum una = sender_->una();
    const SeqNum nxt = sender_->nxt();
    const AckVerdict verdict = sender_->on_ack(info, now_);
    ASSERT_EQ(verdict == AckVerdict::kAccepted, info.ack.in_range(una, nxt));
    ASSERT_TRUE(sender_->una().in_range(una, nxt));
  }

  void flush() {
    int segments = 0;
    while (const auto segment = sender_->poll_segment(now_)) {
      ASSERT_LT(++segments, 50'000) << "poll_segment never ends";
      const SeqNum end = segment->seq + segment->length + (segment->fin ? 1 : 0);
      const SeqNum limit = sender_->committed() + (sender_->fin_committed() ? 1 : 0);
      ASSERT_TRUE(segment->length > 0 || segment->fin);
      ASSERT_TRUE(segment->seq.in_range(sender_->una(), limit));
      ASSERT_TRUE(end.in_range(sender_->una(), limit)) << "beyond what is committed";
    }
    ASSERT_LE(sender_->memory_bytes(), sizeof(Sender) + 1000 + 600 * sizeof(SentRun));
    ASSERT_LE(sender_->inflight_bytes(), sender_->una().distance_to(sender_->nxt()));
    const bool waits = sender_->unacked_bytes() > 0 && sender_->verdict() == SenderVerdict::kAlive;
    ASSERT_TRUE(!waits || sender_->next_deadline()) << "something to send, and nothing will ever wake it";
  }

  void take_over() {
    const SenderState state = sender_->snapshot();
    ASSERT_TRUE(check_sender_state(state));
    sender_ = std::make_unique<Sender>(Sender::restore(state, config_).value());
  }

  Rng rng_;
  SenderConfig config_;
  std::unique_ptr<Sender> sender_;
  Instant now_ = Instant::from_nanos(1'000'000'000);
};

TEST(SenderHostile, SurvivesAnyPeer) {
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    Enemy enemy(seed);
    for (int step = 0; step < 400; ++step) {
      enemy.step();
      if (testing::Test::HasFatalFailure()) {
        FAIL() << "seed " << seed << " step " << step;
      }
    }
  }
}

}  // namespace
}  // namespace us
