// FlowSlot: a flow in the table, awake or asleep.
//
// A connection that has been silent for a while with nothing under way in either direction may sleep: what is left of
// it is its encoded state (flow_state.h), some 300 bytes in place of 3 KB.  What sleep loses, the RTT and the window of
// the senders, RFC 5681 section 4.1 distrusts after a silence anyway; the sender's statistics begin again.
//
// Owned by Relay, which wakes a flow before anything is said to it.
#pragma once

#include <memory>

#include "base/bytes.h"
#include "core/tcp/flow.h"

namespace us {

class FlowSlot {
 public:
  explicit FlowSlot(std::unique_ptr<Flow> flow) : flow_(std::move(flow)), id_(flow_->id()) {}

  FlowId id() const { return id_; }
  // Null while it sleeps.
  Flow* awake() { return flow_.get(); }
  const Flow* awake() const { return flow_.get(); }
  Flow& wake(const FlowContext& context, Instant now);
  // False: it is not at rest.
  bool sleep(Instant now);

  FlowCounters counters() const { return flow_ ? flow_->counters() : counters_; }
  size_t memory_bytes() const { return sizeof *this + (flow_ ? flow_->memory_bytes() : state_.capacity()); }

 private:
  std::unique_ptr<Flow> flow_;
  FlowId id_;
  Bytes state_;  // encoded, while it sleeps
  Instant asleep_since_;
  FlowCounters counters_;
};

}  // namespace us
