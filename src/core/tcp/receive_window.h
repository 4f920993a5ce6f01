// ReceiveWindow: the window that one side is offered; its right edge never goes back (tcp.md, rule 2).
//
//     ack              right_edge()       capacity_edge    hard_edge
//   ---[===================]----------------|----------------|-------
//         field << shift         not offered yet   for rounding
//
// The edge is bounded by where the relay's own buffer ends (RFC 9293 section 3.8.6.2.2), and moves only by steps worth
// a segment (no silly windows).
//
// With a scale the header cannot say every edge.  Rounding down would take back up to 2^shift - 1 bytes with each
// ACK, so the field is rounded up; the edge then creeps on as the window fills, and the owner keeps an eighth of its
// buffer between capacity_edge and hard_edge for that.  Only an edge that would creep past hard_edge (tiny segments
// into a window that never opens) is rounded down: that less than 2^shift bytes are missing from one ACK is what
// RFC 7323 section 2.4 tells both sides to live with, and what was offered before is still taken.
#pragma once

#include <cstdint>

#include "core/tcp/seq_num.h"

namespace us {

class ReceiveWindow {
 public:
  // `right_edge`: what was offered so far, by the endpoint that we stand for or by an earlier self.
  // `shift` is at most 14.
  ReceiveWindow(SeqNum right_edge, uint8_t shift) : right_edge_(right_edge), shift_(shift) {}

  // The furthest edge ever offered.
  SeqNum right_edge() const { return right_edge_; }
  uint8_t shift() const { return shift_; }
  // The largest window that the header can carry.
  uint32_t window_max() const { return uint32_t{0xffff} << shift_; }

  // The window field of a segment that acknowledges `ack`.  The edge may move up to `capacity_edge`, if it moves by
  // `step` at least, and creep up to `hard_edge`, which is not before it.
  uint16_t offer(SeqNum ack, SeqNum capacity_edge, SeqNum hard_edge, uint32_t step);
  // The other side should hear of a larger window without having sent anything: it is at least doubled, and by a
  // step.  `next` is RCV.NXT, `ack` what an ACK would name now: the header counts from there, and may not be able to
  // say more than it did.
  bool update_due(SeqNum ack, SeqNum next, SeqNum capacity_edge, uint32_t step) const;
  // Accepts what lies beyond the edge: a FIN, which needs no room; what an earlier primary may have offered.
  void raise_to(SeqNum edge) { right_edge_ = later(right_edge_, edge); }

 private:
  SeqNum right_edge_;
  uint8_t shift_;
};

}  // namespace us
