// Undo: was the latest reduction of the window a mistake?  Collects the evidence that retransmissions were not needed.
//
//   echo    the ACK of a retransmitted segment echoes a timestamp older than the retransmission: it was the original
//           that arrived (Eifel detection, RFC 3522; response as RFC 4015)
//   DSACK   the peer has reported every retransmission as a duplicate (RFC 3708)
//   F-RTO   after a timeout, data that was never sent again gets acknowledged (RFC 5682 section 3.1, in frto.h)
//
// One episode at a time: from a reduction until a round trip after its recovery has ended.
#pragma once

#include <cstdint>
#include <optional>

#include "base/time.h"
#include "core/tcp/rack.h"
#include "core/tcp/seq_num.h"

namespace us {

class Undo {
 public:
  void begin(SeqNum una);
  void end() { active_ = false; }
  // Recovery is over; a DSACK may still come until `nxt` is acknowledged.
  void on_recovery_end(SeqNum nxt);

  void on_retransmitted(SeqRange range, Instant now);
  void on_dsack(SeqRange range);
  void on_una(SeqNum una);

  bool active() const { return active_; }
  bool proven_by_dsack() const { return active_ && ever_retransmitted_ && unexplained_bytes_ == 0; }
  // For an ACK that moved una, after on_una().
  bool proven_by_echo(const std::optional<EchoTime>& echo) const;

 private:
  bool active_ = false;
  bool recovery_ended_ = false;
  bool ever_retransmitted_ = false;
  bool first_acked_ = false;  // una has passed the start of the first retransmission
  SeqNum first_;              // una when it began: DSACKs below belong to earlier times
  SeqNum until_;              // when recovery_ended_: the episode ends when this is acknowledged
  SeqNum first_retransmission_;
  uint64_t unexplained_bytes_ = 0;  // retransmitted and not (yet) reported as duplicate
  Instant first_retransmitted_at_;
};

}  // namespace us
