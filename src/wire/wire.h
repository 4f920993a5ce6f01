// Wire: a line of a chosen quality between two Linux network interfaces, in user space, for kernels without netem.
//
//   namespace A                    this process                      namespace B
//   tap ─────────► read ─► Link A→B (rate, delay, loss …) ─► write ────────► tap
//       ◄───────── write ◄─ Link B→A ◄────────────────────── read ◄─────────
//
// The taps have no virtio-net header, so the kernel segments and checksums every frame before it comes here: what is
// on the wire is what would be on a cable, frames of at most the MTU.  Each direction has its own model and seed.
//
// One thread moves the frames.  It is real-time where that is permitted, so that a busy machine does not add to the
// delay.  Frames leave in ticks of kTick, never early and at most one tick (and what the machine adds) late.
// The transmit queue of each tap is longer than any burst, so that frames are lost by the model only; what was lost
// there all the same the kernel counts (`ip -s link show`, TX dropped).
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>

#include "base/result.h"
#include "os/epoll.h"
#include "os/event_fd.h"
#include "os/unique_fd.h"
#include "wire/link.h"

namespace us {

struct WireConfig {
  LinkConfig a_to_b;
  LinkConfig b_to_a;
  bool operator==(const WireConfig&) const = default;
};

// The same in both directions, with different random numbers; half of the round trip each way.
WireConfig symmetric_wire(LinkConfig one_way);

struct WireCounters {
  LinkCounters a_to_b;
  LinkCounters b_to_a;
  uint64_t refused = 0;  // frames that a tap did not take: its interface is down
};

// A tap without virtio-net header, in the calling thread's network namespace: down, without address, with a long
// transmit queue.  It disappears when the descriptor is closed.
Result<UniqueFd> create_wire_tap(const std::string& name);

class Wire {
 public:
  static constexpr Duration kTick = Duration::micros(200);

  // Both descriptors come from create_wire_tap().
  static Result<std::unique_ptr<Wire>> start(UniqueFd tap_a, UniqueFd tap_b, const WireConfig& config);
  ~Wire();
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  // From any thread: a new line in place of the old.  What was on the old one is gone; the counters begin at 0.
  void configure(const WireConfig& config);
  WireCounters counters() const;

 private:
  Wire(UniqueFd tap_a, UniqueFd tap_b, Epoll epoll, EventFd wake, const WireConfig& config);
  void run();
  void take_in(int fd, Link& link, uint32_t events, Instant now);
  void let_out(int fd, Link& link, Instant now);
  Duration until_due(Instant now) const;

  const UniqueFd tap_a_;
  const UniqueFd tap_b_;
  const Epoll epoll_;
  const EventFd wake_;
  std::atomic<bool> stop_ = false;
  mutable std::mutex mutex_;  // guards what follows
  Link a_to_b_;
  Link b_to_a_;
  uint64_t refused_ = 0;
  Bytes buffer_;  // the thread's own
  std::thread thread_;
};

}  // namespace us
