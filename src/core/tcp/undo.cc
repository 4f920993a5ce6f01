#include "core/tcp/undo.h"

#include <algorithm>

namespace us {

void Undo::begin(SeqNum una) {
  *this = Undo();
  active_ = true;
  first_ = una;
}

void Undo::on_recovery_end(SeqNum nxt) {
  recovery_ended_ = true;
  until_ = nxt;
}

void Undo::on_retransmitted(SeqRange range, Instant now) {
  if (!active_ || recovery_ended_) return;
  if (!ever_retransmitted_) {
    ever_retransmitted_ = true;
    first_retransmission_ = range.start;
    first_retransmitted_at_ = now;
  }
  unexplained_bytes_ += range.length();
}

void Undo::on_dsack(SeqRange range) {
  if (!active_ || range.start.before(first_)) return;
  unexplained_bytes_ -= std::min<uint64_t>(unexplained_bytes_, range.length());
}

void Undo::on_una(SeqNum una) {
  if (!active_) return;
  if (ever_retransmitted_ && una.after(first_retransmission_)) first_acked_ = true;
  if (recovery_ended_ && una.after(until_)) active_ = false;
}

// RFC 3522 step (5).  `latest`: a retransmission in the same tick of the timestamp clock proves nothing.
bool Undo::proven_by_echo(const std::optional<EchoTime>& echo) const {
  return active_ && !recovery_ended_ && first_acked_ && echo && echo->latest < first_retransmitted_at_;
}

}  // namespace us
