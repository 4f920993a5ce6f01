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

bool ReceiveWindow::update_due(SeqNum next, SeqNum capacity_edge, uint32_t step) const {
  if (!right_edge_.before(capacity_edge) || right_edge_.distance_to(capacity_edge) < step) return false;
  const uint32_t now = next.distance_to(right_edge_);
  const uint32_t possible = std::min(next.distance_to(capacity_edge), window_max());
  return possible / 2 >= now && possible > now;
}

}  // namespace us
