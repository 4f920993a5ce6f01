#include "core/tcp/relay_replica.h"

#include <gtest/gtest.h>

#include "core/tcp/reassembly.h"
#include "core/tcp/receiver.h"
#include "core/tcp/relay_log.h"
#include "core/tcp/relay_sample.h"

namespace us {
namespace {

constexpr SeqNum kGuest{1000};  // first byte of the guest, and of the peer
constexpr SeqNum kPeer{5000};

// The bytes [from, to) of a stream that says the alphabet again and again.
Bytes alphabet(uint32_t from, uint32_t to, char first) {
  Bytes out(to - from);
  for (uint32_t i = from; i < to; ++i) out[i - from] = static_cast<uint8_t>(first + i % 26);
  return out;
}

std::string joined(Gather pieces) {
  std::string out;
  for (const ByteSpan piece : pieces) out.append(piece.begin(), piece.end());
  return out;
}

// A primary's log and the standby's replica, with one flow (id 1 of NIC 0) that the test moves.
class RelayReplicaTest : public testing::Test {
 protected:
  RelayReplicaTest() { log_.begin_session(); }

  void open(const FlowState& state) { log_.append_open(0, state); }
  void ingress(uint32_t from, uint32_t to, bool fin = false, uint64_t id = 1) {
    const Bytes bytes = alphabet(from, to, 'a');
    const ByteSpan piece(bytes);
    log_.append_ingress(0, FlowId(id), {kPeer + from, kPeer + to + (fin ? 1 : 0)}, fin, Gather(&piece, 1));
  }
  void egress(uint32_t from, uint32_t to, uint64_t id = 1) {
    log_.append_egress(0, FlowId(id), kGuest + from, alphabet(from, to, 'A'));
  }

  // What is in the log goes to the standby.
  Status deliver() {
    for (const Bytes& bytes : log_.take_frames()) {
      const Bytes kept = bytes;
      const auto message = decode({FrameType::kRelayLogChunk, 0, ByteSpan(kept).subspan(kFrameHeaderBytes)});
      US_TRY(replica_.apply(std::get<RelayLogChunk>(*message)));
    }
    return {};
  }
  // A state of now, in which the guest has said `said` bytes and the peer `heard`.
  FlowState state(uint32_t said, uint32_t heard, uint64_t id = 1) {
    FlowState s = relay_sample::new_flow(id, kGuest, kPeer);
    s.from_guest.next = s.from_guest.ackable = s.to_peer.committed = kGuest + said;
    s.from_peer.next = s.to_guest.committed = kPeer + heard;
    s.position = log_.position();
    return s;
  }
  RelayCut cut(std::vector<FlowState> changed, std::vector<FlowId> ended = {}) {
    return {log_.position(), {{0, std::move(changed), std::move(ended)}}};
  }
  Status stage(const RelayCut& cut) { return replica_.stage_cut(encode(cut)); }
  void commit(const RelayCut& cut) {
    const Status status = deliver();
    ASSERT_TRUE(status) << status.error().message;
    const Status staged = stage(cut);
    ASSERT_TRUE(staged) << staged.error().message;
    replica_.commit();
  }
  void commit_new_flow() {
    open(relay_sample::new_flow(1, kGuest, kPeer));
    commit(cut({state(0, 0)}));
  }
  std::string why(const Status& status) {
    if (status) return "no error";
    EXPECT_EQ(status.error().kind, ErrorKind::kProtocol);
    return status.error().message;
  }
  RestoredFlow only_flow() {
    std::vector<RestoredFlow> flows = replica_.take_over();
    EXPECT_EQ(flows.size(), 1u);
    return flows.empty() ? RestoredFlow{} : std::move(flows.front());
  }

  RelayLog log_;
  ReplicaLimits limits_{.flows_max = 4, .capacity_max = 1u << 20, .bytes_max = 8u << 20};
  RelayReplica replica_{limits_};
};

// ---- what is restored ----

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

// ---- cuts that are refused ----

TEST_F(RelayReplicaTest, ACutBeyondTheLogIsRefused) {
  open(relay_sample::new_flow(1, kGuest, kPeer));
  ASSERT_TRUE(deliver());
  ingress(0, 10);
  const RelayCut early = cut({state(0, 10)});
  EXPECT_EQ(why(stage(early)), "relays: a cut at record 2, the log has come to 1");
  ASSERT_TRUE(deliver());
  EXPECT_EQ(why(stage(early)), "no error");
}

TEST_F(RelayReplicaTest, ACutThatGoesBackIsRefused) {
  commit_new_flow();
  ingress(0, 10);
  const RelayCut older = cut({state(0, 10)});
  ingress(10, 20);
  commit(cut({state(0, 20)}));
  EXPECT_NE(why(stage(older)), "no error");
  EXPECT_EQ(why(stage({LogPosition(2), {}})), "relays: a cut at record 2, the log has come to 3");
}

TEST_F(RelayReplicaTest, AStateOfAnotherTimeThanTheCutIsRefused) {
  commit_new_flow();
  ingress(0, 10);
  ingress(10, 20);
  ASSERT_TRUE(deliver());
  RelayCut c = cut({state(0, 20)});
  c.position = LogPosition(2);
  EXPECT_EQ(why(stage(c)), "relays: flow 1 of NIC 0: a state of another time");
}

TEST_F(RelayReplicaTest, AnEpochWithoutRelaysIsRefusedWhileThereAreFlows) {
  EXPECT_EQ(why(replica_.stage_cut({})), "no error");
  replica_.commit();
  commit_new_flow();
  EXPECT_EQ(why(replica_.stage_cut({})), "relays: an epoch says nothing of them");
}

TEST_F(RelayReplicaTest, ACutWithoutAFlowThatWasOpenedOrHasChangedIsRefused) {
  open(relay_sample::new_flow(1, kGuest, kPeer));
  ASSERT_TRUE(deliver());
  EXPECT_EQ(why(stage(cut({}))), "relays: the cut lacks flow 1 of NIC 0, which has changed");
  commit(cut({state(0, 0)}));
  EXPECT_EQ(why(stage(cut({}))), "no error") << "idle";
  egress(0, 1);
  const RelayCut without = cut({});
  ASSERT_TRUE(deliver());
  EXPECT_NE(why(stage(without)), "no error") << "the guest has said something";
  commit(cut({state(1, 0)}));
  ingress(0, 1);
  ASSERT_TRUE(deliver());
  EXPECT_NE(why(stage(cut({}))), "no error") << "the peer has said something";
}

TEST_F(RelayReplicaTest, ARecordBetweenCutAndCommitBelongsToTheNextEpoch) {
  open(relay_sample::new_flow(1, kGuest, kPeer));
  const RelayCut first = cut({state(0, 0)});
  ingress(0, 10);
  egress(0, 10);
  commit(first);
  EXPECT_NE(why(stage(cut({}))), "no error");
  EXPECT_EQ(why(stage(cut({state(10, 10)}))), "no error");
}

TEST_F(RelayReplicaTest, AFlowThatIsUnknownOrNamedTwiceOrOpenedLaterIsRefused) {
  commit_new_flow();
  EXPECT_EQ(why(stage(cut({state(0, 0, 2)}))), "relays: there is no flow 2 of NIC 0");
  EXPECT_NE(why(stage(cut({}, {FlowId(2)}))), "no error");
  EXPECT_EQ(why(stage(cut({state(0, 0), state(0, 0)}))), "relays: flow 1 is in the cut twice");
  EXPECT_NE(why(stage(cut({state(0, 0)}, {FlowId(1)}))), "no error");
  EXPECT_NE(why(stage(cut({}, {FlowId(1), FlowId(1)}))), "no error");
  const RelayCut early = cut({}, {FlowId(2)});
  open(relay_sample::new_flow(2, kGuest, kPeer));
  ASSERT_TRUE(deliver());
  EXPECT_EQ(why(stage(early)), "relays: flow 2 was opened after the cut");
}

TEST_F(RelayReplicaTest, AStateThatSaysMoreOrLessOfTheGuestThanTheLogIsRefused) {
  commit_new_flow();
  egress(0, 10);
  const RelayCut at_cut = cut({});
  egress(10, 20);
  ASSERT_TRUE(deliver());
  const auto staged = [&](uint32_t said, const char* what) {
    RelayCut c = at_cut;
    c.nics[0].changed = {state(said, 0)};
    c.nics[0].changed[0].position = at_cut.position;
    EXPECT_EQ(stage(c).has_value(), said == 10) << what;
  };
  staged(9, "a byte that the guest has been told of would be lost");
  staged(10, "just that");
  staged(11, "the log has it, but from after the cut");
  staged(20, "the log has it, but from after the cut");
  RelayCut c = at_cut;
  c.nics[0].changed = {state(10, 0)};
  c.nics[0].changed[0].position = at_cut.position;
  c.nics[0].changed[0].to_peer.committed = kGuest + 5;
  EXPECT_NE(why(stage(c)), "no error") << "all that the guest said belongs to the epoch";
}

TEST_F(RelayReplicaTest, AStateWithIngressThatTheLogLacksIsRefused) {
  commit_new_flow();
  ingress(0, 10);
  ingress(20, 30);
  ASSERT_TRUE(deliver());
  FlowState s = state(0, 10);
  s.from_peer.held = {{kPeer + 20, kPeer + 30}};
  EXPECT_EQ(why(stage(cut({s}))), "no error");
  FlowState more = s;
  more.from_peer.held = {{kPeer + 20, kPeer + 31}};
  EXPECT_EQ(why(stage(cut({more}))), "relays: flow 1 of NIC 0: ingress that is held is missing");
  more = s;
  more.from_peer.next = kPeer + 11;
  EXPECT_EQ(why(stage(cut({more}))), "relays: flow 1 of NIC 0: ingress is missing");
  more = s;
  more.from_peer.fin = kPeer + 30;
  more.from_peer.held = {{kPeer + 20, kPeer + 31}};
  EXPECT_EQ(why(stage(cut({more}))), "relays: flow 1 of NIC 0: a FIN that the log does not have");
}

TEST_F(RelayReplicaTest, AStateThatLacksIngressOfBeforeItIsRefused) {
  commit_new_flow();
  ingress(0, 10);
  ingress(20, 30, true);
  ASSERT_TRUE(deliver());
  FlowState s = state(0, 10);
  EXPECT_EQ(why(stage(cut({s}))), "relays: flow 1 of NIC 0: ingress of before the state is not in it");
  s.from_peer.held = {{kPeer + 20, kPeer + 30}};
  EXPECT_NE(why(stage(cut({s}))), "no error") << "the FIN";
  s.from_peer.held = {{kPeer + 20, kPeer + 31}};
  s.from_peer.fin = kPeer + 30;
  EXPECT_EQ(why(stage(cut({s}))), "no error");
  s.from_peer.next = s.to_guest.committed = kPeer + 9;
  EXPECT_NE(why(stage(cut({s}))), "no error") << "a byte that may have been acknowledged";
}

TEST_F(RelayReplicaTest, AStateThatGoesBackIsRefused) {
  commit_new_flow();
  egress(0, 20);
  ingress(0, 20);
  FlowState s = state(20, 20);
  s.to_peer.una = kGuest + 10;
  s.to_guest.una = kPeer + 10;
  commit(cut({s}));
  const auto refused = [&](auto change) {
    FlowState back = s;
    change(back);
    return !stage(cut({back})).has_value();
  };
  EXPECT_FALSE(refused([](FlowState&) {}));
  EXPECT_TRUE(refused([](FlowState& b) { b.position = LogPosition(1); }));
  EXPECT_TRUE(refused([](FlowState& b) { b.to_peer.una = kGuest + 9; }));
  EXPECT_TRUE(refused([](FlowState& b) { b.to_guest.una = kPeer + 9; }));
  EXPECT_TRUE(refused([](FlowState& b) { b.from_peer.next = b.to_guest.committed = kPeer + 19; }));
  EXPECT_TRUE(refused([](FlowState& b) { b.guest_opened = true; }));
  EXPECT_TRUE(refused([](FlowState& b) { b.timestamps = true; }));
  EXPECT_TRUE(refused([](FlowState& b) { b.as_guest.source.port = 81; }));
  EXPECT_TRUE(refused([](FlowState& b) { b.egress_capacity = (1u << 20) + 1; }));
}

TEST_F(RelayReplicaTest, ARefusedCutLeavesTheCommittedOne) {
  commit_new_flow();
  egress(0, 5);
  commit(cut({state(5, 0)}));
  egress(5, 9);
  ASSERT_TRUE(deliver());
  EXPECT_FALSE(stage(cut({state(8, 0)})));
  EXPECT_FALSE(replica_.stage_cut(relay_sample::kData)) << "no cut at all";
  EXPECT_EQ(joined(only_flow().egress.gather()), "ABCDE");
  EXPECT_DEATH(replica_.commit(), "CHECK");
}

// ---- records that are refused ----

TEST_F(RelayReplicaTest, PositionsHaveNoGap) {
  EXPECT_EQ(why(replica_.apply({LogPosition(2), 1, {}}).map([](auto) {})),
            "relays: log record 1: the frame has 1 records from 2 on");
  replica_.begin_session();
  EXPECT_FALSE(replica_.apply({LogPosition(1), 0, {}})) << "an empty frame";
  replica_.begin_session();
  EXPECT_FALSE(replica_.apply({LogPosition(1), 1, relay_sample::kData}));
}

TEST_F(RelayReplicaTest, AFrameWithFewerRecordsThanBytesIsRefused) {
  open(relay_sample::new_flow(1));
  open(relay_sample::new_flow(2));
  const Bytes frame = log_.take_frames().front();
  const auto message = decode({FrameType::kRelayLogChunk, 0, ByteSpan(frame).subspan(kFrameHeaderBytes)});
  RelayLogChunk chunk = std::get<RelayLogChunk>(*message);
  chunk.count = 1;
  EXPECT_EQ(why(replica_.apply(chunk).map([](auto) {})), "relays: log record 2: the frame has bytes left over");
}

TEST_F(RelayReplicaTest, AfterAnErrorNothingIsTakenButWhatWasCommittedCanBeTakenOver) {
  commit_new_flow();
  ingress(0, 10);
  ASSERT_TRUE(deliver());
  egress(5, 10);
  EXPECT_EQ(why(deliver()), "relays: log record 3: egress with a gap, or twice");
  EXPECT_EQ(replica_.applied(), LogPosition(2));
  Bytes records;
  ByteWriter out(records);
  encode(ClockBoundRecord{0, FlowId(1), 5}, out);
  EXPECT_FALSE(replica_.apply({LogPosition(3), 1, records}));
  EXPECT_NE(why(stage(cut({state(0, 10)}))), "no error");
  EXPECT_EQ(only_flow().later.size(), 1u);
}

TEST_F(RelayReplicaTest, EgressIsInOrderAndInTheWindow) {
  commit_new_flow();
  egress(0, 1u << 20);
  EXPECT_EQ(why(deliver()), "no error") << "as much as the capacity";
  egress(1u << 20, (1u << 20) + 1);
  EXPECT_EQ(why(deliver()), "relays: log record 18: egress outside of the window");
}

TEST_F(RelayReplicaTest, EgressGoesOnWhenItHasCommitted) {
  commit_new_flow();
  egress(0, 1u << 20);
  commit(cut({state(1u << 20, 0)}));
  egress(1u << 20, 2u << 20);
  EXPECT_EQ(why(deliver()), "no error") << "the peer may have acknowledged all that was committed";
  EXPECT_EQ(only_flow().egress.range.length(), 1u << 20);
}

TEST_F(RelayReplicaTest, IngressIsInTheWindow) {
  commit_new_flow();
  ingress((1u << 20) - 5, 1u << 20, true);
  EXPECT_EQ(why(deliver()), "no error") << "a FIN needs no room";
  ingress(1u << 20, (1u << 20) + 1);
  EXPECT_EQ(why(deliver()), "relays: log record 3: ingress outside of the window");
}

TEST_F(RelayReplicaTest, IngressWithMoreHolesThanAReceiverCanHoldIsRefused) {
  commit_new_flow();
  constexpr uint32_t kMost = Reassembly::kRangesMax;
  for (uint32_t i = 1; i <= kMost; ++i) ingress(10 * i, 10 * i + 1);
  ingress(0, 5);
  EXPECT_EQ(why(deliver()), "no error") << "the stream is no range ahead of itself";
  ingress(10 * kMost + 5, 10 * kMost + 6);
  EXPECT_NE(why(deliver()).find("ingress with too many holes"), std::string::npos);
}

TEST_F(RelayReplicaTest, AFinAheadOfAHoleIsOneOfTheRangesThatAReceiverCanHold) {
  commit_new_flow();
  constexpr uint32_t kMost = Reassembly::kRangesMax;
  for (uint32_t i = 1; i < kMost; ++i) ingress(10 * i, 10 * i + 1);
  ingress(10 * kMost, 10 * kMost, true);
  EXPECT_EQ(why(deliver()), "no error");
  ingress(10 * kMost - 5, 10 * kMost - 4);
  EXPECT_NE(why(deliver()).find("ingress with too many holes"), std::string::npos);
}

TEST_F(RelayReplicaTest, IngressOfBeforeTheCommittedStateIsRefused) {
  commit_new_flow();
  ingress(0, 10);
  commit(cut({state(0, 10)}));
  ingress(9, 12);
  EXPECT_EQ(why(deliver()), "relays: log record 3: ingress outside of the window");
}

TEST_F(RelayReplicaTest, ASecondFinOrBytesBehindItAreRefused) {
  commit_new_flow();
  const auto refused_after_fin = [&](uint32_t from, uint32_t to, bool fin) {
    replica_.begin_session();
    log_.end_session([](const DurableRecord&) {});
    log_.begin_session();
    commit_new_flow();
    ingress(10, 20, true);
    EXPECT_EQ(why(deliver()), "no error");
    ingress(from, to, fin);
    return !deliver().has_value();
  };
  EXPECT_FALSE(refused_after_fin(0, 10, false));
  EXPECT_FALSE(refused_after_fin(5, 20, true)) << "the same one";
  EXPECT_TRUE(refused_after_fin(5, 19, true));
  EXPECT_TRUE(refused_after_fin(5, 21, false));
  EXPECT_TRUE(refused_after_fin(21, 22, true));
}

TEST_F(RelayReplicaTest, AFinBeforeBytesThatHadComeIsRefused) {
  commit_new_flow();
  ingress(10, 20);
  ASSERT_TRUE(deliver());
  ingress(0, 5, true);
  EXPECT_EQ(why(deliver()), "relays: log record 3: a FIN before bytes that had come");
}

TEST_F(RelayReplicaTest, ClockBoundsDoNotGoBackNorLeap) {
  for (const uint32_t bound : {99u, 100 + TimestampClock::kLeaseTicksMax + 1}) {
    replica_.begin_session();
    log_.end_session([](const DurableRecord&) {});
    log_.begin_session();
    commit_new_flow();
    log_.append_clock_bound(0, FlowId(1), 100);
    log_.append_clock_bound(0, FlowId(1), 100);
    EXPECT_EQ(why(deliver()), "no error");
    log_.append_clock_bound(0, FlowId(1), bound);
    EXPECT_EQ(why(deliver()), "relays: log record 4: a clock bound that goes back, or leaps");
  }
}

TEST_F(RelayReplicaTest, RecordsOfUnknownFlowsAreRefused) {
  const auto refused = [&](auto append) {
    replica_.begin_session();
    log_.end_session([](const DurableRecord&) {});
    log_.begin_session();
    append();
    return why(deliver());
  };
  const std::string expected = "relays: log record 1: there is no flow 1 of NIC 0";
  EXPECT_EQ(refused([&] { ingress(0, 1); }), expected);
  EXPECT_EQ(refused([&] { egress(0, 1); }), expected);
  EXPECT_EQ(refused([&] { log_.append_clock_bound(0, FlowId(1), 1); }), expected);
}

TEST_F(RelayReplicaTest, AFlowIsOpenedOnce) {
  open(relay_sample::new_flow(1));
  open(relay_sample::new_flow(1));
  EXPECT_EQ(why(deliver()), "relays: log record 2: a flow is opened twice");
}

// ---- memory ----

TEST_F(RelayReplicaTest, FlowsAreLimitedAndTheEndedOnesCountUntilTheyCommit) {
  for (uint64_t id = 1; id <= 4; ++id) open(relay_sample::new_flow(id));
  std::vector<FlowState> all;
  for (uint64_t id = 1; id <= 4; ++id) all.push_back(state(0, 0, id));
  for (FlowState& s : all) s.position = log_.position();
  commit(cut(all));
  commit(cut({}, {FlowId(2)}));
  open(relay_sample::new_flow(5));
  EXPECT_EQ(why(deliver()), "no error");
  open(relay_sample::new_flow(6));
  EXPECT_EQ(why(deliver()), "relays: log record 6: more flows than the limit");
}

TEST_F(RelayReplicaTest, AFlowWithLargerBuffersThanTheLimitIsRefused) {
  FlowState s = relay_sample::new_flow(1);
  s.ingress_capacity = (1u << 20) + 1;
  open(s);
  EXPECT_EQ(why(deliver()), "relays: log record 1: a flow whose buffers are too large");
}

TEST_F(RelayReplicaTest, BytesAreLimitedInAll) {
  ReplicaLimits small = limits_;
  small.bytes_max = 10 * ChunkPool::kChunkBytes;
  RelayReplica replica(small);
  open(relay_sample::new_flow(1, kGuest, kPeer));
  egress(0, 8 * ChunkPool::kChunkBytes);
  ingress(0, 8 * ChunkPool::kChunkBytes);
  Status status;
  for (const Bytes& frame : log_.take_frames()) {
    const auto message = decode({FrameType::kRelayLogChunk, 0, ByteSpan(frame).subspan(kFrameHeaderBytes)});
    if (status) status = replica.apply(std::get<RelayLogChunk>(*message)).map([](auto) {});
  }
  EXPECT_NE(why(status).find("more bytes than there is memory for"), std::string::npos) << why(status);
  EXPECT_LE(replica.bytes(), small.bytes_max + 1024);
}

TEST_F(RelayReplicaTest, TheListOfRecordsCountsAsMemory) {
  ReplicaLimits small = limits_;
  small.bytes_max = 4 * ChunkPool::kChunkBytes;
  RelayReplica replica(small);
  open(relay_sample::new_flow(1, kGuest, kPeer));
  for (uint32_t i = 0; i < 20'000; ++i) ingress(i, i + 1);
  Status status;
  for (const Bytes& frame : log_.take_frames()) {
    const auto message = decode({FrameType::kRelayLogChunk, 0, ByteSpan(frame).subspan(kFrameHeaderBytes)});
    if (status) status = replica.apply(std::get<RelayLogChunk>(*message)).map([](auto) {});
  }
  EXPECT_NE(why(status).find("more bytes than there is memory for"), std::string::npos) << why(status);
  EXPECT_LT(replica.bytes(), 2 * small.bytes_max);
}

TEST_F(RelayReplicaTest, ACommitTrimsWhatNobodyNeedsAnyMore) {
  commit_new_flow();
  const size_t idle = replica_.bytes();
  egress(0, 1u << 20);
  ingress(0, 1u << 20);
  const RelayCut at_cut = cut({state(1u << 20, 1u << 20)});
  commit(at_cut);
  EXPECT_GE(replica_.bytes(), 2u << 20);
  FlowState s = state(1u << 20, 1u << 20);
  s.to_peer.una = kGuest + (1u << 20);
  s.to_guest.una = kPeer + (1u << 20);
  commit(cut({s}));
  EXPECT_EQ(replica_.bytes(), idle);
}

TEST_F(RelayReplicaTest, AcknowledgedFinsAreNoBytes) {
  commit_new_flow();
  egress(0, 10);
  ingress(0, 10, true);
  FlowState s = state(10, 10);
  s.from_guest.fin = kGuest + 10;
  s.from_guest.next = s.from_guest.right_edge = kGuest + 11;
  s.to_peer.fin = true;
  s.to_peer.una = kGuest + 11;
  s.from_peer.fin = kPeer + 10;
  s.from_peer.next = kPeer + 11;
  s.to_guest.fin = true;
  s.to_guest.una = kPeer + 11;
  commit(cut({s}));
  const RestoredFlow flow = only_flow();
  EXPECT_EQ(flow.state, s);
  EXPECT_EQ(flow.egress.range, (SeqRange{kGuest + 10, kGuest + 10}));
  EXPECT_EQ(flow.ingress.range, (SeqRange{kPeer + 10, kPeer + 10}));
}

}  // namespace
}  // namespace us
