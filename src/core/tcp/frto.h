// Frto: was a retransmission timeout spurious?  F-RTO, RFC 5682, SACK-enhanced (section 3.1); step numbers are its.
//
//   timeout, head sent again --ACK moves una--> send new data --original data acknowledged--> spurious
//                                                             --duplicate ACK or SACK-------> real
//
// Original data: bytes sent before the timeout and never again.  When those get acknowledged, they were not lost, and
// the flight had only been late.  Where there is no new data to send, the question stays open and recovery goes on.
#pragma once

#include <cstdint>

#include "core/tcp/seq_num.h"

namespace us {

class Frto {
 public:
  enum class Verdict : uint8_t {
    kUndecided,
    kSendNew,   // step 2b: send up to two segments of new data instead of retransmissions
    kSpurious,  // step 3b
  };
  struct Ack {
    SeqNum una{};
    SeqNum nxt{};
    bool una_moved = false;
    bool sacked_or_duplicate = false;  // newly SACKed data, or a duplicate ACK
    bool original_delivered = false;   // bytes below recover(), never retransmitted, were newly delivered
    bool new_data_waits = false;       // and the peer's window takes it
  };

  void begin(SeqNum nxt) {
    active_ = true;
    recover_ = nxt;
  }
  void end() { active_ = false; }
  bool active() const { return active_; }
  SeqNum recover() const { return recover_; }
  Verdict on_ack(const Ack& ack);

 private:
  bool active_ = false;
  SeqNum recover_;  // step 1: SND.NXT at the timeout, then at step 2b
};

}  // namespace us
