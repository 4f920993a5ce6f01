// Trace: the latest lines of a run, formatted only when somebody wants to read them.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "base/time.h"
#include "sim/relay/packet.h"

namespace us::sim::relay {

class Trace {
 public:
  static constexpr size_t kLinesMax = 200;

  void note(Instant when, const char* what, uint64_t a = 0, uint64_t b = 0) {
    push({when, what, a, b, std::nullopt, 0});
  }
  void packet(Instant when, const char* what, const Packet& packet) {
    Line line{when, what, 0, 0, packet, packet.payload.size()};
    line.packet->payload.clear();
    push(std::move(line));
  }
  std::vector<std::string> lines() const;

 private:
  struct Line {
    Instant when;
    const char* what;
    uint64_t a, b;
    std::optional<Packet> packet;
    size_t payload_bytes;
  };
  void push(Line line) {
    if (lines_.size() == kLinesMax) lines_.pop_front();
    lines_.push_back(std::move(line));
  }
  std::deque<Line> lines_;
};

}  // namespace us::sim::relay
