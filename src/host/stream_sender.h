// StreamSender: the one writer of the replication stream.  A thread of its own encodes and sends, so that neither the
// guest nor the engine waits for LZ4 or the network.
//
// Jobs go out in the order in which they were queued.  Epochs come back to the engine's pool once they are on the
// wire.  The queue is short by construction (epochs in flight are limited by PrimaryCore, sync rounds by the engine).
// A send that makes no progress for `stall_timeout`, or an error, ends the thread and is reported once by failed();
// the coordinator then treats the link as lost.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "core/replica/frame_epoch.h"
#include "core/replica/wire.h"
#include "host/captured_epoch.h"
#include "os/guest_ram.h"

namespace us {

class StreamSender {
 public:
  struct Hooks {
    std::function<void(std::unique_ptr<CapturedEpoch>)> epoch_sent;  // its memory may be used again
    std::function<void()> round_sent;
    std::function<void(std::string reason)> failed;
    // Complete frames of the relay log.  They go out before anything else does, between two chunks of pages.
    std::function<std::vector<Bytes>()> take_log;
    // The same of the disks; some at a time, none when there is nothing now.
    std::function<std::vector<Bytes>()> take_disks;
  };
  // Borrows the socket, which stays open until after the destructor; `ram` outlives the sender.
  StreamSender(int socket, uint16_t version, const GuestRam& ram, PageMode mode, Duration stall_timeout, Hooks hooks);
  ~StreamSender();

  void send_message(const Message& message);
  // A whole frame.
  void send_frame(Bytes frame);
  // After everything that the disks have for the standby now.
  void send_after_disks(const Message& message);
  void send_epoch(std::unique_ptr<CapturedEpoch> epoch);
  // Pages are read from the running guest: whatever changes meanwhile is sent again by a later round or epoch.
  void send_round(SyncRound round, std::vector<DirtyRun> runs);

  // There are frames of the relay log or of the disks.  Any thread.
  void log_ready();
  // Waits until everything queued so far is on the wire; false if that did not happen in time.
  bool drain(Duration timeout);

  uint64_t bytes_sent() const { return bytes_sent_.load(std::memory_order_relaxed); }
  uint64_t pages_sent() const { return pages_sent_.load(std::memory_order_relaxed); }

 private:
  struct Round {
    SyncRound round;
    std::vector<DirtyRun> runs;
  };
  struct AfterDisks {
    Bytes frame;
  };
  using Job = std::variant<Bytes, std::unique_ptr<CapturedEpoch>, Round, AfterDisks>;

  void enqueue(Job job);
  void run();
  EmitFrame emit_to_socket();
  Status send_job(Job& job);
  Status send_captured(const CapturedEpoch& epoch);
  Status send_live_round(const Round& round);
  Status send_bytes(ByteSpan bytes);
  Status send_log();

  const int socket_;
  const uint16_t version_;
  const GuestRam& ram_;
  const Duration stall_timeout_;
  const Hooks hooks_;
  // Both send each frame as it is complete; the first error is kept, and later frames are dropped.
  EpochFrameWriter epoch_writer_;
  PageFrameWriter round_writer_;
  Status emitted_;
  std::atomic<uint64_t> bytes_sent_{0};
  std::atomic<uint64_t> pages_sent_{0};

  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable idle_wake_;
  std::deque<Job> jobs_;
  bool busy_ = false;  // a job is being sent
  std::atomic<bool> log_ready_{false};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace us
