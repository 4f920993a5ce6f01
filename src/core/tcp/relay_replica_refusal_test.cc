#include "core/tcp/relay_replica_rig.h"

namespace us {
namespace {

class RelayReplicaRefusalTest : public RelayReplicaRig {};

// ---- cuts that are refused ----

TEST_F(RelayReplicaRefusalTest, ACutBeyondTheLogIsRefused) {
  open(relay_sample::new_flow(1, kGuest, kPeer));
  ASSERT_TRUE(deliver());
  ingress(0, 10);
  const RelayCut early = cut({state(0, 10)});
  EXPECT_EQ(why(stage(early)), "relays: a cut at record 2, the log has come to 1");
  ASSERT_TRUE(deliver());
  EXPECT_EQ(why(stage(early)), "no error");
}

TEST_F(RelayReplicaRefusalTest, ACutThatGoesBackIsRefused) {
  commit_new_flow();
  ingress(0, 10);
  const RelayCut older = cut({state(0, 10)});
  ingress(10, 20);
  commit(cut({state(0, 20)}));
  EXPECT_NE(why(stage(older)), "no error");
  EXPECT_EQ(why(stage({LogPosition(2), {}})), "relays: a cut at record 2, the log has come to 3");
}

TEST_F(RelayReplicaRefusalTest, AStateOfAnotherTimeThanTheCutIsRefused) {
  commit_new_flow();
  ingress(0, 10);
  ingress(10, 20);
  ASSERT_TRUE(deliver());
  RelayCut c = cut({state(0, 20)});
  c.position = LogPosition(2);
  EXPECT_EQ(why(stage(c)), "relays: flow 1 of NIC 0: a state of another time");
}

TEST_F(RelayReplicaRefusalTest, AnEpochWithoutRelaysIsRefusedWhileThereAreFlows) {
  EXPECT_EQ(why(replica_.stage_cut({})), "no error");
  replica_.commit();
  commit_new_flow();
  EXPECT_EQ(why(replica_.stage_cut({})), "relays: an epoch says nothing of them");
}

TEST_F(RelayReplicaRefusalTest, ACutWithoutAFlowThatWasOpenedOrHasChangedIsRefused) {
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

TEST_F(RelayReplicaRefusalTest, ARecordBetweenCutAndCommitBelongsToTheNextEpoch) {
  open(relay_sample::new_flow(1, kGuest, kPeer));
  const RelayCut first = cut({state(0, 0)});
  ingress(0, 10);
  egress(0, 10);
  commit(first);
  EXPECT_NE(why(stage(cut({}))), "no error");
  EXPECT_EQ(why(stage(cut({state(10, 10)}))), "no error");
}

TEST_F(RelayReplicaRefusalTest, AFlowThatIsUnknownOrNamedTwiceOrOpenedLaterIsRefused) {
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

TEST_F(RelayReplicaRefusalTest, AStateThatSaysMoreOrLessOfTheGuestThanTheLogIsRefused) {
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

TEST_F(RelayReplicaRefusalTest, AStateWithIngressThatTheLogLacksIsRefused) {
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

TEST_F(RelayReplicaRefusalTest, AStateThatLacksIngressOfBeforeItIsRefused) {
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

TEST_F(RelayReplicaRefusalTest, AStateThatGoesBackIsRefused) {
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

TEST_F(RelayReplicaRefusalTest, ARefusedCutLeavesTheCommittedOne) {
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

TEST_F(RelayReplicaRefusalTest, PositionsHaveNoGap) {
  EXPECT_EQ(why(replica_.apply({LogPosition(2), 1, {}}).map([](auto) {})),
            "relays: log record 1: the frame has 1 records from 2 on");
  replica_.begin_session();
  EXPECT_FALSE(replica_.apply({LogPosition(1), 0, {}})) << "an empty frame";
  replica_.begin_session();
  EXPECT_FALSE(replica_.apply({LogPosition(1), 1, relay_sample::kData}));
}

TEST_F(RelayReplicaRefusalTest, AFrameWithFewerRecordsThanBytesIsRefused) {
  open(relay_sample::new_flow(1));
  open(relay_sample::new_flow(2));
  const Bytes frame = log_.take_frames().front();
  const auto message = decode({FrameType::kRelayLogChunk, 0, ByteSpan(frame).subspan(kFrameHeaderBytes)});
  RelayLogChunk chunk = std::get<RelayLogChunk>(*message);
  chunk.count = 1;
  EXPECT_EQ(why(replica_.apply(chunk).map([](auto) {})), "relays: log record 2: the frame has bytes left over");
}

TEST_F(RelayReplicaRefusalTest, AfterAnErrorNothingIsTakenButWhatWasCommittedCanBeTakenOver) {
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

TEST_F(RelayReplicaRefusalTest, EgressIsInOrderAndInTheWindow) {
  commit_new_flow();
  egress(0, 1u << 20);
  EXPECT_EQ(why(deliver()), "no error") << "as much as the capacity";
  egress(1u << 20, (1u << 20) + 1);
  EXPECT_EQ(why(deliver()), "relays: log record 18: egress outside of the window");
}

TEST_F(RelayReplicaRefusalTest, EgressGoesOnWhenItHasCommitted) {
  commit_new_flow();
  egress(0, 1u << 20);
  commit(cut({state(1u << 20, 0)}));
  egress(1u << 20, 2u << 20);
  EXPECT_EQ(why(deliver()), "no error") << "the peer may have acknowledged all that was committed";
  EXPECT_EQ(only_flow().egress.range.length(), 1u << 20);
}

TEST_F(RelayReplicaRefusalTest, IngressIsInTheWindow) {
  commit_new_flow();
  ingress((1u << 20) - 5, 1u << 20, true);
  EXPECT_EQ(why(deliver()), "no error") << "a FIN needs no room";
  ingress(1u << 20, (1u << 20) + 1);
  EXPECT_EQ(why(deliver()), "relays: log record 3: ingress outside of the window");
}

TEST_F(RelayReplicaRefusalTest, IngressWithMoreHolesThanAReceiverCanHoldIsRefused) {
  commit_new_flow();
  constexpr uint32_t kMost = Reassembly::kRangesMax;
  for (uint32_t i = 1; i <= kMost; ++i) ingress(10 * i, 10 * i + 1);
  ingress(0, 5);
  EXPECT_EQ(why(deliver()), "no error") << "the stream is no range ahead of itself";
  ingress(10 * kMost + 5, 10 * kMost + 6);
  EXPECT_NE(why(deliver()).find("ingress with too many holes"), std::string::npos);
}

TEST_F(RelayReplicaRefusalTest, AFinAheadOfAHoleIsOneOfTheRangesThatAReceiverCanHold) {
  commit_new_flow();
  constexpr uint32_t kMost = Reassembly::kRangesMax;
  for (uint32_t i = 1; i < kMost; ++i) ingress(10 * i, 10 * i + 1);
  ingress(10 * kMost, 10 * kMost, true);
  EXPECT_EQ(why(deliver()), "no error");
  ingress(10 * kMost - 5, 10 * kMost - 4);
  EXPECT_NE(why(deliver()).find("ingress with too many holes"), std::string::npos);
}

TEST_F(RelayReplicaRefusalTest, IngressOfBeforeTheCommittedStateIsRefused) {
  commit_new_flow();
  ingress(0, 10);
  commit(cut({state(0, 10)}));
  ingress(9, 12);
  EXPECT_EQ(why(deliver()), "relays: log record 3: ingress outside of the window");
}

TEST_F(RelayReplicaRefusalTest, ASecondFinOrBytesBehindItAreRefused) {
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

TEST_F(RelayReplicaRefusalTest, AFinBeforeBytesThatHadComeIsRefused) {
  commit_new_flow();
  ingress(10, 20);
  ASSERT_TRUE(deliver());
  ingress(0, 5, true);
  EXPECT_EQ(why(deliver()), "relays: log record 3: a FIN before bytes that had come");
}

TEST_F(RelayReplicaRefusalTest, ClockBoundsDoNotGoBackNorLeap) {
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

TEST_F(RelayReplicaRefusalTest, RecordsOfUnknownFlowsAreRefused) {
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

TEST_F(RelayReplicaRefusalTest, AFlowIsOpenedOnce) {
  open(relay_sample::new_flow(1));
  open(relay_sample::new_flow(1));
  EXPECT_EQ(why(deliver()), "relays: log record 2: a flow is opened twice");
}

// ---- memory ----

TEST_F(RelayReplicaRefusalTest, FlowsAreLimitedAndTheEndedOnesCountUntilTheyCommit) {
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

TEST_F(RelayReplicaRefusalTest, AFlowWithLargerBuffersThanTheLimitIsRefused) {
  FlowState s = relay_sample::new_flow(1);
  s.ingress_capacity = (1u << 20) + 1;
  open(s);
  EXPECT_EQ(why(deliver()), "relays: log record 1: a flow whose buffers are too large");
}

TEST_F(RelayReplicaRefusalTest, BytesAreLimitedInAll) {
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

TEST_F(RelayReplicaRefusalTest, TheListOfRecordsCountsAsMemory) {
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

TEST_F(RelayReplicaRefusalTest, ACommitTrimsWhatNobodyNeedsAnyMore) {
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

TEST_F(RelayReplicaRefusalTest, AcknowledgedFinsAreNoBytes) {
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
