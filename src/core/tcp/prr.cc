#include "core/tcp/prr.h"

#include <algorithm>

namespace us {

void Prr::begin(uint64_t recover_fs) {
  delivered_ = 0;
  out_ = 0;
  recover_fs_ = std::max<uint64_t>(recover_fs, 1);
}

// RFC 9937 section 6.2, "on every ACK".
void Prr::on_ack(const Ack& ack) {
  if (ack.delivered == 0 && out_ > 0) return;
  delivered_ += ack.delivered;
  uint64_t budget = 0;  // SndCnt
  if (ack.inflight > ack.ssthresh) {
    // Proportional rate reduction: as large a share of what was delivered as ssthresh is of what was in flight.
    const uint64_t share = (delivered_ * ack.ssthresh + recover_fs_ - 1) / recover_fs_;
    budget = share > out_ ? share - out_ : 0;
  } else {
    // Losses took more than the reduction: one for one, and in slow start while ACKs are safe.
    budget = std::max(delivered_ > out_ ? delivered_ - out_ : 0, ack.delivered);
    if (ack.safe) budget += ack.mss;
    budget = std::min(ack.ssthresh - ack.inflight, budget);
  }
  // The fast retransmission itself.  Counted in bytes, less than a segment would not let it out.
  if (out_ == 0) budget = std::max<uint64_t>(budget, ack.mss);
  window_ = ack.inflight + budget;
}

}  // namespace us
