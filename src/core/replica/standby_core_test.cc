#include "core/replica/standby_core.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <functional>

namespace us {
namespace {

constexpr Instant at(int64_t ms) { return Instant::from_nanos(1'000'000'000) + Duration::millis(ms); }

ClaimAnswer answer(ClaimResult result, uint64_t generation, bool not_recorded = false) {
  return {Generation{generation}, result, "other", "x", not_recorded};
}

// A standby of a primary of generation 4, and the way into each of its states.  detection 100 ms.
struct Standby {
  StandbyCore core;

  bool hello(int64_t ms) { return core.on_hello(Generation{4}, FailoverConfig{}, at(ms)); }
  void hold(int64_t ms) {
    EXPECT_TRUE(hello(ms));
    EXPECT_TRUE(core.on_epoch_whole(Epoch{7}, at(ms)));
  }
  std::optional<Generation> claim_at(int64_t ms) {
    core.on_deadline(at(ms));
    return core.poll_claim();
  }
  // Silence from `ms` on; the claim is asked.
  void claim(int64_t ms) {
    hold(ms);
    EXPECT_EQ(claim_at(ms + 100), Generation{5});
  }
};

// ---- following ----

TEST(StandbyCore, FollowsOnePrimaryAtATime) {
  Standby s;
  EXPECT_TRUE(s.hello(0));
  EXPECT_EQ(s.core.state(), StandbyState::kSyncing);
  EXPECT_FALSE(s.hello(1));
  s.core.on_epoch_whole(Epoch{1}, at(2));
  EXPECT_FALSE(s.hello(3));
}

TEST(StandbyCore, TakesTheFirstEpochAnywhereAndThenWithoutGaps) {
  Standby s;
  s.hello(0);
  EXPECT_TRUE(s.core.on_epoch_whole(Epoch{41}, at(1)));
  EXPECT_FALSE(s.core.on_epoch_whole(Epoch{43}, at(2)));
  EXPECT_FALSE(s.core.on_epoch_whole(Epoch{41}, at(2)));
  EXPECT_TRUE(s.core.on_epoch_whole(Epoch{42}, at(3)));
  EXPECT_EQ(s.core.committed(), Epoch{42});
}

TEST(StandbyCore, TakesNoEpochWithoutASessionOrOnceItClaims) {
  Standby s;
  EXPECT_FALSE(s.core.on_epoch_whole(Epoch{1}, at(0)));
  s.claim(0);
  EXPECT_FALSE(s.core.on_epoch_whole(Epoch{8}, at(101)));
  EXPECT_EQ(s.core.committed(), Epoch{7});
}

TEST(StandbyCore, ForgetsAPrimaryThatGoesBeforeTheFirstEpoch) {
  Standby s;
  s.hello(0);
  s.core.on_link_lost(at(1));
  EXPECT_EQ(s.core.state(), StandbyState::kWaiting);
  EXPECT_TRUE(s.hello(2));
}

TEST(StandbyCore, DoesNotWaitForEverForASilentSynchronisation) {
  Standby s;
  s.hello(0);
  s.core.on_heard(at(1000), at(999));
  EXPECT_EQ(s.core.next_deadline(), at(4000));
  s.core.on_deadline(at(3999));
  EXPECT_EQ(s.core.state(), StandbyState::kSyncing);
  s.core.on_deadline(at(4000));
  EXPECT_EQ(s.core.state(), StandbyState::kWaiting);
  EXPECT_FALSE(s.core.poll_claim()) << "it holds nothing to go on with";
}

// ---- the promise ----

TEST(StandbyCore, EchoesTheLatestOfThePrimarysClockWhileItPromises) {
  Standby s;
  s.hello(0);
  EXPECT_FALSE(s.core.echo());
  s.core.on_heard(at(1), at(500));
  s.core.on_heard(at(2), at(400));
  EXPECT_EQ(s.core.echo(), at(500));
  s.core.on_heard(at(3), Instant{});  // a message without a time
  EXPECT_EQ(s.core.echo(), at(500));
}

TEST(StandbyCore, DoesNotClaimBeforeTheDetectionTimeHasPassedInSilence) {
  Standby s;
  s.hold(0);
  s.core.on_heard(at(50), at(1));
  EXPECT_FALSE(s.claim_at(149));
  EXPECT_EQ(s.core.next_deadline(), at(150));
  EXPECT_EQ(s.claim_at(150), Generation{5});
  EXPECT_EQ(s.core.state(), StandbyState::kClaiming);
  EXPECT_EQ(s.core.detected_after(), Duration::millis(100));
}

TEST(StandbyCore, ABrokenConnectionDoesNotShortenTheWait) {
  Standby s;
  s.hold(0);
  s.core.on_link_lost(at(10));
  EXPECT_FALSE(s.claim_at(99));
  EXPECT_TRUE(s.claim_at(100));
}

TEST(StandbyCore, PromisesNothingOnceItClaims) {
  Standby s;
  s.hold(0);
  s.core.on_heard(at(0), at(1));
  EXPECT_TRUE(s.core.echo());
  s.core.on_deadline(at(100));
  EXPECT_FALSE(s.core.holds_promise());
  EXPECT_FALSE(s.core.echo());
}

// ---- the claim ----

TEST(StandbyCore, TakesOverWhenGranted) {
  Standby s;
  s.claim(0);
  s.core.on_claim_answer(answer(ClaimResult::kGranted, 5), at(101));
  EXPECT_EQ(s.core.state(), StandbyState::kTakingOver);
  EXPECT_EQ(s.core.generation(), Generation{5});
  EXPECT_EQ(s.core.committed(), Epoch{7});
  s.core.on_takeover_done();
  EXPECT_EQ(s.core.state(), StandbyState::kActive);
}

TEST(StandbyCore, DropsItsCopyWhenTheGenerationIsTaken) {
  Standby s;
  s.claim(0);
  s.core.on_claim_answer(answer(ClaimResult::kTaken, 5), at(101));
  EXPECT_EQ(s.core.state(), StandbyState::kWaiting);
  EXPECT_EQ(s.core.committed(), Epoch{});
  EXPECT_TRUE(s.hello(102));
}

TEST(StandbyCore, AsksAgainWhenTheArbiterDoesNotAnswer) {
  Standby s;
  s.claim(0);
  EXPECT_FALSE(s.core.poll_claim()) << "one question at a time";
  s.core.on_claim_answer(answer(ClaimResult::kUnavailable, 5), at(110));
  EXPECT_EQ(s.core.next_deadline(), at(310));
  EXPECT_FALSE(s.claim_at(309));
  EXPECT_EQ(s.claim_at(310), Generation{5});
}

TEST(StandbyCore, IgnoresAnAnswerItDidNotAskFor) {
  Standby s;
  s.hold(0);
  s.core.on_claim_answer(answer(ClaimResult::kGranted, 5), at(1));
  EXPECT_EQ(s.core.state(), StandbyState::kHolding);
  s.core.on_deadline(at(100));
  s.core.poll_claim();
  s.core.on_claim_answer(answer(ClaimResult::kGranted, 6), at(101));
  EXPECT_EQ(s.core.state(), StandbyState::kClaiming);
}

TEST(StandbyCore, GoesBackToHoldingOnlyIfItsClaimIsSurelyNotRecorded) {
  Standby s;
  s.claim(0);
  s.core.on_heard(at(101), at(60));
  EXPECT_EQ(s.core.state(), StandbyState::kClaiming) << "the answer is outstanding";
  s.core.on_claim_answer(answer(ClaimResult::kUnavailable, 5, true), at(110));
  s.core.on_heard(at(111), at(61));
  EXPECT_EQ(s.core.state(), StandbyState::kHolding);
  EXPECT_EQ(s.core.next_deadline(), at(211));

  Standby t;
  t.claim(0);
  t.core.on_claim_answer(answer(ClaimResult::kUnavailable, 5, false), at(110));
  t.core.on_heard(at(111), at(61));
  EXPECT_EQ(t.core.state(), StandbyState::kClaiming);
  // That a later try did not reach the arbiter says nothing about the first.
  t.claim_at(310);
  t.core.on_claim_answer(answer(ClaimResult::kUnavailable, 5, true), at(311));
  t.core.on_heard(at(312), at(62));
  EXPECT_EQ(t.core.state(), StandbyState::kClaiming);
}

TEST(StandbyCore, DoesNotGoBackOverABrokenConnection) {
  Standby s;
  s.hold(0);
  s.core.on_link_lost(at(1));
  s.core.on_deadline(at(100));
  s.core.on_heard(at(101), at(60));
  EXPECT_EQ(s.core.state(), StandbyState::kClaiming);
}

// ---- told by the primary ----

TEST(StandbyCore, ClaimsAtOnceWhenThePrimaryHandsOverOrResigns) {
  for (const auto word : {&StandbyCore::on_handover_go, &StandbyCore::on_primary_failed}) {
    Standby s;
    s.hold(0);
    (s.core.*word)(at(1));
    EXPECT_EQ(s.core.poll_claim(), Generation{5});
    // There is nothing to go back to, however often the primary is heard.
    s.core.on_claim_answer(answer(ClaimResult::kUnavailable, 5, true), at(2));
    s.core.on_heard(at(3), at(3));
    EXPECT_EQ(s.core.state(), StandbyState::kClaiming);
    EXPECT_EQ(s.claim_at(202), Generation{5});
  }
}

TEST(StandbyCore, AHandOverNeedsACopy) {
  Standby s;
  s.hello(0);
  s.core.on_handover_go(at(1));
  s.core.on_primary_failed(at(1));
  EXPECT_EQ(s.core.state(), StandbyState::kSyncing);
}

TEST(StandbyCore, NeverResurrectsAGuestThatItsUserEnded) {
  Standby s;
  s.claim(0);
  s.core.on_guest_ended();
  EXPECT_EQ(s.core.state(), StandbyState::kEnded);
  s.core.on_claim_answer(answer(ClaimResult::kGranted, 5), at(101));
  EXPECT_EQ(s.core.state(), StandbyState::kEnded);
  EXPECT_FALSE(s.claim_at(9999));
}

TEST(StandbyCore, AGuestThatRunsHereIsNotEndedByItsFormerPrimary) {
  Standby s;
  s.claim(0);
  s.core.on_claim_answer(answer(ClaimResult::kGranted, 5), at(101));
  s.core.on_guest_ended();
  EXPECT_EQ(s.core.state(), StandbyState::kTakingOver);
}

// ---- a copy that is wrong ----

TEST(StandbyCore, ForgetsACopyThatThePrimaryFoundWrongAndNeverClaimsWithIt) {
  Standby s;
  s.hold(0);
  EXPECT_TRUE(s.core.on_copy_wrong("page 7 differs"));
  EXPECT_EQ(s.core.state(), StandbyState::kWaiting);
  EXPECT_EQ(s.core.committed(), Epoch{});
  EXPECT_EQ(s.core.last_reason(), "the primary found this copy wrong: page 7 differs");
  EXPECT_FALSE(s.core.echo());
  s.core.on_link_lost(at(1));
  EXPECT_FALSE(s.claim_at(10'000));
  EXPECT_TRUE(s.hello(10'001)) << "the same primary may begin again";
}

TEST(StandbyCore, DoesNotForgetOnceItHasBegunToClaim) {
  Standby s;
  s.claim(0);
  EXPECT_FALSE(s.core.on_copy_wrong("x"));
  EXPECT_EQ(s.core.state(), StandbyState::kClaiming);
}

// ---- every input in every state ----

const std::vector<std::function<void(Standby&, int64_t)>>& inputs() {
  static const std::vector<std::function<void(Standby&, int64_t)>> all = {
      [](Standby& s, int64_t ms) { s.hello(ms); },
      [](Standby& s, int64_t ms) { s.core.on_heard(at(ms), at(ms)); },
      [](Standby& s, int64_t ms) { s.core.on_link_lost(at(ms)); },
      [](Standby& s, int64_t ms) { s.core.on_epoch_whole(s.core.committed().next(), at(ms)); },
      [](Standby& s, int64_t ms) { s.core.on_epoch_whole(Epoch{99}, at(ms)); },
      [](Standby& s, int64_t ms) { s.core.on_handover_go(at(ms)); },
      [](Standby& s, int64_t ms) { s.core.on_primary_failed(at(ms)); },
      [](Standby& s, int64_t ms) { s.core.on_deadline(at(ms)); },
      [](Standby& s, int64_t) { s.core.poll_claim(); },
      [](Standby& s, int64_t ms) { s.core.on_claim_answer(answer(ClaimResult::kGranted, 5), at(ms)); },
      [](Standby& s, int64_t ms) { s.core.on_claim_answer(answer(ClaimResult::kTaken, 5), at(ms)); },
      [](Standby& s, int64_t ms) { s.core.on_claim_answer(answer(ClaimResult::kUnavailable, 5), at(ms)); },
      [](Standby& s, int64_t ms) { s.core.on_claim_answer(answer(ClaimResult::kUnavailable, 5, true), at(ms)); },
      [](Standby& s, int64_t) {
        if (s.core.state() == StandbyState::kTakingOver) s.core.on_takeover_done();
      },
      [](Standby& s, int64_t) { s.core.on_guest_ended(); },
      [](Standby& s, int64_t) { s.core.on_copy_wrong("x"); },
  };
  return all;
}

TEST(StandbyCore, EveryInputIsHarmlessInEveryState) {
  const std::vector<std::pair<StandbyState, std::function<void(Standby&)>>> ways = {
      {StandbyState::kWaiting, [](Standby&) {}},
      {StandbyState::kSyncing, [](Standby& s) { s.hello(0); }},
      {StandbyState::kHolding, [](Standby& s) { s.hold(0); }},
      {StandbyState::kClaiming, [](Standby& s) { s.claim(0); }},
      {StandbyState::kTakingOver,
       [](Standby& s) {
         s.claim(0);
         s.core.on_claim_answer(answer(ClaimResult::kGranted, 5), at(1));
       }},
      {StandbyState::kEnded, [](Standby& s) { s.core.on_guest_ended(); }},
  };
  for (const auto& [state, way] : ways)
    for (size_t first = 0; first < inputs().size(); ++first)
      for (size_t second = 0; second < inputs().size(); ++second) {
        Standby s;
        way(s);
        ASSERT_EQ(s.core.state(), state);
        inputs()[first](s, 500);
        inputs()[second](s, 1000);
        EXPECT_STRNE(to_string(s.core.state()), "?");
      }
}

RC_GTEST_PROP(StandbyCoreProperty, NoClaimWithinTheDetectionTimeOfAnEcho, ()) {
  Standby s;
  int64_t ms = 0;
  std::optional<int64_t> promised;  // when an echo was last on offer
  bool told = false;                // by the primary that it has let go
  for (const size_t choice :
       *rc::gen::container<std::vector<size_t>>(150, rc::gen::inRange<size_t>(0, inputs().size()))) {
    ms += *rc::gen::inRange(0, 60);
    const StandbyState before = s.core.state();
    told |= before == StandbyState::kHolding && (choice == 5 || choice == 6);
    if (before == StandbyState::kWaiting) told = false;
    inputs()[choice](s, ms);
    // What is heard renews the promise; only then does the echo carry a new time.
    if (choice == 1 && s.core.echo()) promised = ms;
    if (before == StandbyState::kHolding && s.core.state() == StandbyState::kClaiming && !told && promised)
      RC_ASSERT(ms - *promised >= 100);
    if (s.core.state() == StandbyState::kClaiming) RC_ASSERT(!s.core.echo());
    if (before == StandbyState::kEnded) RC_ASSERT(s.core.state() == before);
    if (s.core.state() == StandbyState::kTakingOver && before != StandbyState::kTakingOver)
      RC_ASSERT(before == StandbyState::kClaiming);
  }
}

}  // namespace
}  // namespace us
