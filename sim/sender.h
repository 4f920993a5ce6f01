// Sender: the sending thread of a primary (host/stream_sender.h).  Epochs and rounds become frames by the real encoder;
// each frame goes into the stream as one step.
#pragma once

#include <deque>
#include <memory>
#include <variant>
#include <vector>

#include "core/replica/frame_epoch.h"
#include "sim/actor.h"
#include "sim/guest.h"
#include "sim/network.h"

namespace us::sim {

class Host;

struct CapturedEpoch {
  Epoch epoch;
  bool handover = false;
  std::vector<PageIndex> pages;  // ascending
  Bytes bytes;                   // of these pages
  Bytes device_state;
  Bytes side_state;
  Bytes disk_barrier;
};

class Sender {
 public:
  struct Hooks {
    std::function<void()> round_sent;
    std::function<void()> failed;
    std::function<void()> idle;
    std::function<std::vector<Bytes>()> take_disk;  // frames of the disk: they go out between any two others
  };
  // `guest` outlives this: rounds are read from it while it runs.
  Sender(Host& host, std::shared_ptr<Connection> connection, const Guest& guest, Hooks hooks);

  void send(const Message& message);
  void send_epoch(CapturedEpoch epoch);
  void send_round(SyncRound round, std::vector<PageIndex> pages);
  void send_frame(Bytes frame) { enqueue(std::move(frame)); }
  void disk_ready();
  bool idle() const { return jobs_.empty() && frames_.empty() && round_pages_.empty(); }

 private:
  struct Round {
    SyncRound round;
    std::vector<PageIndex> pages;
  };
  using Job = std::variant<Bytes, CapturedEpoch, Round>;
  void enqueue(Job job);
  void turn();
  void open_job(Job job);
  void encode_epoch(const CapturedEpoch& epoch);
  void encode_live_pages();
  void take_disk_frames();

  Host& host_;
  std::shared_ptr<Connection> connection_;
  const Guest& guest_;
  Hooks hooks_;
  EpochFrameWriter epoch_writer_;
  PageFrameWriter round_writer_;
  std::deque<Job> jobs_;
  std::deque<Bytes> frames_;           // of the job that is being sent
  std::deque<PageIndex> round_pages_;  // of the round that is being sent, not read yet
  SyncRound round_;
  uint64_t round_total_ = 0;
  bool round_open_ = false;
  bool failed_ = false;
  bool disk_ready_ = false;
  std::deque<Bytes> disk_frames_;
  Instant progress_;
  Actor actor_;
};

}  // namespace us::sim
