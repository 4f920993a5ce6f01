// Link: one direction of an emulated line with the frames that are on it.  Pure: frames and the time go in, frames come
// out when they are due.
//
// Owns copies of the frames.  Bounded: beyond kBytesMax on the line at once, frames are dropped and counted
// (`overruns`): a configuration without a rate and with a long delay could otherwise grow without end.
#pragma once

#include <cstdint>
#include <optional>
#include <queue>
#include <vector>

#include "base/bytes.h"
#include "wire/link_model.h"

namespace us {

// Every frame in is counted once more, as out or under the reason why not, or is still on the line:
// in + duplicated = out + lost + queue_drops + overruns + on the line.
struct LinkCounters {
  uint64_t in = 0;
  uint64_t in_bytes = 0;
  uint64_t out = 0;
  uint64_t out_bytes = 0;
  uint64_t lost = 0;
  uint64_t queue_drops = 0;
  uint64_t overruns = 0;
  uint64_t duplicated = 0;
  uint64_t reordered = 0;  // came out after a frame that had gone in later
  bool operator==(const LinkCounters&) const = default;
};

class Link {
 public:
  static constexpr size_t kBytesMax = size_t{64} << 20;

  explicit Link(const LinkConfig& config) : model_(config) {}

  void on_frame(ByteSpan frame, Instant now);

  // The next frame that is due, valid until the next call of any function; in the order of arrival at the far end.
  std::optional<ByteSpan> poll(Instant now);

  // When poll() has something; far_future() while the line is empty.
  Instant next_due() const { return line_.empty() ? Instant::far_future() : line_.top().due; }
  size_t frames_on_line() const { return line_.size(); }
  const LinkCounters& counters() const { return counters_; }

 private:
  struct OnLine {
    Instant due;
    uint64_t number;  // in order of entry; equal times keep it
    Bytes frame;
    bool operator<(const OnLine& other) const {  // std::priority_queue keeps the greatest on top
      return due != other.due ? due > other.due : number > other.number;
    }
  };
  void put(ByteSpan frame, Instant due);

  LinkModel model_;
  std::priority_queue<OnLine> line_;
  size_t bytes_on_line_ = 0;
  uint64_t next_number_ = 1;
  uint64_t latest_out_ = 0;
  Bytes leaving_;             // what poll() returned last
  std::vector<Bytes> spare_;  // buffers to be used again
  LinkCounters counters_;
};

}  // namespace us
