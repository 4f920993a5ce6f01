#include "core/tcp/frto.h"

namespace us {

Frto::Verdict Frto::on_ack(const Ack& ack) {
  if (!active_) return Verdict::kUndecided;
  if (ack.original_delivered) {  // step 3b
    active_ = false;
    return Verdict::kSpurious;
  }
  if (ack.una.at_or_after(recover_)) {
    active_ = false;
  } else if (ack.nxt.after(recover_)) {
    if (ack.sacked_or_duplicate) active_ = false;  // step 3a: the new data arrived, the old did not
  } else if (ack.una_moved) {                      // step 2b
    if (!ack.new_data_waits) {
      active_ = false;
      return Verdict::kUndecided;
    }
    recover_ = ack.nxt;
    return Verdict::kSendNew;
  }
  return Verdict::kUndecided;
}

}  // namespace us
