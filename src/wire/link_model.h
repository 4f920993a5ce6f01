// LinkModel: one direction of an emulated line.  Given a frame's length and the time, it says when the frame comes out
// at the other end, or why it never does.
//
//   frame ──► [ queue, tail drop ] ──► transmitter, `bits_per_second` ──► line: delay ± jitter, loss, … ──► out
//
// Pure: no clock, no I/O; random numbers from `seed` alone, so equal inputs give equal verdicts.  Times must not go
// back.  A frame that is lost has used the transmitter all the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "base/rng.h"
#include "base/time.h"

namespace us {

// A default value means: no such effect.  Chances are 0..1, of a frame.
struct LinkConfig {
  uint64_t bits_per_second = 0;  // 0: no limit.  Counts the frame as it stands in memory, Ethernet header included
  Duration delay = {};
  Duration jitter =
      {};  // uniform in delay ± jitter, at most `delay`.  Order is kept: a frame waits for the one before it
  double loss = 0;
  double reorder = 0;  // of being held back by `reorder_by`, so that later frames pass it
  Duration reorder_by = Duration::millis(1);
  double duplicate = 0;  // of coming out twice
  // Frames that wait or are being transmitted; 0: no limit.  A frame that finds no room is dropped.
  size_t queue_packets = 0;
  size_t queue_bytes = 0;
  uint64_t seed = 1;
  bool operator==(const LinkConfig&) const = default;
};

class LinkModel {
 public:
  explicit LinkModel(const LinkConfig& config);

  enum class Fate : uint8_t { kDelivered, kLost, kQueueFull };
  struct Verdict {
    Fate fate = Fate::kDelivered;
    Instant out;              // kDelivered: when the last bit arrives
    bool held_back = false;   // by `reorder_by`
    bool duplicated = false;  // arrives twice, both at `out`
  };
  Verdict on_frame(size_t bytes, Instant now);

  // What waits or is being transmitted.
  size_t queued_packets(Instant now);
  size_t queued_bytes(Instant now);

 private:
  struct Queued {
    Instant gone;
    size_t bytes;
  };
  void forget_transmitted(Instant now);
  bool fits(size_t bytes) const;
  Instant transmit(size_t bytes, Instant now);
  Duration line_delay();

  LinkConfig config_;
  Rng rng_;
  std::deque<Queued> queue_;
  size_t queue_bytes_ = 0;
  Instant transmitter_free_;
  uint64_t fraction_ = 0;  // of a nanosecond, in 1/bits_per_second: what transmitter_free_ left out
  Instant latest_out_;     // of frames that were not held back
};

}  // namespace us
