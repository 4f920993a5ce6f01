#include "core/tcp/relay_replica_rig.h"

namespace us {
namespace {

class RelayReplicaTest : public RelayReplicaRig {};

TEST_F(RelayReplicaTest, RestoresAFlowAsOfTheCommittedEpochAndTheLaterIngress) {
  commit_new_flow();
  egress(0, 10);
  ingress(0, 20);
  ingress(30, 40);
  FlowState s = state(10, 20);
  s.from_peer.held = {{kPeer + 30, kPeer + 40}};
  s.to_peer.una = kGuest + 4;
  s.to_guest.una = kPeer + 5;
  const RelayCut at_cut = cut({s});
  egress(10, 15);
  ingress(20, 30);
  ingress(50, 55, true);
  commit(at_cut);

  const RestoredFlow flow = only_flow();
  EXPECT_EQ(flow.nic, 0);
  EXPECT_EQ(flow.state, s);
  EXPECT_EQ(flow.egress.range, (SeqRange{kGuest + 4, kGuest + 10}));
  EXPECT_EQ(joined(flow.egress.gather()), "EFGHIJ") << "what the guest said later, it will say again";
  EXPECT_EQ(flow.ingress.range, (SeqRange{kPeer + 5, kPeer + 20}));
  EXPECT_EQ(joined(flow.ingress.gather()), "fghijklmnopqrst");
  ASSERT_EQ(flow.held.size(), 1u);
  EXPECT_EQ(joined(flow.held[0].gather()), "efghijklmn");
  ASSERT_EQ(flow.later.size(), 2u);
  EXPECT_EQ(flow.later[0].stored, (SeqRange{kPeer + 20, kPeer + 30}));
  EXPECT_EQ(joined(flow.later[0].gather()), "uvwxyzabcd");
  EXPECT_FALSE(flow.later[0].fin);
  EXPECT_EQ(flow.later[1].stored, (SeqRange{kPeer + 50, kPeer + 56}));
  EXPECT_EQ(joined(flow.later[1].gather()), "yzabc");
  EXPECT_TRUE(flow.later[1].fin);
}

TEST_F(RelayReplicaTest, WithoutACommittedEpochThereIsNothingToTakeOver) {
  open(relay_sample::new_flow(1, kGuest, kPeer));
  ASSERT_TRUE(deliver());
  ASSERT_TRUE(stage(cut({state(0, 0)})));
  EXPECT_TRUE(replica_.take_over().empty());
  replica_.commit();
  EXPECT_EQ(replica_.take_over().size(), 1u);
}

TEST_F(RelayReplicaTest, AFlowThatThePeerOpenedAfterTheCutIsRestoredFromItsBeginning) {
  commit(cut({}));
  open(relay_sample::new_flow(1, kGuest, kPeer));
  ingress(0, 10);
  egress(0, 10);
  ASSERT_TRUE(deliver());
  const RestoredFlow flow = only_flow();
  FlowState expected = relay_sample::new_flow(1, kGuest, kPeer);
  expected.position = LogPosition(1);
  EXPECT_EQ(flow.state, expected);
  EXPECT_TRUE(flow.egress.range.empty());
  EXPECT_TRUE(flow.ingress.range.empty());
  ASSERT_EQ(flow.later.size(), 1u);
  EXPECT_EQ(joined(flow.later[0].gather()), "abcdefghij");
}

TEST_F(RelayReplicaTest, AFlowThatTheGuestOpenedAfterTheCutIsDropped) {
  commit(cut({}));
  FlowState s = relay_sample::new_flow(1, kGuest, kPeer);
  s.guest_opened = true;
  open(s);
  ingress(0, 10);
  ASSERT_TRUE(deliver());
  EXPECT_TRUE(replica_.take_over().empty());
  FlowState committed = state(0, 10);
  committed.guest_opened = true;
  commit(cut({committed}));
  EXPECT_EQ(replica_.take_over().size(), 1u);
}

TEST_F(RelayReplicaTest, AFlowIsThereUntilTheEpochInWhichItEndedCommits) {
  commit_new_flow();
  ASSERT_TRUE(stage(cut({}, {FlowId(1)})));
  EXPECT_EQ(replica_.take_over().size(), 1u);
  replica_.discard_staged();
  ASSERT_TRUE(stage(cut({}, {FlowId(1)})));
  replica_.commit();
  EXPECT_TRUE(replica_.take_over().empty());
  EXPECT_EQ(replica_.flows(), 0u);
  EXPECT_EQ(replica_.bytes(), 0u);
}

TEST_F(RelayReplicaTest, AFlowMayBeginAndEndBetweenTwoCuts) {
  commit_new_flow();
  open(relay_sample::new_flow(2, kGuest, kPeer));
  ingress(0, 10, true, 2);
  commit(cut({}, {FlowId(2)}));
  EXPECT_EQ(replica_.flows(), 1u);
}

TEST_F(RelayReplicaTest, FlowsOfTwoNicsMayHaveTheSameId) {
  log_.append_open(0, relay_sample::new_flow(1));
  log_.append_open(1, relay_sample::new_flow(1));
  FlowState s = relay_sample::new_flow(1);
  s.position = log_.position();
  commit({log_.position(), {{0, {s}, {}}, {1, {s}, {}}}});
  EXPECT_EQ(replica_.take_over().size(), 2u);
}

TEST_F(RelayReplicaTest, AnOldFlowComesWithItsBytesAtTheBeginningOfASession) {
  FlowState s = relay_sample::new_flow(1, kGuest, kPeer);
  s.from_guest.next = s.from_guest.ackable = s.to_peer.committed = kGuest + 30;
  s.from_peer.next = s.to_guest.committed = kPeer + 20;
  s.from_peer.held = {{kPeer + 40, kPeer + 51}};
  s.from_peer.fin = kPeer + 50;
  s.to_peer.una = kGuest + 10;
  s.to_guest.una = kPeer + 5;
  open(s);
  egress(10, 30);
  ingress(5, 20);
  EXPECT_EQ(why(deliver()), "no error");
  s.position = log_.position();
  EXPECT_NE(why(stage(cut({s}))), "no error") << "what is held ahead has not come";
  ingress(40, 50);
  s.position = log_.position();
  commit(cut({s}));
  const RestoredFlow flow = only_flow();
  EXPECT_EQ(flow.state, s);
  EXPECT_EQ(flow.egress.range, (SeqRange{kGuest + 10, kGuest + 30}));
  EXPECT_EQ(flow.ingress.range, (SeqRange{kPeer + 5, kPeer + 20}));
  ASSERT_EQ(flow.held.size(), 1u);
  EXPECT_EQ(flow.held[0].range, (SeqRange{kPeer + 40, kPeer + 50})) << "without the number of the FIN";
  EXPECT_TRUE(flow.later.empty());
}

TEST_F(RelayReplicaTest, AnOldFlowWithoutItsBytesIsNeitherCommittedNorRestored) {
  FlowState s = state(10, 0);
  open(s);
  ASSERT_TRUE(deliver());
  s.position = log_.position();
  EXPECT_EQ(why(stage(cut({s}))), "relays: flow 1 of NIC 0: egress is missing");
  // Too late for the first cut, which is on its way.
  RelayCut first = cut({});
  first.position = LogPosition(0);
  ASSERT_TRUE(stage(first));
  replica_.commit();
  EXPECT_TRUE(replica_.take_over().empty());
}

TEST_F(RelayReplicaTest, AnOldFlowCannotComeInMidSession) {
  commit(cut({}));
  FlowState s = relay_sample::new_flow(1, kGuest, kPeer);
  s.to_peer.committed = s.from_guest.next = s.from_guest.ackable = kGuest + 1;
  open(s);
  EXPECT_EQ(why(deliver()), "relays: log record 1: a flow with bytes in mid-session");
}

TEST_F(RelayReplicaTest, RestoresTheGreatestClockBoundWhetherCommittedOrNot) {
  FlowState s = relay_sample::new_flow(1, kGuest, kPeer);
  s.timestamps = true;
  s.peer_clock = {0xfffffff0, 0xfffffff0};
  open(s);
  log_.append_clock_bound(0, FlowId(1), 0xfffffff8);
  s.position = log_.position();
  const RelayCut at_cut = cut({s});
  log_.append_clock_bound(0, FlowId(1), 5);
  commit(at_cut);
  EXPECT_EQ(only_flow().state.peer_clock, (TimestampClockState{0xfffffff0, 5}));
  // Far from the committed value, it is the value as well, so that the clock can be restored.
  log_.append_clock_bound(0, FlowId(1), TimestampClock::kLeaseTicksMax);
  ASSERT_TRUE(deliver());
  const TimestampClockState clock = only_flow().state.peer_clock;
  EXPECT_EQ(clock, (TimestampClockState{TimestampClock::kLeaseTicksMax, TimestampClock::kLeaseTicksMax}));
  EXPECT_TRUE(TimestampClock::restore(clock, Instant()));
}

TEST_F(RelayReplicaTest, RestoresTheClockBoundOfTheStateIfThatIsGreater) {
  commit_new_flow();
  FlowState s = state(0, 0);
  s.peer_clock = {50, 100};
  commit(cut({s}));
  EXPECT_EQ(only_flow().state.peer_clock.bound, 100u);
  log_.append_clock_bound(0, FlowId(1), 99);
  EXPECT_FALSE(deliver()) << "it has been greater";
}

TEST_F(RelayReplicaTest, WhatTheGuestSentAheadOfAHoleIsForgotten) {
  commit_new_flow();
  FlowState s = state(0, 0);
  s.from_guest.fin = kGuest + 20;
  s.from_guest.held = {{kGuest + 10, kGuest + 21}};
  s.from_guest.ahead = {{kGuest + 10, kGuest + 15}};
  commit(cut({s}));
  const RestoredFlow flow = only_flow();
  ChunkPool pool(1 << 20);
  RelayBuffer buffer(pool, kGuest, 1000);
  EXPECT_TRUE(Receiver::restore(flow.state.from_guest, buffer, Instant::from_nanos(1)));
  EXPECT_EQ(flow.state.from_guest.next, kGuest);
}

TEST_F(RelayReplicaTest, TheRestoredCapacityHasRoomForAllThatWasLogged) {
  commit_new_flow();
  FlowState s = state(0, 0);
  s.ingress_capacity = 100;
  commit(cut({s}));
  ingress(0, 300);
  ASSERT_TRUE(deliver());
  EXPECT_EQ(only_flow().state.ingress_capacity, 300u);
  ingress(400, 500, true);
  s = state(0, 300);
  s.ingress_capacity = 100;
  s.from_peer.fin = kPeer + 500;
  s.from_peer.held = {{kPeer + 400, kPeer + 501}};
  commit(cut({s}));
  EXPECT_EQ(only_flow().state.ingress_capacity, 500u) << "what is held counts, too";
}

TEST_F(RelayReplicaTest, ANewSessionForgetsTheOneBefore) {
  commit_new_flow();
  ingress(0, 10);
  ASSERT_TRUE(deliver());
  replica_.begin_session();
  EXPECT_EQ(replica_.flows(), 0u);
  EXPECT_EQ(replica_.bytes(), 0u);
  EXPECT_EQ(replica_.applied(), LogPosition(0));
  EXPECT_TRUE(replica_.take_over().empty());
  log_.end_session([](const DurableRecord&) {});
  log_.begin_session();
  commit_new_flow();
  EXPECT_EQ(replica_.take_over().size(), 1u);
}

}  // namespace
}  // namespace us
