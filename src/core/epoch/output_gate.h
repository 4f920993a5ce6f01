// OutputGate: output commit for whole frames.  What the guest sends waits here until the epoch in which it was
// sent has committed, then leaves in order.
//
// Each frame is tagged with the epoch it was sent in.  commit(e) makes everything tagged <= e releasable; a frame
// that is releasable stays so.  pop() hands out the next one if the mode and the lease allow:
//
//     mode         released                                                      used by
//     kHeld        nothing, not even what has committed                          standby; primary in doubt; fenced
//     kProtected   what has committed, while now < the lease's end               primary with a standby
//     kSolo        everything at once, no lease                                  primary without a standby
//
// The lease is the "at most one generation" rule: the owner extends it while it is certain to be the only writer,
// and when it stops doing so the gate falls silent by itself, however late this process is scheduled.
//
// Epochs count from 1 in each session.  A new session enters kProtected from kSolo, and that forgets the committed
// mark; what was let out in kSolo but not yet fetched stays releasable.  A frame pushed in kProtected is never
// releasable by itself, even if its tag is not above the committed mark: only a later commit() frees it.
//
// Bounded: the owner asks full() before it takes a frame from the guest, and leaves it in the ring if so; nothing
// is ever dropped for lack of room.  push() past the limit is allowed (memory is the limit plus one batch).
// Single-threaded, performs no I/O.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "base/histogram.h"
#include "base/strong.h"
#include "base/time.h"
#include "core/net/ethernet_frame.h"

namespace us {

enum class GateMode : uint8_t { kHeld, kProtected, kSolo };
const char* to_string(GateMode mode);

struct GateLimits {
  uint64_t bytes_max = uint64_t{16} << 20;  // of memory: what the frames' buffers take
  uint64_t packets_max = 16'384;
};

struct GateCounters {
  uint64_t gated_packets = 0, gated_bytes = 0;          // in the gate now
  uint64_t gated_packets_max = 0, gated_bytes_max = 0;  // the most there ever were
  uint64_t released_packets = 0, released_bytes = 0;
  uint64_t dropped_packets = 0, dropped_bytes = 0;  // by drop_uncommitted() and clear() only

  // Sums, for all NICs of a VM; the maxima of gates that were not full at the same time add up to a bound.
  GateCounters& operator+=(const GateCounters& other);
};

class OutputGate {
 public:
  explicit OutputGate(GateLimits limits = {}) : limits_(limits) {}

  bool full() const { return buffer_bytes_ >= limits_.bytes_max || queue_.size() >= limits_.packets_max; }
  bool empty() const { return queue_.empty(); }
  void push(Epoch epoch, EthernetFrame frame, Instant now);

  void commit(Epoch epoch);
  void set_mode(GateMode mode);
  GateMode mode() const { return mode_; }
  // Never shortens the lease; set_mode(kHeld) is the way to stop at once.
  void release_until(Instant end);

  // May anything at all leave the host now?
  bool open(Instant now) const { return mode_ == GateMode::kSolo || (mode_ == GateMode::kProtected && now < lease_); }
  std::optional<EthernetFrame> pop(Instant now);
  // pop() would give a frame at an instant before the lease's end.
  bool has_releasable() const { return mode_ != GateMode::kHeld && releasable_ > 0; }

  // For a fenced host, and for a primary whose uncommitted epoch is being taken back.  Return the frames dropped.
  uint64_t drop_uncommitted();
  uint64_t clear();

  const GateCounters& counters() const { return counters_; }
  // How long each released frame had waited, from push to pop.
  const Histogram& wait() const { return wait_; }

 private:
  struct Entry {
    Epoch epoch;
    Instant pushed;
    EthernetFrame frame;
  };
  void count_out(const Entry& entry);

  GateLimits limits_;
  GateMode mode_ = GateMode::kHeld;
  Instant lease_{};
  Epoch committed_{};
  std::deque<Entry> queue_;
  uint64_t buffer_bytes_ = 0;  // the capacities of what is in queue_
  size_t releasable_ = 0;      // how many at the front of queue_ may leave
  GateCounters counters_;
  Histogram wait_;
};

}  // namespace us
