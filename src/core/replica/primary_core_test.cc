#include "core/replica/primary_core.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <functional>

namespace us {
namespace {

constexpr Instant at(int64_t ms) { return Instant::from_nanos(1'000'000'000) + Duration::millis(ms); }

ClaimAnswer granted(uint64_t generation) { return {Generation{generation}, ClaimResult::kGranted, "a", ""}; }
ClaimAnswer taken(uint64_t generation) { return {Generation{generation}, ClaimResult::kTaken, "b", ""}; }
ClaimAnswer lost(uint64_t generation) { return {Generation{generation}, ClaimResult::kUnavailable, "", "x"}; }
ClaimAnswer unreachable(uint64_t generation) {
  return {Generation{generation}, ClaimResult::kUnavailable, "", "x", true};
}

// A primary of generation 1 and the way into each of its states.  detection 100 ms, lease 90, primary_delay 300.
struct Primary {
  FailoverConfig config;
  PrimaryCore core{config, Generation{1}};

  void sync(int64_t ms) { core.on_link_up(at(ms)); }
  // First epoch cut and acknowledged at `ms`, the standby heard then.
  void protect(int64_t ms) {
    sync(ms);
    core.on_heard(at(ms), at(ms));
    core.on_cut(Epoch{1}, at(ms));
    EXPECT_TRUE(core.on_ack(Epoch{1}, at(ms)));
  }
  std::optional<Generation> claim_at(int64_t ms) {
    core.on_deadline(at(ms));
    return core.poll_claim();
  }
  void resign(int64_t ms) {
    protect(ms);
    EXPECT_TRUE(core.on_switchover_requested(at(ms)));
    core.on_cut(Epoch{2}, at(ms));
    core.on_ack(Epoch{2}, at(ms));
    core.on_handover_go_sent(at(ms));
  }
};

// ---- release ----

TEST(PrimaryCore, ReleasesAloneUntilTheFirstCut) {
  Primary p;
  EXPECT_EQ(p.core.gate_mode(), GateMode::kSolo);
  p.sync(0);
  EXPECT_EQ(p.core.state(), PrimaryState::kSyncing);
  EXPECT_EQ(p.core.gate_mode(), GateMode::kSolo);
  p.core.on_cut(Epoch{1}, at(1));
  EXPECT_EQ(p.core.state(), PrimaryState::kProtected);
  EXPECT_EQ(p.core.gate_mode(), GateMode::kProtected);
}

TEST(PrimaryCore, IsCoveredOnlyOnceTheStandbyHasAnEpochOfTheSession) {
  Primary p;
  p.sync(0);
  p.core.on_cut(Epoch{1}, at(1));
  EXPECT_FALSE(p.core.covered());
  p.core.on_ack(Epoch{1}, at(900));
  EXPECT_TRUE(p.core.covered());

  // The next standby begins with nothing.
  p.core.on_link_lost(at(1000));
  ASSERT_TRUE(p.claim_at(2000));
  p.core.on_claim_answer(granted(2), at(2000));
  p.sync(2100);
  EXPECT_FALSE(p.core.covered());
  p.core.on_ack(Epoch{1}, at(2101));
  EXPECT_FALSE(p.core.covered());
  p.core.on_cut(Epoch{2}, at(2200));
  p.core.on_ack(Epoch{2}, at(2300));
  EXPECT_TRUE(p.core.covered());
}

TEST(PrimaryCore, TheLeaseCountsFromWhatTheStandbyEchoedAndNeverShrinks) {
  Primary p;
  p.protect(0);
  p.core.on_heard(at(50), at(10));
  EXPECT_EQ(p.core.lease_until(), at(100));  // 10 + 90, not 50 + 90
  p.core.on_heard(at(60), at(5));
  EXPECT_EQ(p.core.lease_until(), at(100));
}

TEST(PrimaryCore, TheLeaseEndsBeforeTheStandbyMayClaim) {
  const FailoverConfig config;
  EXPECT_LT(config.lease(), config.detection);
  // Clocks that differ by 200 ppm each eat less than the margin.
  EXPECT_GT((config.detection - config.lease()).to_nanos(), config.detection.to_nanos() / 1'000'000 * 400);
}

TEST(PrimaryCore, AnAcknowledgementCommitsUpToItsEpochOnly) {
  Primary p;
  p.protect(0);
  p.core.on_cut(Epoch{2}, at(1));
  p.core.on_cut(Epoch{3}, at(2));
  EXPECT_TRUE(p.core.on_ack(Epoch{2}, at(3)));
  EXPECT_EQ(p.core.committed(), Epoch{2});
  EXPECT_TRUE(p.core.on_ack(Epoch{1}, at(4)));  // late and harmless
  EXPECT_EQ(p.core.committed(), Epoch{2});
}

TEST(PrimaryCore, RefusesAnAcknowledgementOfWhatWasNeverCut) {
  Primary p;
  p.protect(0);
  EXPECT_FALSE(p.core.on_ack(Epoch{2}, at(1)));
  EXPECT_EQ(p.core.committed(), Epoch{1});
}

TEST(PrimaryCore, HoldsTheNextCutWhileTooManyEpochsAreInFlight) {
  Primary p;
  p.protect(0);
  p.core.on_cut(Epoch{2}, at(1));
  EXPECT_TRUE(p.core.may_cut());
  p.core.on_cut(Epoch{3}, at(2));
  EXPECT_FALSE(p.core.may_cut());
  p.core.on_ack(Epoch{2}, at(3));
  EXPECT_TRUE(p.core.may_cut());
}

// ---- losing the standby ----

TEST(PrimaryCore, NeedsNoArbiterForAStandbyLostBeforeTheFirstCut) {
  Primary p;
  p.sync(0);
  p.core.on_link_lost(at(1));
  EXPECT_EQ(p.core.state(), PrimaryState::kSolo);
  EXPECT_EQ(p.core.generation(), Generation{1});
}

TEST(PrimaryCore, GivesUpASilentSynchronisation) {
  Primary p;
  p.sync(0);
  p.core.on_deadline(at(2999));
  EXPECT_EQ(p.core.state(), PrimaryState::kSyncing);
  EXPECT_EQ(p.core.next_deadline(), at(3000));
  p.core.on_deadline(at(3000));
  EXPECT_EQ(p.core.state(), PrimaryState::kSolo);
}

TEST(PrimaryCore, LetsTheStandbyGoFirstThenClaims) {
  Primary p;
  p.protect(0);
  p.core.on_deadline(at(99));
  EXPECT_EQ(p.core.state(), PrimaryState::kProtected);
  p.core.on_deadline(at(100));
  EXPECT_EQ(p.core.state(), PrimaryState::kIsolated);
  EXPECT_EQ(p.core.gate_mode(), GateMode::kProtected);  // what the lease still covers may leave
  EXPECT_FALSE(p.claim_at(399));
  EXPECT_EQ(p.core.next_deadline(), at(400));
  EXPECT_EQ(p.claim_at(400), Generation{2});
  EXPECT_FALSE(p.claim_at(500)) << "one question at a time";
}

TEST(PrimaryCore, ABrokenLinkIsolatesAtOnceAndAnUnacknowledgedEpochWithoutDelay) {
  Primary p;
  p.protect(0);
  p.core.on_link_lost(at(10));
  EXPECT_EQ(p.core.state(), PrimaryState::kIsolated);
  EXPECT_EQ(p.core.next_deadline(), at(310));

  Primary q;
  q.protect(0);
  q.core.on_cut(Epoch{2}, at(10));
  for (int64_t t = 0; t <= 5010; t += 10) q.core.on_heard(at(t), at(t));
  EXPECT_EQ(q.core.next_deadline(), at(5010));
  EXPECT_EQ(q.claim_at(5010), Generation{2});
}

TEST(PrimaryCore, GoesOnAloneInTheNewGenerationWhenGranted) {
  Primary p;
  p.protect(0);
  p.core.on_deadline(at(100));
  p.claim_at(400);
  p.core.on_claim_answer(granted(2), at(401));
  EXPECT_EQ(p.core.state(), PrimaryState::kSolo);
  EXPECT_EQ(p.core.generation(), Generation{2});
  EXPECT_EQ(p.core.gate_mode(), GateMode::kSolo);
  EXPECT_TRUE(p.core.may_send_heartbeat());
}

TEST(PrimaryCore, IsFencedForEverWhenTheGenerationIsTaken) {
  Primary p;
  p.protect(0);
  p.core.on_deadline(at(100));
  p.claim_at(400);
  p.core.on_claim_answer(taken(2), at(401));
  EXPECT_EQ(p.core.state(), PrimaryState::kFenced);
  EXPECT_EQ(p.core.gate_mode(), GateMode::kHeld);
  p.core.on_heard(at(402), at(402));
  p.core.on_claim_answer(granted(2), at(403));
  p.core.on_deadline(at(9999));
  EXPECT_EQ(p.core.state(), PrimaryState::kFenced);
}

TEST(PrimaryCore, AsksAgainWhenTheArbiterDoesNotAnswer) {
  Primary p;
  p.protect(0);
  p.core.on_deadline(at(100));
  p.claim_at(400);
  p.core.on_claim_answer(lost(2), at(410));
  EXPECT_EQ(p.core.state(), PrimaryState::kIsolated);
  EXPECT_FALSE(p.claim_at(609));
  EXPECT_EQ(p.claim_at(610), Generation{2});
}

// ---- and finding it again ----

TEST(PrimaryCore, GoesOnAsBeforeWhenTheStandbyIsHeardAgainInTime) {
  Primary p;
  p.protect(0);
  p.core.on_deadline(at(100));
  p.core.on_heard(at(110), at(105));
  EXPECT_EQ(p.core.state(), PrimaryState::kProtected);
  EXPECT_FALSE(p.claim_at(150));
}

TEST(PrimaryCore, AnOldEchoDoesNotBringItBack) {
  Primary p;
  p.protect(0);
  p.core.on_deadline(at(100));
  p.core.on_heard(at(110), at(15));
  EXPECT_EQ(p.core.state(), PrimaryState::kIsolated);
}

TEST(PrimaryCore, ABrokenLinkDoesNotComeBack) {
  Primary p;
  p.protect(0);
  p.core.on_link_lost(at(10));
  p.core.on_heard(at(20), at(19));
  EXPECT_EQ(p.core.state(), PrimaryState::kIsolated);
}

TEST(PrimaryCore, ThereIsNoWayBackBehindAClaimThatMayBeRecorded) {
  Primary p;
  p.protect(0);
  p.core.on_deadline(at(100));
  p.claim_at(400);
  p.core.on_heard(at(401), at(401));
  EXPECT_EQ(p.core.state(), PrimaryState::kIsolated) << "the answer is outstanding";
  EXPECT_FALSE(p.core.may_send_heartbeat()) << "the standby must be free to ask as well";
  p.core.on_claim_answer(lost(2), at(410));
  p.core.on_heard(at(411), at(411));
  EXPECT_EQ(p.core.state(), PrimaryState::kIsolated) << "the answer was lost, the claim perhaps not";
  // That a later try did not reach the arbiter says nothing about the first.
  p.claim_at(610);
  p.core.on_claim_answer(unreachable(2), at(611));
  p.core.on_heard(at(612), at(612));
  EXPECT_EQ(p.core.state(), PrimaryState::kIsolated);
  EXPECT_FALSE(p.core.may_send_heartbeat());
}

TEST(PrimaryCore, ThereIsAWayBackFromAnArbiterOutOfReach) {
  Primary p;
  p.protect(0);
  p.core.on_deadline(at(100));
  p.claim_at(400);
  p.core.on_claim_answer(unreachable(2), at(410));
  EXPECT_TRUE(p.core.may_send_heartbeat());
  p.core.on_heard(at(420), at(415));
  EXPECT_EQ(p.core.state(), PrimaryState::kProtected);
}

TEST(PrimaryCore, AnEpochCapturedWhileItBecameIsolatedCounts) {
  Primary p;
  p.protect(0);
  p.core.on_deadline(at(100));  // in the middle of the capture of epoch 2
  ASSERT_TRUE(p.core.takes_cut());
  p.core.on_cut(Epoch{2}, at(101));
  p.core.on_heard(at(110), at(105));
  EXPECT_EQ(p.core.state(), PrimaryState::kProtected);
  p.core.on_cut(Epoch{3}, at(125));  // no gap
  EXPECT_EQ(p.core.last_cut(), Epoch{3});
}

TEST(PrimaryCore, NothingOfAnEarlierStandbyHoldsUpTheNext) {
  Primary p;
  p.protect(0);
  p.core.on_cut(Epoch{2}, at(1));
  p.core.on_cut(Epoch{3}, at(2));  // two in flight
  p.core.on_link_lost(at(3));
  p.claim_at(303);
  p.core.on_claim_answer(granted(2), at(304));
  p.sync(400);
  EXPECT_TRUE(p.core.may_cut());
  p.core.on_cut(Epoch{4}, at(401));
  EXPECT_EQ(p.core.committed(), Epoch{3});
  EXPECT_TRUE(p.core.may_cut());
}

// ---- planned hand-over ----

TEST(PrimaryCore, OnlyAProtectedVmCanBeHandedOver) {
  Primary p;
  EXPECT_FALSE(p.core.on_switchover_requested(at(0)));
  p.sync(0);
  EXPECT_FALSE(p.core.on_switchover_requested(at(0)));
}

TEST(PrimaryCore, HandsOverOnceTheFinalEpochIsCommitted) {
  Primary p;
  p.protect(0);
  ASSERT_TRUE(p.core.on_switchover_requested(at(1)));
  EXPECT_TRUE(p.core.wants_final_cut());
  EXPECT_TRUE(p.core.may_cut());
  p.core.on_cut(Epoch{2}, at(2));
  EXPECT_FALSE(p.core.wants_final_cut());
  EXPECT_FALSE(p.core.may_cut());
  EXPECT_FALSE(p.core.handover_ready());
  p.core.on_ack(Epoch{2}, at(3));
  EXPECT_TRUE(p.core.handover_ready());
  EXPECT_EQ(p.core.gate_mode(), GateMode::kProtected);
  p.core.on_handover_go_sent(at(4));
  EXPECT_EQ(p.core.gate_mode(), GateMode::kHeld) << "the standby may run from here on";
  p.core.on_handover_done(at(5));
  EXPECT_EQ(p.core.state(), PrimaryState::kHandedOver);
}

TEST(PrimaryCore, AsksTheArbiterWhenTheHandOverIsNotConfirmed) {
  Primary p;
  p.resign(0);
  EXPECT_FALSE(p.claim_at(4999));
  EXPECT_EQ(p.claim_at(5000), Generation{2});
  p.core.on_claim_answer(granted(2), at(5001));
  EXPECT_EQ(p.core.state(), PrimaryState::kSolo);
  EXPECT_TRUE(p.core.wants_resume());
  p.core.on_resumed();
  EXPECT_FALSE(p.core.wants_resume());

  Primary q;
  q.resign(0);
  q.core.on_link_lost(at(10));
  EXPECT_EQ(q.claim_at(310), Generation{2});
}

TEST(PrimaryCore, SkipsTheGenerationThatAFailedHandOverHasSpent) {
  Primary p;
  p.resign(0);
  p.core.on_handover_aborted(at(20));
  EXPECT_EQ(p.claim_at(20), Generation{3});
  p.core.on_claim_answer(granted(3), at(21));
  EXPECT_EQ(p.core.state(), PrimaryState::kSolo);
  EXPECT_EQ(p.core.generation(), Generation{3});
}

TEST(PrimaryCore, AnAnswerThatAnAbortHasOvertakenIsNotWaitedFor) {
  Primary p;
  p.resign(0);
  EXPECT_EQ(p.claim_at(5000), Generation{2});
  p.core.on_handover_aborted(at(5010));
  EXPECT_FALSE(p.claim_at(5011));
  p.core.on_claim_answer(taken(2), at(5020));
  EXPECT_EQ(p.core.state(), PrimaryState::kIsolated) << "generation 2 is the one that was spent";
  EXPECT_EQ(p.claim_at(5021), Generation{3});
}

TEST(PrimaryCore, ComesBackToTheHandOverWhenTheStandbyIsHeardAgain) {
  Primary p;
  p.protect(0);
  p.core.on_switchover_requested(at(1));
  p.core.on_cut(Epoch{2}, at(2));
  p.core.on_deadline(at(100));
  ASSERT_EQ(p.core.state(), PrimaryState::kIsolated);
  p.core.on_heard(at(110), at(109));
  EXPECT_EQ(p.core.state(), PrimaryState::kHandingOver);
}

// ---- ends ----

TEST(PrimaryCore, WhoseGuestIsEndingTakesTheStandbysSilenceForWhatItIs) {
  Primary p;
  p.protect(0);
  p.core.on_guest_ending();
  EXPECT_EQ(p.claim_at(10'000), std::nullopt);
  EXPECT_EQ(p.core.state(), PrimaryState::kProtected);
  EXPECT_EQ(p.core.next_deadline(), Instant::far_future());
  p.core.on_link_lost(at(10'001));
  EXPECT_EQ(p.claim_at(20'000), std::nullopt);
  p.core.on_guest_ended();
  EXPECT_EQ(p.core.state(), PrimaryState::kEnded);
}

TEST(PrimaryCore, AfterTheEndNothingIsReleasedOrClaimed) {
  for (const auto end : {&PrimaryCore::on_guest_ended, &PrimaryCore::on_fatal}) {
    Primary p;
    p.protect(0);
    (p.core.*end)();
    EXPECT_EQ(p.core.gate_mode(), GateMode::kHeld);
    p.core.on_link_lost(at(1));
    EXPECT_FALSE(p.claim_at(9999));
    EXPECT_EQ(p.core.next_deadline(), Instant::far_future());
  }
}

// ---- a copy that is wrong ----

TEST(PrimaryCore, GoesOnAloneWithoutTheArbiterOnceTheStandbyHasDroppedAWrongCopy) {
  Primary p;
  p.protect(0);
  EXPECT_TRUE(p.core.condemn_copy("page 7 differs", at(1)));
  EXPECT_EQ(p.core.state(), PrimaryState::kProtected);
  EXPECT_EQ(p.core.gate_mode(), GateMode::kProtected) << "the standby may still take over";
  EXPECT_FALSE(p.core.covered());
  EXPECT_FALSE(p.core.may_cut());
  EXPECT_FALSE(p.core.on_switchover_requested(at(2)));
  EXPECT_TRUE(p.core.on_copy_dropped());
  EXPECT_EQ(p.core.state(), PrimaryState::kSolo);
  EXPECT_EQ(p.core.generation(), Generation{1});
  EXPECT_EQ(p.core.last_reason(), "page 7 differs");
  p.core.on_link_lost(at(3));
  EXPECT_EQ(p.core.state(), PrimaryState::kSolo);
  p.sync(4);
  EXPECT_TRUE(p.core.may_cut()) << "the next copy is a new one";
}

TEST(PrimaryCore, DoesNotBelieveADropThatItDidNotAskFor) {
  Primary p;
  p.protect(0);
  EXPECT_FALSE(p.core.on_copy_dropped());
  EXPECT_EQ(p.core.state(), PrimaryState::kProtected);
}

TEST(PrimaryCore, OnlyAProtectedVmHasACopyToCondemn) {
  Primary p;
  EXPECT_FALSE(p.core.condemn_copy("x", at(0)));
  p.sync(0);
  EXPECT_FALSE(p.core.condemn_copy("x", at(0)));
  Primary q;
  q.protect(0);
  EXPECT_TRUE(q.core.on_switchover_requested(at(0)));
  EXPECT_FALSE(q.core.condemn_copy("x", at(0)));
}

TEST(PrimaryCore, AsksTheArbiterWhenTheStandbyDoesNotSayThatItDroppedItsCopy) {
  Primary p;
  p.protect(0);
  EXPECT_TRUE(p.core.condemn_copy("x", at(0)));
  for (int64_t t = 0; t <= 5000; t += 10) p.core.on_heard(at(t), at(t));
  EXPECT_FALSE(p.claim_at(4999));
  EXPECT_EQ(p.core.next_deadline(), at(5000));
  EXPECT_EQ(p.claim_at(5000), Generation{2});
  EXPECT_TRUE(p.core.on_copy_dropped());
  EXPECT_EQ(p.core.state(), PrimaryState::kIsolated) << "the arbiter has been asked: it decides";
}

// ---- every input in every state ----

// What peer, network, clock and arbiter can bring at any time; the engine's own calls are made when they are allowed.
const std::vector<std::function<void(Primary&, int64_t)>>& inputs() {
  static const std::vector<std::function<void(Primary&, int64_t)>> all = {
      [](Primary& p, int64_t ms) { p.core.on_link_lost(at(ms)); },
      [](Primary& p, int64_t ms) { p.core.on_heard(at(ms), at(ms - 1)); },
      [](Primary& p, int64_t ms) { p.core.on_heard(at(ms), at(ms - 95)); },
      [](Primary& p, int64_t ms) { p.core.on_ack(p.core.last_cut(), at(ms)); },
      [](Primary& p, int64_t ms) { p.core.on_ack(p.core.last_cut().next(), at(ms)); },
      [](Primary& p, int64_t ms) { p.core.on_deadline(at(ms)); },
      [](Primary& p, int64_t ms) { p.core.on_claim_answer(granted(p.core.generation().value() + 1), at(ms)); },
      [](Primary& p, int64_t ms) { p.core.on_claim_answer(taken(p.core.generation().value() + 1), at(ms)); },
      [](Primary& p, int64_t ms) { p.core.on_claim_answer(lost(p.core.generation().value() + 1), at(ms)); },
      [](Primary& p, int64_t ms) { p.core.on_claim_answer(unreachable(p.core.generation().value() + 1), at(ms)); },
      [](Primary& p, int64_t ms) { p.core.on_handover_done(at(ms)); },
      [](Primary& p, int64_t ms) { p.core.on_handover_aborted(at(ms)); },
      [](Primary& p, int64_t ms) { p.core.on_switchover_requested(at(ms)); },
      [](Primary& p, int64_t) { p.core.poll_claim(); },
      [](Primary& p, int64_t ms) {
        if (p.core.state() == PrimaryState::kSolo) p.core.on_link_up(at(ms));
      },
      [](Primary& p, int64_t ms) {
        if (p.core.may_cut()) p.core.on_cut(p.core.last_cut().next(), at(ms));
      },
      [](Primary& p, int64_t ms) { p.core.condemn_copy("x", at(ms)); },
      [](Primary& p, int64_t) { p.core.on_copy_dropped(); },
      [](Primary& p, int64_t ms) {
        if (p.core.handover_ready()) p.core.on_handover_go_sent(at(ms));
      },
      [](Primary& p, int64_t) { p.core.on_guest_ended(); },
      [](Primary& p, int64_t) { p.core.on_fatal(); },
  };
  return all;
}

constexpr size_t kDropped = 17;  // in inputs()

bool is_final(PrimaryState s) {
  return s == PrimaryState::kFenced || s == PrimaryState::kHandedOver || s == PrimaryState::kEnded;
}

// `claimed`: there is an arbiter's answer that this core asked for.
void check_step(PrimaryState before, PrimaryState after, const Primary& p, bool dropped) {
  if (is_final(before) && before != PrimaryState::kEnded) RC_ASSERT(is_final(after));
  if (before == PrimaryState::kEnded) RC_ASSERT(after == before || after == PrimaryState::kFenced);
  if (is_final(after)) RC_ASSERT(p.core.gate_mode() == GateMode::kHeld);
  RC_ASSERT(p.core.committed() <= p.core.last_cut());
  // Alone only from alone, or by the arbiter's grant, or when no epoch had been cut, or when the standby has dropped
  // its copy.
  if (after == PrimaryState::kSolo && before != PrimaryState::kSolo)
    RC_ASSERT(before == PrimaryState::kSyncing || before == PrimaryState::kIsolated ||
              before == PrimaryState::kResigned || dropped);
}

RC_GTEST_PROP(PrimaryCoreProperty, AnyInputInAnyStateKeepsTheRules, ()) {
  Primary p;
  int64_t ms = 0;
  for (const size_t choice :
       *rc::gen::container<std::vector<size_t>>(200, rc::gen::inRange<size_t>(0, inputs().size()))) {
    // The two ends are rare, or no run would get far.
    if (choice + 2 >= inputs().size() && *rc::gen::inRange(0, 10) != 0) continue;
    ms += *rc::gen::inRange(0, 120);
    const PrimaryState before = p.core.state();
    const Generation generation = p.core.generation();
    inputs()[choice](p, ms);
    check_step(before, p.core.state(), p, choice == kDropped);
    RC_ASSERT(p.core.generation() >= generation);
    if (p.core.generation() > generation) RC_ASSERT(p.core.state() == PrimaryState::kSolo);
  }
}

TEST(PrimaryCore, EveryInputIsHarmlessInEveryState) {
  const std::vector<std::pair<PrimaryState, std::function<void(Primary&)>>> ways = {
      {PrimaryState::kSolo, [](Primary&) {}},
      {PrimaryState::kSyncing, [](Primary& p) { p.sync(0); }},
      {PrimaryState::kProtected, [](Primary& p) { p.protect(0); }},
      {PrimaryState::kIsolated,
       [](Primary& p) {
         p.protect(0);
         p.core.on_link_lost(at(0));
       }},
      {PrimaryState::kHandingOver,
       [](Primary& p) {
         p.protect(0);
         p.core.on_switchover_requested(at(0));
       }},
      {PrimaryState::kResigned, [](Primary& p) { p.resign(0); }},
      {PrimaryState::kHandedOver,
       [](Primary& p) {
         p.resign(0);
         p.core.on_handover_done(at(0));
       }},
      {PrimaryState::kFenced, [](Primary& p) { p.core.on_fatal(); }},
      {PrimaryState::kEnded, [](Primary& p) { p.core.on_guest_ended(); }},
  };
  for (const auto& [state, way] : ways)
    for (size_t first = 0; first < inputs().size(); ++first)
      for (size_t second = 0; second < inputs().size(); ++second) {
        Primary p;
        way(p);
        ASSERT_EQ(p.core.state(), state);
        inputs()[first](p, 500);
        inputs()[second](p, 1000);
        EXPECT_STRNE(to_string(p.core.state()), "?");
      }
}

}  // namespace
}  // namespace us
