#include "core/tcp/tlp.h"

#include <algorithm>

namespace us {
namespace {

// Section 7.2, TLP.max_ack_delay where the peer's is not known.
constexpr Duration kAckDelayMax = Duration::millis(200);
constexpr Duration kProbeWithoutRtt = Duration::seconds(1);

}  // namespace

void TailLossProbe::schedule(Instant now, Duration srtt, bool one_segment, Instant rto_deadline) {
  Duration pto = kProbeWithoutRtt;
  if (srtt > Duration()) {
    pto = srtt * 2;
    if (one_segment) pto += kAckDelayMax;
    pto = std::max(pto, probe_min_);
  }
  deadline_ = std::min(now + pto, rto_deadline);
}

void TailLossProbe::on_probe_sent(SeqNum nxt, bool retransmission) {
  deadline_.reset();
  outstanding_ = true;
  retransmission_ = retransmission;
  end_ = nxt;
}

void TailLossProbe::reset() {
  deadline_.reset();
  outstanding_ = false;
}

bool TailLossProbe::on_ack(const Ack& ack) {
  if (!outstanding_ || ack.ack.before(end_)) return false;
  if (!retransmission_ || ack.dsack_end == end_) {  // all arrived, the probe twice
    outstanding_ = false;
    return false;
  }
  if (ack.ack.after(end_)) {
    outstanding_ = false;
    return true;
  }
  if (ack.plain_duplicate) outstanding_ = false;  // original and probe both arrived
  return false;
}

}  // namespace us
