// Short runs with given faults at given times.  First what must always work, then one for each fault that the
// simulation or a reader has found in the cores.
#include <gtest/gtest.h>

#include <algorithm>

#include "sim/host.h"
#include "sim/judge.h"
#include "sim/simulation.h"

namespace us::sim {
namespace {

constexpr Duration ms(int64_t n) { return Duration::millis(n); }

void strike_at(Lab& lab, int64_t when, FaultKind kind, int64_t length) {
  lab.world.after(ms(when), "script", [&lab, kind, length] { strike(lab, kind, ms(length)); });
}

// The host that runs the guest; null if none does.
PrimaryNode* running(Lab& lab) {
  for (HostId id : kHosts)
    if (PrimaryNode* primary = lab.host(id).primary(); primary != nullptr && primary->guest() != nullptr)
      return primary;
  return nullptr;
}

RunResult play(std::function<void(Lab&)> script, uint64_t seed = 1, bool shared_disk = false) {
  RunOptions options;
  options.seed = seed;
  options.random = false;
  options.shared_disk = shared_disk;
  options.script = std::move(script);
  RunResult result = run(options);
  if (!result.passed)
    for (size_t i = result.trace.size() - std::min<size_t>(60, result.trace.size()); i < result.trace.size(); ++i)
      std::printf("%s\n", result.trace[i].c_str());
  EXPECT_TRUE(result.passed) << result.violation;
  return result;
}

TEST(Simulation, WithoutFaultsTheVmIsProtectedAndNobodyTakesOver) {
  const RunResult result = play({});
  EXPECT_EQ(result.takeovers, 0u);
  EXPECT_GT(result.commits, 20u);
  EXPECT_GT(result.releases, 100u);
}

TEST(Simulation, AKilledPrimaryIsTakenOverOnce) {
  const RunResult result = play([](Lab& lab) { strike_at(lab, 200, FaultKind::kKillPrimary, 100); });
  EXPECT_EQ(result.takeovers, 1u);
  EXPECT_FALSE(result.lost);
}

TEST(Simulation, AHandOverMovesTheGuestAndLosesNothing) {
  const RunResult result = play([](Lab& lab) {
    strike_at(lab, 200, FaultKind::kSwitchover, 0);
    lab.world.after(ms(300), "look", [&lab] {
      ASSERT_NE(lab.host(HostId::kB).primary(), nullptr);
      EXPECT_EQ(lab.host(HostId::kB).primary()->core().generation(), Generation{2});
    });
  });
  EXPECT_EQ(result.takeovers, 1u);
}

TEST(Simulation, AnEndedGuestStaysEnded) {
  const RunResult result = play([](Lab& lab) { strike_at(lab, 200, FaultKind::kGuestShutsDown, 0); });
  EXPECT_TRUE(result.ended);
  EXPECT_EQ(result.takeovers, 0u);
}

TEST(Simulation, TheSameSeedIsTheSameRun) {
  RunOptions options;
  options.seed = 77;
  options.keep_trace = true;
  const RunResult a = run(options), b = run(options);
  EXPECT_EQ(a.steps, b.steps);
  EXPECT_EQ(a.trace, b.trace);
}

// ---- found ----

// Two epochs in flight when the standby was lost kept the next standby from ever being protected.
TEST(SimulationFound, ProtectionComesBackAfterAStandbyIsLostWithTwoEpochsInFlight) {
  play([](Lab& lab) { strike_at(lab, 200, FaultKind::kCutFromStandby, 600); });
}

// A claim that was recorded although its answer was lost, and then the link came back: the pair went on, and a later
// crash of the one was the end of the other.
TEST(SimulationFound, AClaimWhoseAnswerWasLostIsNotForgottenWhenTheLinkComesBack) {
  const RunResult result = play([](Lab& lab) {
    lab.world.after(ms(190), "script", [&lab] {
      for (HostId id : kHosts) lab.arbiter.access(id).answer_lost = 1;
    });
    strike_at(lab, 200, FaultKind::kCutAll, 108);
    lab.world.after(ms(330), "script", [&lab] { lab.arbiter.mend(); });
    strike_at(lab, 700, FaultKind::kKillStandby, 100);
  });
  EXPECT_FALSE(result.lost);
}

// The same with a claim that is recorded only later, and a try in between that did not reach the arbiter.
TEST(SimulationFound, AFailedSecondTryDoesNotExcuseTheFirst) {
  play([](Lab& lab) {
    SimArbiter::Access& access = lab.arbiter.access(HostId::kB);
    lab.world.after(ms(190), "script", [&access] { access.recorded_late = 1; });
    strike_at(lab, 200, FaultKind::kCutAll, 240);
    lab.world.after(ms(350), "script", [&lab, &access] {
      access.reachable = false;
      lab.arbiter.access(HostId::kA).reachable = false;
    });
  });
}

// The moment of isolation fell into a capture: its epoch was dropped, and when the standby was heard again there was a
// gap.
TEST(SimulationFound, AnEpochCapturedWhileTheStandbyWasSilentIsNotDropped) {
  for (int64_t start = 200; start < 230; ++start)
    for (uint64_t seed : {1, 2, 3}) {
      play([start](Lab& lab) { strike_at(lab, start, FaultKind::kCutDatagrams, 97); }, seed);
      if (testing::Test::HasFailure()) return;
    }
}

// The restore failed after the primary had begun to ask for the generation that it had given away.
TEST(SimulationFound, AFailedHandOverIsMendedEvenWhenAClaimIsOnItsWay) {
  const RunResult result = play([](Lab& lab) {
    SimArbiter::Access& primary = lab.arbiter.access(HostId::kA);
    SimArbiter::Access& standby = lab.arbiter.access(HostId::kB);
    primary.delay_low = primary.delay_high = ms(300);
    standby.delay_low = standby.delay_high = ms(560);
    lab.restore_fails[index_of(HostId::kB)] = true;
    strike_at(lab, 100, FaultKind::kSwitchover, 0);
    lab.world.after(ms(899), "look", [&lab] { EXPECT_EQ(running(lab)->core().state(), PrimaryState::kResigned); });
  });
  EXPECT_FALSE(result.lost);
  EXPECT_EQ(result.takeovers, 1u);
}

// A standby that had been told to go went back to waiting because the primary's heartbeats went on.
TEST(SimulationFound, AHandOverIsCompletedAsSoonAsTheStandbyAloneReachesTheArbiter) {
  play([](Lab& lab) {
    lab.failover.ack_timeout = Duration::seconds(30);  // the primary does not ask
    for (HostId id : kHosts) lab.arbiter.access(id).reachable = false;
    strike_at(lab, 100, FaultKind::kSwitchover, 0);
    lab.world.after(ms(250), "script", [&lab] { lab.arbiter.access(HostId::kB).reachable = true; });
    lab.world.after(ms(800), "look", [&lab] {
      ASSERT_NE(running(lab), nullptr);
      EXPECT_EQ(running(lab)->core().generation(), Generation{2});
    });
  });
}

// A primary that lost its power while synchronising kept its standby for ever.
TEST(SimulationFound, AStandbyIsFreeAgainAfterItsPrimaryVanishesWhileSynchronising) {
  play([](Lab& lab) {
    lab.world.after(Duration::micros(3600), "script", [&lab] {
      ASSERT_EQ(lab.host(HostId::kB).standby()->core().state(), StandbyState::kSyncing);
      strike(lab, FaultKind::kPowerOffPrimary, Duration::seconds(5));
    });
    lab.world.after(ms(850), "look",
                    [&lab] { EXPECT_EQ(lab.host(HostId::kB).standby()->core().state(), StandbyState::kWaiting); });
  });
}

TEST(SimulatedDisk, AStandbyWhoseImageIsNotConsistentYetDoesNotAcknowledge) {
  // Its disk fails for good just before the end of the synchronisation: nobody has died, so nothing may be lost.
  const RunResult result = play([](Lab& lab) {
    lab.host(HostId::kB).disk_slow = ms(2);
    strike_at(lab, 12, FaultKind::kDiskFailsStandby, 400);
  });
  EXPECT_EQ(result.takeovers, 0u);
  EXPECT_FALSE(result.lost);
}

TEST(SimulatedDisk, ASlowStandbyDiskSlowsTheGuestAndOverflowsNothing) {
  const RunResult result = play([](Lab& lab) { strike_at(lab, 200, FaultKind::kDiskSlowStandby, 600); });
  EXPECT_EQ(result.takeovers, 0u);
}

TEST(SimulatedDisk, ATakeoverWhileThePreviousEpochsAreBeingApplied) {
  const RunResult result = play([](Lab& lab) {
    strike_at(lab, 150, FaultKind::kDiskSlowStandby, 400);
    strike_at(lab, 200, FaultKind::kPowerOffPrimary, 100);
  });
  EXPECT_EQ(result.takeovers, 1u);
  EXPECT_FALSE(result.lost);
}

TEST(SimulatedDisk, AnOldPrimaryIsBroughtUpToDateAndTakesOverAgain) {
  const RunResult result = play([](Lab& lab) {
    strike_at(lab, 200, FaultKind::kPowerOffPrimary, 60);
    strike_at(lab, 800, FaultKind::kPowerOffPrimary, 60);
  });
  EXPECT_EQ(result.takeovers, 2u);
  EXPECT_FALSE(result.lost);
}

// ---- one image for both ----

RunResult play_shared(std::function<void(Lab&)> script) { return play(std::move(script), 1, true); }

TEST(SimulatedSharedDisk, TheStandbyWritesWhatHasCommitted) {
  const RunResult result = play_shared(
      [](Lab& lab) { lab.world.after(ms(400), "look", [&lab] { EXPECT_EQ(lab.image_holder, HostId::kB); }); });
  EXPECT_EQ(result.takeovers, 0u);
  EXPECT_GT(result.commits, 20u);
}

TEST(SimulatedSharedDisk, ATakeoverFindsItsEpochAndTheOldPrimaryBecomesAStandby) {
  const RunResult result = play_shared([](Lab& lab) {
    strike_at(lab, 200, FaultKind::kPowerOffPrimary, 60);
    strike_at(lab, 800, FaultKind::kKillPrimary, 60);
  });
  EXPECT_EQ(result.takeovers, 2u);
  EXPECT_FALSE(result.lost);
}

TEST(SimulatedSharedDisk, APrimaryThatLosesItsStandbyInTheMiddleOfABatchTakesTheImageBack) {
  const RunResult result = play_shared([](Lab& lab) {
    strike_at(lab, 150, FaultKind::kDiskSlowStandby, 400);
    strike_at(lab, 230, FaultKind::kPowerOffStandby, 900);
    lab.world.after(ms(1000), "look", [&lab] { EXPECT_EQ(lab.image_holder, HostId::kA); });
  });
  EXPECT_EQ(result.takeovers, 0u);
  EXPECT_FALSE(result.lost);
}

TEST(SimulatedSharedDisk, AFrozenPrimaryWritesNothingWhenItWakesUp) {
  const RunResult result = play_shared([](Lab& lab) { strike_at(lab, 200, FaultKind::kFreezePrimary, 700); });
  EXPECT_EQ(result.takeovers, 1u);
}

TEST(SimulatedSharedDisk, AFrozenStandbyKeepsTheImageUntilItWakesUpAndTheGuestOnlyWaits) {
  const RunResult result = play_shared([](Lab& lab) { strike_at(lab, 200, FaultKind::kFreezeStandby, 700); });
  EXPECT_EQ(result.takeovers, 0u);
  EXPECT_FALSE(result.lost);
}

TEST(SimulatedSharedDisk, AHandOverMovesTheImageWithTheGuest) {
  const RunResult result = play_shared([](Lab& lab) { strike_at(lab, 200, FaultKind::kSwitchover, 0); });
  EXPECT_EQ(result.takeovers, 1u);
}

TEST(SimulatedSharedDisk, WhatTheGuestWroteBeforeItsEndIsOnTheImage) {
  const RunResult result = play_shared([](Lab& lab) { strike_at(lab, 220, FaultKind::kGuestShutsDown, 0); });
  EXPECT_TRUE(result.ended);
}

}  // namespace
}  // namespace us::sim
