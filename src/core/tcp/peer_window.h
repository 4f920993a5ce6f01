// PeerWindow: what the peer says it can take, and which ACKs may change that.
//
// Source: RFC 9293 section 3.10.7.4 (SND.WND, SND.WL1, SND.WL2), section 3.8.6 (a window may shrink, and a sender has
// to live with it), RFC 7323 section 2 (scaling).  The largest window ever seen bounds how old an ACK may be
// (RFC 5961 section 5.2) and is the measure of the sender's silly window avoidance (RFC 9293 section 3.8.6.2.1).
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/tcp/seq_num.h"

namespace us {

struct PeerWindow {
  static constexpr uint8_t kScaleMax = 14;

  uint8_t scale = 0;
  uint32_t size = 0;  // bytes, scaled
  uint32_t largest = 0;
  SeqNum update_seq{};  // SND.WL1: sequence number of the segment that told
  SeqNum update_ack{};  // SND.WL2: its acknowledgment number; the window counts from there

  // First sequence number that the peer has not offered to take.
  SeqNum edge() const { return update_ack + size; }

  // A segment with an acceptable ACK; `field` is its window field, not scaled.  True when the window moved or changed,
  // other than by the ACK alone.
  bool on_segment(SeqNum seq, SeqNum ack, uint16_t field) {
    const bool newer = update_seq.before(seq) || (update_seq == seq && update_ack.at_or_before(ack));
    if (!newer) return false;
    const uint32_t before = size;
    size = static_cast<uint32_t>(field) << scale;
    largest = std::max(largest, size);
    update_seq = seq;
    update_ack = ack;
    return size != before;
  }

  bool operator==(const PeerWindow&) const = default;
};

}  // namespace us
