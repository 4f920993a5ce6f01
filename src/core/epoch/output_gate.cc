#include "core/epoch/output_gate.h"

#include <algorithm>
#include <utility>

namespace us {

const char* to_string(GateMode mode) {
  switch (mode) {
    case GateMode::kHeld:
      return "held";
    case GateMode::kProtected:
      return "protected";
    case GateMode::kSolo:
      return "solo";
  }
  return "?";
}

GateCounters& GateCounters::operator+=(const GateCounters& o) {
  gated_packets += o.gated_packets;
  gated_bytes += o.gated_bytes;
  gated_packets_max += o.gated_packets_max;
  gated_bytes_max += o.gated_bytes_max;
  released_packets += o.released_packets;
  released_bytes += o.released_bytes;
  dropped_packets += o.dropped_packets;
  dropped_bytes += o.dropped_bytes;
  return *this;
}

void OutputGate::push(Epoch epoch, EthernetFrame frame, Instant now) {
  counters_.gated_bytes += frame.size();
  buffer_bytes_ += frame.capacity();
  queue_.push_back({epoch, now, std::move(frame)});
  if (mode_ == GateMode::kSolo) releasable_ = queue_.size();
  counters_.gated_packets = queue_.size();
  counters_.gated_packets_max = std::max<uint64_t>(counters_.gated_packets_max, queue_.size());
  counters_.gated_bytes_max = std::max(counters_.gated_bytes_max, counters_.gated_bytes);
}

void OutputGate::commit(Epoch epoch) {
  committed_ = std::max(committed_, epoch);
  while (releasable_ < queue_.size() && queue_[releasable_].epoch <= committed_) ++releasable_;
}

void OutputGate::set_mode(GateMode mode) {
  if (mode == GateMode::kSolo) releasable_ = queue_.size();
  if (mode == GateMode::kProtected && mode_ == GateMode::kSolo) committed_ = Epoch{};
  mode_ = mode;
}

void OutputGate::release_until(Instant end) { lease_ = std::max(lease_, end); }

std::optional<EthernetFrame> OutputGate::pop(Instant now) {
  if (releasable_ == 0 || !open(now)) return std::nullopt;
  Entry entry = std::move(queue_.front());
  queue_.pop_front();
  --releasable_;
  count_out(entry);
  ++counters_.released_packets;
  counters_.released_bytes += entry.frame.size();
  wait_.record(now - entry.pushed);
  return std::move(entry.frame);
}

uint64_t OutputGate::drop_uncommitted() {
  uint64_t dropped = 0;
  for (; queue_.size() > releasable_; ++dropped) {
    Entry entry = std::move(queue_.back());
    queue_.pop_back();
    count_out(entry);
    ++counters_.dropped_packets;
    counters_.dropped_bytes += entry.frame.size();
  }
  return dropped;
}

uint64_t OutputGate::clear() {
  releasable_ = 0;
  return drop_uncommitted();
}

void OutputGate::count_out(const Entry& entry) {
  counters_.gated_packets = queue_.size();
  counters_.gated_bytes -= entry.frame.size();
  buffer_bytes_ -= entry.frame.capacity();
}

}  // namespace us
