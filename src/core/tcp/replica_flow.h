// ReplicaFlow: one relayed connection on the standby: its state as of the last committed epoch, and what the log has
// brought since.
//
//                 to_peer.una        to_peer.committed       end of the log
//   egress   --------[=====================)- - - - - - - - - - -)---   what the guest said after the cut is dropped:
//   the
//                           kept                  dropped              restored guest will say it again
//                 to_guest.una       end of from_peer
//   ingress  --------[=====================)- [====) - - [=====) - -    all is kept: it may have been acknowledged
//                           state             held,     `later`
//
// A record is taken whole or not at all.  A state is judged against the log before it is acknowledged; commit() of one
// that was found good cannot fail.  Errors are ErrorKind::kProtocol.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "core/replica/log_position.h"
#include "core/tcp/flow_state.h"
#include "core/tcp/range_set.h"
#include "core/tcp/relay_buffer.h"
#include "core/tcp/relay_record.h"

namespace us {

// Bytes in the replica's memory.
struct LoggedBytes {
  SeqRange range;
  std::vector<ByteSpan> pieces;
  Gather gather() const { return pieces; }
};

// As Receiver::on_segment() returned it; for Receiver::on_logged().
struct LoggedIngress {
  LogPosition position;
  SeqRange stored;  // with the number of the FIN, if `fin`
  bool fin = false;
  std::vector<ByteSpan> pieces;
  Gather gather() const { return pieces; }
};

struct RestoredFlow {
  uint8_t nic = 0;
  // As of the committed epoch.  Three things are made right for the new primary: peer_clock.bound is the greatest that
  // was ever logged; ingress_capacity has room for what is held and for `later`; from_guest knows nothing ahead of a
  // hole, neither bytes nor a FIN, because the log has only what was in order.
  FlowState state;
  LoggedBytes egress;                // [first_needed(to_peer), to_peer.committed)
  LoggedBytes ingress;               // [first_needed(to_guest), stream_end(from_peer))
  std::vector<LoggedBytes> held;     // from_peer.held, without the number of a FIN
  std::vector<LoggedIngress> later;  // records after state.position, in the order of the log
};

class ReplicaFlow {
 public:
  // `capacity_max`, of one direction, is at most 2^29.  The state's position becomes `opened`.
  ReplicaFlow(const FlowState& initial, LogPosition opened, ChunkPool& pool, uint32_t capacity_max);
  // Whether a flow can begin with this.
  static Status judge_initial(const FlowState& initial, uint32_t capacity_max);
  // It refers to bytes that came before it was opened.
  static bool has_bytes(const FlowState& initial);

  Status take_ingress(const IngressRecord& record, LogPosition at);
  Status take_egress(const EgressRecord& record, LogPosition at);
  Status take_clock_bound(uint32_t bound);

  // A state of this flow in a cut at `cut`, checked by itself already.
  Status judge(const FlowState& state, LogPosition cut) const;
  // `state` has been judged good, for the same cut.
  void commit(FlowState&& state, LogPosition cut);

  bool committed() const { return committed_; }
  const FlowState& state() const { return state_; }
  // The first record that the committed state does not contain; the one that opened it until it has committed.
  std::optional<LogPosition> first_uncommitted() const;
  // Memory beside the object and the chunks.
  size_t list_bytes() const;
  RestoredFlow restored(uint8_t nic) const;

 private:
  struct Ingress {
    LogPosition position;
    SeqRange stored;
    bool fin;
    SeqRange data() const { return {stored.start, fin ? stored.end - 1 : stored.end}; }
  };
  struct Egress {
    LogPosition position;
    SeqNum end;
  };

  bool holds(SeqRange data, bool fin) const;
  Status judge_fin(SeqRange data, bool fin) const;
  Status judge_egress(const FlowState& state, LogPosition cut) const;
  Status judge_ingress(const FlowState& state) const;
  LoggedBytes logged(const RelayBuffer& buffer, SeqRange range) const;

  FlowState state_;
  LogPosition opened_;
  uint32_t capacity_max_;
  bool committed_ = false;
  uint32_t peer_bound_;        // the greatest bound of peer_clock
  std::optional<SeqNum> fin_;  // of the peer, as far as the log goes
  RelayBuffer egress_;         // from first_needed(to_peer) to the end of the log
  RelayBuffer ingress_;        // from first_needed(to_guest) to stream_end(from_peer); ahead of it is there_
  RangeSet there_;
  std::vector<Ingress> later_;  // ascending, as the next
  std::vector<Egress> said_;    // egress records that the committed state does not contain
};

}  // namespace us
