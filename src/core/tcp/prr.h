// Prr: how much to send in response to each ACK of fast recovery, so that what is in flight goes evenly from what it
// was down to ssthresh, whatever pattern the ACKs come in.  Source: RFC 9937 (which obsoletes RFC 6937) section 6.
//
// Also used after an ECN mark, where the same reduction is wanted.  All quantities are bytes.
#pragma once

#include <cstdint>

namespace us {

class Prr {
 public:
  // `recover_fs`: what was in flight or lost, not SACKed, before the ACK that started recovery (RFC 9937: RecoverFS).
  void begin(uint64_t recover_fs);

  struct Ack {
    uint64_t delivered = 0;  // DeliveredData: newly ACKed and newly SACKed
    uint64_t inflight = 0;   // after this ACK
    uint64_t ssthresh = 0;
    uint32_t mss = 0;
    bool safe = false;  // SafeACK: it moved una and told of no further loss
  };
  void on_ack(const Ack& ack);
  void on_sent(uint64_t bytes) { out_ += bytes; }

  uint64_t window() const { return window_; }  // the congestion window for now

 private:
  uint64_t delivered_ = 0;
  uint64_t out_ = 0;
  uint64_t recover_fs_ = 1;
  uint64_t window_ = 0;
};

}  // namespace us
