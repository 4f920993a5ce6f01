#include "core/tcp/receive_window.h"

#include <algorithm>

namespace us {

uint16_t ReceiveWindow::offer(SeqNum ack, SeqNum capacity_edge, SeqNum hard_edge, uint32_t step) {
  const uint32_t offered = ack.distance_to(right_edge_);
  uint32_t field = (offered + (1u << shift_) - 1) >> shift_;
  if (hard_edge.before(ack + (field << shift_))) field = offered >> shift_;
  if (right_edge_.before(capacity_edge) && right_edge_.distance_to(capacity_edge) >= step)
    field = std::max(field, ack.distance_to(capacity_edge) >> shift_);
  field = std::min(field, 0xffffu);
  raise_to(ack + (field << shift_));
  return static_cast<uint16_t>(field);
}

bool ReceiveWindow::update_due(SeqNum ack, SeqNum next, SeqNum capacity_edge, uint32_t step) const {
  if (!right_edge_.before(capacity_edge)) return false;
  const SeqNum reachable = ack + (std::min(ack.distance_to(capacity_edge) >> shift_, 0xffffu) << shift_);
  if (!right_edge_.before(reachable) || right_edge_.distance_to(reachable) < step) return false;
  return next.distance_to(reachable) / 2 >= next.distance_to(right_edge_);
}

}  // namespace us
