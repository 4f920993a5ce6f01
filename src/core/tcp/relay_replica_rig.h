// For tests of the relay replica: a primary's log, the standby's replica, and one flow that the test moves.
#pragma once

#include <gtest/gtest.h>

#include "core/tcp/reassembly.h"
#include "core/tcp/receiver.h"
#include "core/tcp/relay_log.h"
#include "core/tcp/relay_replica.h"
#include "core/tcp/relay_sample.h"

namespace us {

inline constexpr SeqNum kGuest{1000};  // first byte of the guest, and of the peer
inline constexpr SeqNum kPeer{5000};

// The bytes [from, to) of a stream that says the alphabet again and again.
inline Bytes alphabet(uint32_t from, uint32_t to, char first) {
  Bytes out(to - from);
  for (uint32_t i = from; i < to; ++i) out[i - from] = static_cast<uint8_t>(first + i % 26);
  return out;
}

inline std::string joined(Gather pieces) {
  std::string out;
  for (const ByteSpan piece : pieces) out.append(piece.begin(), piece.end());
  return out;
}

// A primary's log and the standby's replica, with one flow (id 1 of NIC 0) that the test moves.
class RelayReplicaRig : public testing::Test {
 protected:
  RelayReplicaRig() { log_.begin_session(); }

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

}  // namespace us
